"""Loops, branches and calls: the bodies' kernels inside a loop or behind a branch."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from chainrule.emit.builder import I8, I64, Value
from chainrule.emit.extents import emit_extent
from chainrule.emit.frame import Frame
from chainrule.emit.look import turns_between
from chainrule.ir.dims import Extent, size_of
from chainrule.ir.graph import Node
from chainrule.loops.lower import Choose, Foreign, Launch, Part, Repeat, Returns, Run, StripLoop
from chainrule.loops.values import Place
from chainrule.ops.control import COUNT, counted_name, results_of
from chainrule.ops.cost import flops_of, typical
from chainrule_runtime.errors import RAISED

__all__ = ["run_all"]

FIRST_ROWS = 64
"Rows that a record of unknown length has room for at first; it doubles from there."


def run_all(frame: Frame, runs: Iterable[Run]) -> None:
    """Write everything that runs, in order."""
    frame.begin()
    for run in runs:
        match run:
            case Launch():
                frame.launch(run)
            case Returns():
                frame.returns(run)
            case StripLoop():
                frame.strips(run)
            case Repeat():
                _repeat(frame, run)
            case Choose():
                _choose(frame, run)
            case Foreign():
                _foreign(frame, run)
    frame.end()


def _run_part(frame: Frame, part: Part, inputs: list[Value], outputs: list[Value]) -> None:
    """Write a body at this point."""
    run_all(frame.inner(part, inputs, outputs), part.runs)


# Loops


def _repeat(frame: Frame, run: Repeat) -> None:
    loop, b = run.loop, frame.b
    for launch in run.before:
        frame.launch(launch)
    if loop.node.attributes["counted"]:
        count = frame.whole(run.args[-1])
        frame.names[counted_name(loop.length)] = b.load(I64, count)
    if run.test is None:
        frame.allocate(run.stacked)
        total = emit_extent(b, loop.length, frame.names)

        turns = _turns(run)

        def turn(i: Value, _carried: list[Value]) -> None:
            frame.look(i, turns)
            reverse = loop.node.attributes["reverse"]
            at = b.sub(b.sub(total, 1), i) if reverse else i
            b.store(at, frame.pointer(run.position))
            _step(frame, run, at)

        b.loop(0, total, body=turn)
    else:
        _while(frame, run)
    frame.time += 1


def _turns(run: Repeat) -> int:
    """Return after how many turns to look for an interrupt."""
    return turns_between(sum(typical(flops_of(n)) for n in run.body.schedule.program.nodes))


def _step(frame: Frame, run: Repeat, at: Value) -> None:
    loop, program = run.loop, run.body.schedule.program
    rows = len(loop.xs)
    elements = [
        _row(frame, frame.whole(w), x, at)
        for w, x in zip(run.args[:rows], loop.elements, strict=True)
    ]
    carries = [frame.pointer(p) for p in run.carries]
    inputs = [frame.pointer(run.position), *carries, *elements]
    inputs += [frame.whole(w) for w in run.args[rows:]]
    stacked = [
        _row(frame, frame.pointer(p), x, at) if _has_rows(p) else frame.pointer(p)
        for p, x in zip(run.stacked, program.outputs[len(carries) :], strict=True)
    ]
    _run_part(frame, run.body, inputs, [*carries, *stacked])


def _has_rows(place: Place) -> bool:
    """Tell whether a stacked result is kept: what nobody takes has room for one row."""
    return isinstance(place, Node)


def _row(frame: Frame, pointer: Value, like: Node, at: Value) -> Value:
    step = emit_extent(frame.b, _nbytes(like), frame.names)
    return frame.b.offset(pointer, frame.b.mul(at, step))


def _nbytes(like: Node) -> Extent:
    return size_of(like.shape) * like.dtype.nbytes


def _while(frame: Frame, run: Repeat) -> None:
    """Write a loop with a test in front; records grow as it runs."""
    loop, b = run.loop, frame.b
    assert run.test is not None, "asked only where there is one"
    assert run.go is not None, "its answer has a place"
    head, turn, done = (b.new_label(n) for n in ("test", "turn", "done"))
    growing = [
        (p, x) for p, x in zip(run.stacked, loop.stacked, strict=True) if p in frame.arena.counted
    ]
    for p, x in growing:
        frame.resize(p, emit_extent(b, _nbytes(x) * FIRST_ROWS, frame.names))
    b.store(b.i64(0), frame.pointer(run.position))
    b.branch(head)
    b.start(head)
    at = b.load(I64, frame.pointer(run.position))
    bound = loop.node.attributes["bound"]
    if bound is not None:
        testing = b.new_label("below")
        most = emit_extent(b, bound, frame.names)
        b.branch_if(b.icmp("slt", at, most), testing, done)
        b.start(testing)
    inputs = [frame.pointer(run.position), *(frame.pointer(p) for p in run.carries)]
    inputs += [frame.whole(w) for w in run.args]
    _run_part(frame, run.test, inputs, [frame.pointer(run.go)])
    go = b.load(I8, frame.pointer(run.go))
    b.branch_if(b.icmp("ne", go, b.zero(I8)), turn, done)
    b.start(turn)
    frame.look(at, _turns(run))
    _grow(frame, growing, at)
    _step(frame, run, at)
    after = b.binary("add", at, 1)
    b.store(after, frame.pointer(run.position))
    b.branch(head)
    b.start(done)
    count = b.load(I64, frame.pointer(run.position))
    frame.names[counted_name(loop.length)] = count
    if COUNT in run.step.items:
        b.store(count, frame.pointer(run.step.items[COUNT]))


def _grow(frame: Frame, growing: list[tuple[Place, Node]], at: Value) -> None:
    """Double the room of records when the step's number reaches a power of two."""
    if not growing:
        return
    b = frame.b
    full = b.icmp("eq", b.and_(at, b.sub(at, 1)), b.i64(0))
    large = b.icmp("sge", at, b.i64(FIRST_ROWS))

    def double() -> None:
        for place, x in growing:
            row = emit_extent(b, _nbytes(x), frame.names)
            frame.resize(place, b.mul(b.mul(at, 2), row))

    b.if_(b.and_(full, large), double)


# Branches and calls


def _choose(frame: Frame, run: Choose) -> None:
    b = frame.b
    for launch in run.index:
        frame.launch(launch)
    frame.allocate(run.results)
    inputs = [frame.whole(w) for w in run.args]
    outputs = [frame.pointer(p) for p in run.results]

    def branch(i: int) -> Callable[[], None]:
        return lambda: _run_part(frame, run.branches[i], inputs, outputs)

    if run.chosen is None:
        branch(0)()
    else:
        index = b.load(I64, frame.pointer(run.chosen))
        end = b.new_label("chosen")
        for i in range(len(run.branches) - 1):
            here, on = b.new_label("branch"), b.new_label("other")
            b.branch_if(b.icmp("sle", index, b.i64(i)), here, on)
            b.start(here)
            branch(i)()
            b.branch(end)
            b.start(on)
        branch(len(run.branches) - 1)()
        b.branch(end)
        b.start(end)
    frame.time += 1


def _foreign(frame: Frame, run: Foreign) -> None:
    """Write the addresses and extents into the table and call out; leave if that fails."""
    b, node = frame.b, run.step.node
    frame.allocate(run.results)
    table = frame.pointer(run.table)
    places = [frame.whole(w) for w in run.args] + [frame.pointer(p) for p in run.results]
    for i, place in enumerate(places):
        b.store(place, b.offset(table, 8 * i))
    values = [*node.args, *results_of(node)]
    extents = [e for x in values for e in x.shape]
    first = 8 * len(places)
    for i, extent in enumerate(extents):
        b.store(emit_extent(b, extent, frame.names), b.offset(table, first + 8 * i))
    function = b.pointer(node.attributes["function"].address)
    arguments = [table, b.offset(table, 8 * len(run.args)), b.offset(table, first)]
    # Here, where an exception can be kept: one that arrives as Python's function begins is lost.
    frame.look_now(1)
    code = b.call_pointer(function, I64, arguments)
    frame.leave_if(b.icmp("ne", code, b.i64(0)), RAISED)
    frame.time += 1
