"""Loops of the compiled program: `scan`, `fori_loop`, `while_loop`.

A Python loop is followed while a function is traced, so its program grows with the number of turns.
These do not: the body is traced once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.errors import DTypeError, ShapeError, StructureError, UnsupportedError, explain
from chainrule.frontend.arguments import name_of, require_function
from chainrule.frontend.array import Array
from chainrule.frontend.assume import at_least, counted
from chainrule.frontend.extents import SymbolicExtent, plain_extent, symbolic
from chainrule.frontend.locate import user_line
from chainrule.frontend.operands import as_operand, cast, common_dtype, kind_of, shape_of
from chainrule.frontend.pytree import TreeDef, difference
from chainrule.frontend.value import Value, describe
from chainrule.ir.body import Body
from chainrule.ir.dims import Dim, Extent, show_extent
from chainrule.ir.graph import Graph, Node
from chainrule.ir.types import BOOL, Type
from chainrule.ir.walk import reached, rebuild
from chainrule.ops.control import POSITION, fresh_length, results_of
from chainrule.transform.checkpointing import in_segments, schedule_of
from chainrule.transform.closing import (
    Leaf,
    Opened,
    close,
    conditions,
    is_static,
    leaves_of,
    never,
    open_body,
    report,
)
from chainrule.transform.inline import graph_for
from chainrule.transform.revolve import recomputing
from chainrule.transform.transformed import Run, evaluating, has_traced

__all__ = ["fori_loop", "scan", "while_loop"]


class _Carries:
    """What a loop carries from step to step: its types settle as the body is traced."""

    def __init__(self, verb: str, init: Any, graph: Graph) -> None:
        self.verb, self.graph = verb, graph
        self.leaves, self.tree = leaves_of(init, graph)
        self.paths = self.tree.paths()

    @property
    def types(self) -> list[Type]:
        return [x.node.type for x in self.leaves]

    @property
    def weak(self) -> list[bool]:
        return [x.weak for x in self.leaves]

    @property
    def names(self) -> list[str]:
        return [p or "carry" for p in self.paths]

    def opened(self, step: Callable[..., Any]) -> Opened:
        """Trace a function of the position and the leaves of what is carried."""
        types, weak = [POSITION, *self.types], [True, *self.weak]
        return open_body(self.graph, step, types, weak, ["position", *self.names])

    def settled(self, step: Callable[..., Any]) -> Opened:
        """Trace a step until its results have the types of what it is given."""
        while True:
            opened = self.opened(step)
            self.check_tree(opened.tree)
            if not self.widened(opened.outputs, opened.weak):
                return opened

    def widened(self, outputs: Sequence[Node], weak: Sequence[bool]) -> bool:
        """Let carries that began as Python numbers take the dtype that a step gives them."""
        changed = False
        for i, (x, after, w) in enumerate(zip(self.leaves, outputs, weak, strict=True)):
            if x.weak and (x.node.dtype is not after.dtype or not w):
                dtype = common_dtype([x.handle, Array(after, w)])
                stays = x.node.dtype is dtype and w
                if not stays:
                    self.leaves[i] = Leaf(cast(x.node, dtype), False)
                    changed = True
        return changed

    def matched(self, outputs: Sequence[Node], weak: Sequence[bool]) -> list[Node]:
        """Return a step's carries with the types the step began with.

        Raises:
            ShapeError: A shape has changed.
            DTypeError: A dtype has changed.
        """
        found = []
        for x, after, w, path in zip(self.leaves, outputs, weak, self.names, strict=True):
            before = x.node.type
            facts = (f"before the step  {before}", f"after it         {after.type}",
                     f"at  {user_line()}")  # fmt: skip
            if after.shape != before.shape:
                raise ShapeError(
                    explain(f"{self.verb}: {path} comes out of a step with another shape", *facts,
                            hint="what a loop carries keeps its shape")
                )  # fmt: skip
            if after.dtype is not before.dtype:
                if not w:
                    raise DTypeError(
                        explain(f"{self.verb}: {path} comes out of a step with another dtype",
                                *facts, hint="convert it with .astype(...)")
                    )  # fmt: skip
                after = cast(after, before.dtype)  # noqa: PLW2901
            found.append(after)
        return found

    def check_tree(self, tree: TreeDef) -> None:
        if tree != self.tree:
            raise StructureError(
                explain(f"{self.verb}: what is carried nests otherwise after a step",
                        f"before  {self.tree}", f"after   {tree}",
                        difference(self.tree, tree, "it", "after the step it"),
                        f"at  {user_line()}")
            )  # fmt: skip


def scan(
    f: Callable[[Any, Any], Any], init: Any, xs: Any = None, length: Any = None,
    reverse: bool = False, *, checkpoint: str | int | tuple[str, int] | None = None,
    run: Run = evaluating,
) -> Any:  # fmt: skip
    """Carry a value through a loop over the rows of arrays.

    The program has one copy of the body, whatever the length.  Its gradient is a loop of as many
    steps in the opposite order over what the steps have left: memory grows with the length, unless
    `checkpoint` has steps run again.

    Args:
        f: One step, `f(carry, x) -> (carry, y)`.  Carries keep their structure, shapes and dtypes.
        init: The first carry: a pytree of arrays.
        xs: A pytree of arrays; step i sees their rows i, along axis 0.  None: `f` is given None.
        length: The number of steps, where there are no `xs`: an integer or an extent.
        reverse: Go from the last row to the first; row i of the results is still that of row i.
        checkpoint: What reverse mode keeps.  None: what all steps leave.  `"sqrt"`: the carries
            between segments of about sqrt(length) steps (32 where the length is an extent), each of
            which is run once again.  An integer: the same with segments of so many steps.
            `"binomial"` or `("binomial", snapshots)`: a few carries, from which steps are run again
            up to three times, or as often as it takes; its order of steps is a constant of 12 bytes
            a step that is run.
        run: How plain values are computed with.  (With plain arrays the function is traced at each
            call, at the cost of milliseconds: `jit` what is called often.)

    Returns:
        `(last carry, ys)`: `ys` nests as `y`, with the rows of all steps along a new axis 0.

    Raises:
        StructureError: `f` does not return a pair, or carries nest otherwise.
        ShapeError: Lengths differ, or a carry changes its shape.
        DTypeError: A carry changes its dtype.

    >>> import numpy as np
    >>> total, sums = scan(lambda s, x: (s + x, s + x), 0.0, np.array([1.0, 2.0, 3.0]))
    >>> total.item(), sums.tolist()
    (6.0, [1.0, 3.0, 6.0])
    """
    require_function(f, "scan")
    if not has_traced((init, xs)) and not isinstance(length, SymbolicExtent):
        return run(lambda a, b: scan(f, a, b, length, reverse, checkpoint=checkpoint))(init, xs)
    graph = graph_for((init, xs))
    rows, row_tree = leaves_of(xs, graph)
    count = _length_of(rows, row_tree, length, graph)
    schedule, number = schedule_of(checkpoint)
    if schedule == "segments":
        return in_segments(scan, f, init, (rows, row_tree), count, number, reverse=reverse)
    carries = _Carries("scan", init, graph)
    elements = [Type(x.node.dtype, x.node.shape[1:]) for x in rows]
    split = len(carries.leaves)

    def step(_position: Any, *leaves: Any) -> Any:
        carry, x = carries.tree.unflatten(leaves[:split]), row_tree.unflatten(leaves[split:])
        pair = f(carry, x)
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise StructureError(
                explain("scan: the function must return a pair (carry, y)",
                        f"returned  {type(pair).__name__}", f"function  {name_of(f)}",
                        hint="return (carry, None) if nothing is to be stacked")
            )  # fmt: skip
        return pair

    names = [*carries.names, *(p or "x" for p in row_tree.paths())]
    while True:
        types = [POSITION, *carries.types, *elements]
        weak = [True, *carries.weak, *(False for _ in rows)]
        opened = open_body(graph, step, types, weak, ["position", *names])
        carry_tree, y_tree = opened.tree.children
        carries.check_tree(carry_tree)
        if not carries.widened(opened.outputs[:split], opened.weak[:split]):
            break
    after = carries.matched(opened.outputs[:split], opened.weak[:split])
    snapshots = (number,) if schedule == "binomial" else None
    last, ys = _loop(carries, opened, after, rows, count, reverse=reverse, snapshots=snapshots)
    return carries.tree.unflatten(last), y_tree.unflatten(ys)


def _loop(
    carries: _Carries, opened: Opened, after: Sequence[Node], rows: Sequence[Leaf], length: Extent,
    *, reverse: bool = False, test: Opened | None = None, bound: Extent | None = None,
    snapshots: tuple[int | None] | None = None,
) -> tuple[list[Array], list[Array]]:  # fmt: skip
    """Make the loop from its traced body; return the last carries and what was stacked."""
    graph, split = carries.graph, len(carries.leaves)
    flags = conditions(opened)
    failed = [graph.input("failed", Type(BOOL, ())) for _ in flags]
    body = [*after, *(a | b for a, b in zip(failed, flags, strict=True)), *opened.outputs[split:]]
    parts = [(body, opened.mark)]
    if test is not None:
        parts.append((test.outputs, test.mark))
    outer, fixed, closed = close(graph, parts)
    own = opened.inputs
    inputs = (*own[: 1 + split], *failed, *own[1 + split :], *fixed[0])
    ending = None
    if test is not None:
        # It was traced on inputs of its own.
        known = dict(zip([*test.inputs, *fixed[1]], [*own, *fixed[0]], strict=True))
        found, _ = rebuild(closed[1], graph, lambda _n, _a: None, known)
        ending = Body(inputs, tuple(found))
    inits = [x.node for x in carries.leaves] + [never(graph) for _ in flags]
    node = graph.call(
        "loop", *inits, *(x.node for x in rows), *outer, body=Body(inputs, tuple(closed[0])),
        test=ending, carries=len(inits), mapped=len(rows), length=length, bound=bound,
        reverse=reverse, counted=False,
    )  # fmt: skip
    results = results_of(node)
    if snapshots is not None:
        if not isinstance(length, int):
            raise UnsupportedError(
                explain("scan: binomial checkpoints of a loop whose length is an extent",
                        f"length  {show_extent(length)}",
                        hint='use checkpoint="sqrt", or give the length as a number')
            )  # fmt: skip
        results = recomputing(results, *snapshots)
    report(graph, [opened], results[split : len(inits)])
    last = [Array(n, w) for n, w in zip(results[:split], carries.weak, strict=True)]
    return last, [Array(n) for n in results[len(inits) :]]


def _described(x: Any) -> str:
    return describe(x.node) if isinstance(x, Value) else f"{x!r:.60}"


def _length_of(rows: Sequence[Leaf], tree: TreeDef, length: Any, graph: Graph) -> Extent:
    """Return the number of steps, on which all arrays agree."""
    if length is not None and not isinstance(length, int | Dim | np.integer):
        raise StructureError(
            explain("scan: the length is no integer", f"length  {_described(length)}",
                    hint="an argument that says how many steps is a setting: name it in the "
                    "static_argnames of jit, or close over it; for a number known only as the "
                    "program runs, use while_loop")
        )  # fmt: skip
    if isinstance(length, np.integer):
        length = int(length)
    wanted: Extent | None = None if length is None else plain_extent(length)
    if wanted is not None:
        at_least(graph, wanted, 0, f"scan: the length is negative: {show_extent(wanted)}")
    for x, path in zip(rows, tree.paths(), strict=True):
        if not x.node.shape:
            raise ShapeError(explain(f"scan: {path or 'xs'} has no axis to go along",
                                     f"type  {x.node.type}"))  # fmt: skip
    found = [x.node.shape[0] for x in rows]
    if wanted is None:
        if not found:
            raise StructureError(
                explain("scan: no arrays to go along, and no length",
                        hint="give xs, or the number of steps with length=")
            )  # fmt: skip
        wanted = found[0]
    if any(e != wanted for e in found):
        facts = [f"{p or 'xs'}  {show_extent(e)}" for p, e in zip(tree.paths(), found, strict=True)]
        extra = [f"length  {show_extent(wanted)}"] if length is not None else []
        raise ShapeError(explain("scan: lengths differ", *facts, *extra))
    return wanted


def fori_loop(
    lower: Any, upper: Any, body: Callable[[Any, Any], Any], init: Any, *, run: Run = evaluating
) -> Any:
    """Apply a body for each integer from `lower` up to, not including, `upper`.

    Args:
        lower: The first integer.
        upper: The end; with a traced number for one of the two, reverse mode is a `while_loop`'s.
        body: `body(i, value) -> value`; the value keeps structure, shapes and dtypes.
        init: The first value: a pytree of arrays.
        run: How plain values are computed with.

    Returns:
        The last value.

    Raises:
        StructureError: The value nests otherwise after a step.
        ShapeError: It changes a shape.
        DTypeError: It changes a dtype, or an end is no integer.

    >>> fori_loop(0, 5, lambda i, s: s + i, 0).item()
    10
    """
    require_function(body, "fori_loop")
    for x in (lower, upper):
        _require_integer(x)
    if not has_traced((lower, upper, init)):
        return run(lambda x: fori_loop(int(lower), int(upper), body, x))(init)
    graph = graph_for((lower, upper, init))
    first, end = (int(x) if isinstance(x, np.integer) else plain_extent(x) for x in (lower, upper))
    start = symbolic(first, graph) if is_static(first) else lower
    carries = _Carries("fori_loop", init, graph)

    def turn(position: Any, *leaves: Any) -> Any:
        return body(start + position, carries.tree.unflatten(leaves))

    opened = carries.settled(turn)
    after = carries.matched(opened.outputs, opened.weak)
    if is_static(first) and is_static(end):
        steps = counted(graph, end - first, "fori_loop: the end comes before the start")
        last, _ = _loop(carries, opened, after, [], steps)
    else:
        test = carries.opened(lambda position, *_: start + position < upper)
        last, _ = _loop(carries, opened, after, [], fresh_length(), test=test)
    return carries.tree.unflatten(last)


def _require_integer(x: Any) -> None:
    """Raise unless an end of a loop is one integer."""
    if is_static(plain_extent(x)):
        return
    leaf = x if isinstance(x, Value) else as_operand(x)
    kind = kind_of(leaf)
    if np.dtype(kind).kind not in "iu":
        raise DTypeError(explain("fori_loop: an end is no integer", f"end  {x!r:.60}"))
    if shape_of(leaf):
        raise ShapeError(explain("fori_loop: an end is not one integer", f"end  {x!r:.60}"))


def while_loop(
    cond: Callable[[Any], Any], body: Callable[[Any], Any], init: Any, *,
    max_steps: int | None = None, run: Run = evaluating,
) -> Any:  # fmt: skip
    """Apply a body as long as a condition holds.

    Reverse mode records the steps on a tape as long as the loop turns out to be; with `max_steps`
    the tape's memory is known before the call.

    Args:
        cond: A truth value of the loop's value.
        body: `body(value) -> value`; the value keeps structure, shapes and dtypes.
        init: The first value: a pytree of arrays.
        max_steps: Stop after so many steps even if the condition holds.
        run: How plain values are computed with.

    Returns:
        The first value for which the condition does not hold.

    Raises:
        StructureError: The value nests otherwise after a step.
        ShapeError: It changes a shape, or the condition is no single truth value.
        DTypeError: It changes a dtype, or the condition is no truth value.

    >>> while_loop(lambda x: x < 100.0, lambda x: 2 * x, 3.0).item()
    192.0
    """
    for fn in (cond, body):
        require_function(fn, "while_loop")
    if not has_traced(init):
        return run(lambda x: while_loop(cond, body, x, max_steps=max_steps))(init)
    if max_steps is not None and not _is_count(max_steps):
        raise StructureError(explain("while_loop: max_steps is no number of steps",
                                     f"max_steps  {max_steps!r:.60}"))  # fmt: skip
    graph = graph_for(init)
    carries = _Carries("while_loop", init, graph)

    def of_leaves(fn: Callable[[Any], Any]) -> Callable[..., Any]:
        return lambda _position, *leaves: fn(carries.tree.unflatten(leaves))

    opened = carries.settled(of_leaves(body))
    test = carries.opened(of_leaves(cond))
    _require_truth("while_loop: the condition", test)
    # What it checks of values from outside is checked before the loop: the condition always runs.
    own = set(test.inputs)
    graph.checks.update(dict.fromkeys(test.checks))
    if any(not own.isdisjoint(reached([c.failed])) for c in test.checks):
        raise StructureError(
            explain("while_loop: the condition picks elements by an index of its own",
                    f"at  {user_line()}", hint="pick them in the body, and carry them")
        )  # fmt: skip
    after = carries.matched(opened.outputs, opened.weak)
    last, _ = _loop(carries, opened, after, [], fresh_length(), test=test, bound=max_steps)
    return carries.tree.unflatten(last)


def _is_count(x: Any) -> bool:
    return isinstance(x, int) and not isinstance(x, bool) and x >= 0


def _require_truth(what: str, opened: Opened) -> None:
    types = [n.type for n in opened.outputs]
    if opened.tree.cls is not None or len(types) != 1 or types[0].shape:
        shown = ", ".join(map(str, types))
        raise ShapeError(explain(f"{what} is not one truth value", f"returned  {shown}"))
    if types[0].dtype is not BOOL:
        raise DTypeError(explain(f"{what} is no truth value", f"returned  {types[0]}",
                                 hint="compare, for instance x > 0"))  # fmt: skip
