"""The native Python entry of a compiled function.

`emit_entry` writes a function of CPython's vectorcall protocol around a kernel.  It takes ordinary
calls from the arguments to the result without running any Python code; whatever it does not handle
(other types, layouts, structures, shapes, keywords) it passes on unchanged, to the entry chained
after it or to the Python method `_call_slowly`.
"""

from __future__ import annotations

from typing import Final

from chainrule.emit.builder import I64, PTR, VOID, Module, Value
from chainrule_runtime.abi import Extent, Signature, has_custom, subtrees
from chainrule_runtime.binding import slot_names

from .arena import give_back, lease
from .frame import WORD, Frame, emit_check
from .inputs import emit_checks
from .overlap import Range, require_apart
from .results import Results

__all__ = ["LONG", "emit_entry"]

_ARGUMENT_COUNT: Final = (1 << 63) - 1
# Up to this number of arrays an entry is optimised for the speed of a call, above for compile time:
# LLVM's optimising code generator takes ten times longer, and calls of the C API dominate anyway.
_SMALL: Final = 8
LONG: Final = 200_000
"Operations of a call that is long: some ten microseconds."


def emit_entry(
    module: Module,
    signature: Signature,
    kernel_name: str | None,
    entry_name: str,
    release_gil: bool | Extent,
) -> None:
    """Write the functions `entry_name` and `entry_name + "_bind"` around a kernel of the module.

    The second takes the table that `chainrule_runtime.binding` describes; it must be called once
    before the first.  Size and time are linear in the number of arrays, except that `out=` and
    donation compare memory ranges pairwise.

    `release_gil` says whether other threads may run Python meanwhile, or is the work of a call:
    they may where it is at least `LONG`.  That takes some microseconds.

    Without a `kernel_name` the kernel's address is bound like all others.  The entry can then be a
    module of its own, compiled without optimisation: six arrays take 2 ms instead of 12, and a call
    about 15 ns more.

    Raises:
        ValueError: A tree has a node that only Python can handle (use `signature.flat()`), an
            output is missing from its tree or there twice, or nothing tells what a dim is.
    """  # fmt: skip
    _check(signature)
    size = len(slot_names(signature))
    large = len(signature.inputs) + len(signature.outputs) > _SMALL
    table = module.add_global(
        f"{entry_name}.table", f"internal global [{size} x ptr] zeroinitializer, align 64"
    )
    _emit_bind(module, f"{entry_name}_bind", table, size)
    b, arguments = module.function(
        entry_name, PTR, [(PTR, "callable"), (PTR, "args"), (I64, "nargsf"), (PTR, "kwnames")],
        internal=False, attrs="nounwind noinline optnone" if large else "nounwind",
    )  # fmt: skip
    check = None
    if large:
        check = f"{entry_name}.check"
        emit_check(module, check)
    frame = Frame(b, signature, table, check)
    _emit_call(frame, arguments, kernel_name, release_gil)
    _pass_on(frame, arguments)
    b.close()


def _check(signature: Signature) -> None:
    if has_custom(signature.input_tree) or has_custom(signature.output_tree):
        raise ValueError("only Python can handle this structure; use the flat signature")
    for tree, leaves in (
        (signature.input_tree, signature.inputs), (signature.output_tree, signature.outputs),
    ):  # fmt: skip
        found = sorted(node for node in subtrees(tree) if isinstance(node, int))
        if found != list(range(len(leaves))):
            raise ValueError(f"every leaf must occur in its tree once, got {found}")


def _emit_bind(module: Module, name: str, table: Value, size: int) -> None:
    b, (source,) = module.function(name, VOID, [(PTR, "source")], internal=False)

    def copy(i: Value, _carried: list[Value]) -> None:
        at = b.mul(i, WORD)
        b.store(b.load(PTR, b.offset(source, at)), b.offset(table, at))

    b.loop(0, size, body=copy)
    b.ret()
    b.close()


def _emit_call(
    frame: Frame, arguments: list[Value], kernel_name: str | None, release_gil: bool | Extent
) -> None:
    """Emit everything from the arguments to the result."""
    b, signature = frame.b, frame.signature
    _, args, nargsf, kwnames = arguments
    rank = max((len(leaf.shape) for leaf in signature.outputs), default=0)
    results = Results(frame, rank)
    dims = b.alloca(WORD * max(1, len(signature.dims)), align=16)

    out = _out_argument(frame, args, nargsf, kwnames)
    emit_checks(frame, args)
    _check_donated(frame)
    _check_result_extents(frame)
    arena_bytes, long = frame.extent(signature.arena), _is_long(frame, release_gil)

    failed, out_mismatch = b.new_label("failed"), b.new_label("out_mismatch")
    take, allocate, ready = (b.new_label(name) for name in ("take", "allocate", "ready"))
    results.clear()
    no_out = b.icmp("eq", out, b.zero(PTR))
    b.branch_if(no_out, allocate, take)
    b.start(take)
    results.take(out, out_mismatch)
    b.branch(ready)
    b.start(allocate)
    results.allocate(failed)
    b.branch(ready)

    b.start(ready)
    for index in range(len(signature.dims)):
        b.store(frame.dims[index], b.offset(dims, WORD * index))
    buffers = [frame.inputs, results.data, dims]
    _run(frame, kernel_name, buffers, signature.arena, arena_bytes, long, failed)

    build, return_out, finish = (b.new_label(n) for n in ("build", "return_out", "finish"))
    b.branch_if(no_out, build, return_out)
    b.start(build)
    built = results.build(failed)
    built_in = b.block
    b.branch(finish)
    b.start(return_out)
    frame.api("Py_IncRef", VOID, out)
    results.drop()
    returned_in = b.block
    b.branch(finish)
    b.start(failed)
    results.drop()
    failed_in = b.block
    b.branch(finish)
    b.start(finish)
    result = b.phi([(built, built_in), (out, returned_in), (b.zero(PTR), failed_in)])
    frame.release()
    b.ret(result)

    b.start(out_mismatch)
    results.drop()
    b.branch(frame.mismatch)
    b.start(frame.mismatch)
    frame.release()


def _out_argument(frame: Frame, args: Value, nargsf: Value, kwnames: Value) -> Value:
    """Check the number of arguments; return that called `out`, or null."""
    b, expected = frame.b, len(frame.signature.input_tree[1])  # type: ignore[index]
    count = b.and_(nargsf, b.const(I64, _ARGUMENT_COUNT))
    frame.require(b.icmp("eq", count, b.const(I64, expected)))
    before, keyword, end = b.block, b.new_label("keyword"), b.new_label("counted")
    b.branch_if(b.icmp("eq", kwnames, b.zero(PTR)), end, keyword)
    b.start(keyword)
    keywords = frame.api("PyTuple_Size", I64, kwnames)
    frame.require(b.icmp("eq", keywords, b.const(I64, 1)))
    name = frame.api("PyTuple_GetItem", PTR, kwnames, b.const(I64, 0))
    frame.require(b.icmp("eq", name, frame.pointer("out")))
    out = b.load(PTR, b.offset(args, WORD * expected))
    keyword_end = b.block
    b.branch(end)
    b.start(end)
    return b.phi([(b.zero(PTR), before), (out, keyword_end)])


def _check_donated(frame: Frame) -> None:
    """Check that no donated array shares memory with another argument."""
    leaves = frame.signature.inputs
    donated = sorted({source for source, _ in frame.signature.donated})
    if donated:
        ranges = [Range.of(frame, leaf, frame.data(i)) for i, leaf in enumerate(leaves)]
        others = [one for i, one in enumerate(ranges) if i not in donated]
        require_apart(frame, [ranges[i] for i in donated], others)


def _check_result_extents(frame: Frame) -> None:
    """Evaluate every extent of the results here, where everything later can use it."""
    b = frame.b
    extents: set[Extent] = set()
    for leaf in frame.signature.outputs:
        extents.update(leaf.shape)
    # In a fixed order: equal programs give equal code.
    for extent in sorted((e for e in extents if not isinstance(e, int)), key=repr):
        frame.require(b.icmp("sge", frame.extent(extent), b.const(I64, 0)))


def _is_long(frame: Frame, release_gil: bool | Extent) -> bool | Value:
    """Return whether to release the GIL, known now or in the call."""
    if isinstance(release_gil, bool):
        return release_gil
    work = frame.extent(release_gil)
    return frame.b.icmp("sge", work, frame.b.i64(LONG))


def _run(
    frame: Frame,
    kernel_name: str | None,
    buffers: list[Value],
    arena: Extent,
    arena_bytes: Value,
    long: bool | Value,
    failed: str,
) -> None:
    """Lease the arena and call the kernel; `failed` finds an exception raised."""  # fmt: skip
    b = frame.b
    inputs, outputs, dims = buffers
    scratch = b.zero(PTR) if arena == 0 else lease(frame, arena_bytes, failed)
    state = _released(frame, long)
    handed = [inputs, outputs, scratch, dims]
    if kernel_name is None:
        status = b.call_pointer(frame.pointer("kernel"), I64, handed)
    else:
        status = b.call(kernel_name, I64, handed)
    if state is not None:
        _taken_again(frame, long, state)
    if arena != 0:
        give_back(frame, scratch)
    broken, done = b.new_label("broken"), b.new_label("done")
    b.branch_if(b.icmp("eq", status, b.const(I64, 0)), done, broken)
    b.start(broken)
    code = frame.api("PyLong_FromLongLong", PTR, status)
    frame.require_object(code, failed)
    # It always raises, and so returns null.
    frame.api("PyObject_CallOneArg", PTR, frame.pointer("failed"), code)
    frame.api("Py_DecRef", VOID, code)
    b.branch(failed)
    b.start(done)


def _released(frame: Frame, long: bool | Value) -> Value | None:
    """Release the GIL if the call is long; return the thread's state, null where it was not."""
    b = frame.b
    if long is False:
        return None
    if long is True:
        return frame.api("PyEval_SaveThread", PTR)
    (state,) = b.if_(
        long, lambda: [frame.api("PyEval_SaveThread", PTR)], lambda: [b.zero(PTR)]
    )  # fmt: skip
    return state


def _taken_again(frame: Frame, long: bool | Value, state: Value) -> None:
    def take() -> None:
        frame.api("PyEval_RestoreThread", VOID, state)

    if long is True:
        take()
    else:
        frame.b.if_(frame.b.icmp("ne", state, frame.b.zero(PTR)), take)


def _pass_on(frame: Frame, arguments: list[Value]) -> None:
    """Emit the way out for calls not handled here."""
    b = frame.b
    callable_, args, nargsf, kwnames = arguments
    # Looking a key up may have run a user's `__eq__`, which Python will run again.
    frame.api("PyErr_Clear", VOID)
    after = b.load(PTR, frame.pointer("next"))
    chained, slow = b.new_label("chained"), b.new_label("slow")
    b.branch_if(b.icmp("eq", after, b.zero(PTR)), slow, chained)
    b.start(chained)
    b.become(after, PTR, arguments)
    b.start(slow)
    method = frame.api("PyObject_GetAttr", PTR, callable_, frame.pointer("_call_slowly"))
    lost, found = b.new_label("lost"), b.new_label("found")
    b.branch_if(b.icmp("eq", method, b.zero(PTR)), lost, found)
    b.start(lost)
    b.ret(b.zero(PTR))
    b.start(found)
    result = frame.api("PyObject_Vectorcall", PTR, method, args, nargsf, kwnames)
    frame.api("Py_DecRef", VOID, method)
    b.ret(result)
