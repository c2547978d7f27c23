"""Takes the arguments of a call apart and checks every one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any, Final

from chainrule.emit.builder import I32, I64, PTR, VOID, Value
from chainrule_runtime.abi import Extent, Leaf, Solved, Tree
from chainrule_runtime.layout import STANDARD

from .frame import WORD, Frame

__all__ = ["emit_checks", "take_apart"]

_EQUAL: Final = 2  # Py_EQ
Keep = Callable[[Value, bool], None]


def take_apart(
    frame: Frame,
    tree: Tree,
    thing: Value,
    take_leaf: Callable[[int, Value], None],
    keep: Keep,
    numbers: Iterator[int],
    otherwise: str,
) -> None:
    """Follow `tree` through nested containers, calling `take_leaf` at each leaf.

    `keep(child, owned)` is called for what came out of a dict or a list, which other threads may
    change at any time, and for a field of a dataclass, to which the entry owns a reference.
    `numbers` gives the numbers of the records in the table; `otherwise` is the label for whatever
    does not fit.
    """  # fmt: skip
    pending: list[tuple[Tree, Value]] = [(tree, thing)]
    while pending:
        node, thing = pending.pop()
        if isinstance(node, int):
            take_leaf(node, thing)
        elif node[0] == "none":
            frame.require(frame.b.icmp("eq", thing, frame.pointer("None")), otherwise)
        elif node[0] == "dataclass":
            fields = _fields(frame, node, thing, keep, next(numbers), otherwise)
            pending.extend(reversed(list(zip(node[-1], fields, strict=True))))
        elif node[0] == "namedtuple":
            children = _children(frame, node, thing, keep, f"class {next(numbers)}", otherwise)
            pending.extend(reversed(list(zip(node[-1], children, strict=True))))
        else:
            children = _children(frame, node, thing, keep, node[0], otherwise)
            pending.extend(reversed(list(zip(node[-1], children, strict=True))))


def _children(
    frame: Frame, node: tuple[Any, ...], thing: Value, keep: Keep, its_type: str, otherwise: str
) -> list[Value]:
    """Check one container and return what is in it."""
    b, kind = frame.b, node[0]
    name = {"list": "PyList", "dict": "PyDict"}.get(kind, "PyTuple")
    frame.require_type(thing, its_type, otherwise)
    size = frame.api(f"{name}_Size", I64, thing)
    frame.require(b.icmp("eq", size, b.const(I64, len(node[-1]))), otherwise)
    found = []
    for i in range(len(node[-1])):
        if kind == "dict":
            key = frame.pointer(f"key {node[1][i]!r}")
            item = frame.api("PyDict_GetItemWithError", PTR, thing, key)
            frame.require_object(item, otherwise)
        else:
            item = frame.api(f"{name}_GetItem", PTR, thing, b.const(I64, i))
        if kind in ("list", "dict"):
            keep(item, False)
        found.append(item)
    return found


def _fields(
    frame: Frame, node: tuple[Any, ...], thing: Value, keep: Keep, number: int, otherwise: str
) -> list[Value]:
    """Check a dataclass and its static fields; return what is in the other ones."""
    frame.require_type(thing, f"class {number}", otherwise)
    for name in node[3]:
        _check_static(frame, thing, name, frame.pointer(f"static {name} {number}"), otherwise)
    found = []
    for name in node[2]:
        item = frame.api("PyObject_GetAttr", PTR, thing, frame.pointer(f"attribute {name}"))
        frame.require_object(item, otherwise)
        keep(item, True)
        found.append(item)
    return found


def _check_static(frame: Frame, thing: Value, name: str, known: Value, otherwise: str) -> None:
    """Go on only where a field has a value that equals the compiled one and is of its type.

    Python decides of equal values of different types, such as 1 and True.
    """
    b = frame.b
    value = frame.api("PyObject_GetAttr", PTR, thing, frame.pointer(f"attribute {name}"))
    frame.require_object(value, otherwise)
    same, other, equal, unlike, end = (
        b.new_label(label) for label in ("same", "other", "equal", "unlike", "compared")
    )
    b.branch_if(b.icmp("eq", value, known), same, other)
    b.start(other)
    types = [b.load(PTR, b.offset(one, STANDARD.type)) for one in (value, known)]
    b.branch_if(b.icmp("eq", *types), equal, unlike)
    b.start(equal)
    # -1, an exception, is no match either.
    answer = frame.api("PyObject_RichCompareBool", I32, value, known, b.const(I32, _EQUAL))
    b.branch(end)
    b.start(same)
    b.branch(end)
    b.start(unlike)
    b.branch(end)
    b.start(end)
    one, none = b.const(I32, 1), b.const(I32, 0)
    status = b.phi([(answer, equal), (one, same), (none, unlike)])
    frame.api("Py_DecRef", VOID, value)
    frame.require(b.icmp("eq", status, one), otherwise)


def emit_checks(frame: Frame, args: Value) -> None:
    """Walk the positional arguments; bind the dims; check all extents and guards."""
    b, signature = frame.b, frame.signature
    assert not isinstance(signature.input_tree, int)
    donated = {source for source, _ in signature.donated}
    later: list[tuple[Value, Extent]] = []
    numbers = count()
    lengths: dict[int, Value] = {}

    def take_leaf(index: int, thing: Value) -> None:
        leaf = signature.inputs[index]
        if leaf.weak:
            number = frame.take_number(thing, leaf)
            b.store(number, b.offset(frame.inputs, WORD * index))
            return
        extents = frame.require_array(thing, leaf, written=index in donated)
        if index in donated:
            frame.objects[index] = thing
        data = b.load(PTR, b.offset(thing, STANDARD.data))
        b.store(data, b.offset(frame.inputs, WORD * index))
        later.extend(_bind(frame, leaf, extents))
        lengths[index] = extents

    for position, tree in enumerate(signature.input_tree[1]):
        thing = b.load(PTR, b.offset(args, WORD * position))
        take_apart(
            frame, tree, thing, take_leaf, keep=frame.hold, numbers=numbers,
            otherwise=frame.mismatch,
        )  # fmt: skip
    for solved in signature.solved:
        _solve(frame, solved, lengths)
    unbound = [name for i, name in enumerate(signature.dims) if i not in frame.dims]
    if unbound:
        raise ValueError(f"nothing tells what these dims are: {unbound}")
    for got, extent in later:
        frame.require(b.icmp("eq", got, frame.extent(extent)))
    for guard in signature.guards:
        _check_guard(frame, guard.kind, frame.extent(guard.left), frame.extent(guard.right))


def _bind(frame: Frame, leaf: Leaf, extents: Value) -> list[tuple[Value, Extent]]:
    """Check plain extents, bind dims seen first here; return what needs all dims first."""
    b, good = frame.b, None
    later: list[tuple[Value, Extent]] = []
    for axis, extent in enumerate(leaf.shape):
        got = b.load(I64, b.offset(extents, WORD * axis))
        if isinstance(extent, int):
            fits = b.icmp("eq", got, b.const(I64, extent))
        elif extent[0] != "dim":
            later.append((got, extent))
            continue
        elif extent[1] not in frame.dims:
            frame.dims[extent[1]] = got
            continue
        else:
            fits = b.icmp("eq", got, frame.dims[extent[1]])
        good = fits if good is None else b.and_(good, fits)
    if good is not None:
        frame.require(good)
    return later


def _solve(frame: Frame, solved: Solved, lengths: Mapping[int, Value]) -> None:
    """Find a dim that no axis has alone; whether it fits is checked with the other extents."""
    b = frame.b
    total = frame.operation("sub", b.i64(0), frame.extent(solved.rest))
    for leaf, axis, weight in solved.weights:
        length = b.load(I64, b.offset(lengths[leaf], WORD * axis))
        term = length if weight == 1 else frame.operation("mul", length, b.i64(weight))
        total = frame.operation("add", total, term)
    divisor = frame.extent(solved.divisor)
    if not isinstance(solved.divisor, int):
        frame.require(b.icmp("sgt", divisor, b.const(I64, 0)))
    frame.dims[solved.dim] = b.binary("sdiv", total, divisor)


def _check_guard(frame: Frame, kind: str, left: Value, right: Value) -> None:
    b = frame.b
    if kind == "divides":
        frame.require(b.icmp("sgt", left, b.const(I64, 0)))
        remainder = b.binary("srem", right, left)
        frame.require(b.icmp("eq", remainder, b.const(I64, 0)))
    else:
        frame.require(b.icmp({"eq": "eq", "ne": "ne", "ge": "sge"}[kind], left, right))
