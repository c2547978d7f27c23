"""Which elements of a result depend on which of an argument: one rule for each kind of op.

Moves state their index map by running their own meaning on the numbers of the elements, so a new
view needs no rule here.  Where integers pick elements, their values decide; where an integer itself
comes from the data, everything it could pick counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import Final, TypeAlias

import numpy as np

from chainrule.differentiate.pattern import Merge, Steps, Take
from chainrule.errors import UnsupportedError, explain
from chainrule.ir.evaluate import evaluate
from chainrule.ir.graph import Node, constant_value
from chainrule.ir.op import Kind
from chainrule.ir.program import Program
from chainrule.ir.types import Array
from chainrule.ir.walk import reached
from chainrule.ops.contract import free_axes
from chainrule.ops.update import numbers_written

__all__ = ["RULES", "Known", "Rule", "dependence", "shape_of", "size_of"]


PAIRS: Final = 20_000_000
"Products of a known operand's numbers and elements up to which its zeros are looked at."


class Known:
    """Values of the nodes that follow from constants and the given arrays.

    Args:
        arrays: Values of inputs: integers and truth values, which the pattern may depend on.
        hidden: Inputs whose values may be missing, since they change while a program runs.
    """

    def __init__(self, arrays: Mapping[Node, Array], hidden: Iterable[Node] = ()) -> None:
        self._hidden: Final = frozenset(hidden)
        self._arrays: Final = dict(arrays)
        self._decided: Final[dict[Node, bool]] = {}
        self._values: Final[dict[Node, Array]] = {}

    def __call__(self, node: Node) -> Array | None:
        """Return the value of a node, or None if it depends on an input without one."""
        if not self._is_known(node):
            return None
        if node not in self._values:
            inputs = [n for n in reached([node]) if n in self._arrays]
            names = tuple(str(n.id) for n in inputs)
            program = Program("known", tuple(inputs), (node,), names, ("",))
            (self._values[node],) = evaluate(program, *[self._arrays[n] for n in inputs])
        return self._values[node]

    def require(self, node: Node, what: str) -> Array | None:
        """Return the value of a node, or None if it depends on floating-point inputs.

        Raises:
            UnsupportedError: It depends on an integer whose value is missing.
        """
        value = self(node)
        if value is not None:
            return value
        for one in reached([node]):
            missing = one.op.name == "input" and one not in self._arrays
            if missing and not one.dtype.is_float and one not in self._hidden:
                raise UnsupportedError(
                    explain(
                        f"a sparse derivative needs to know which elements are {what}",
                        f"integers  {one.attributes['name']}: {one.type}, traced",
                        hint="call it outside of compiled functions, or let them close over the "
                        "integers as a NumPy array",
                    )
                )
        return None

    def _is_known(self, node: Node) -> bool:
        stack = [node]
        while stack:
            one = stack[-1]
            waiting = [a for a in one.args if a not in self._decided]
            if one in self._decided or not waiting:
                stack.pop()
                # What calls back may say something else the next time.
                own = one.op.name not in ("input", "callback") or one in self._arrays
                self._decided[one] = own and all(self._decided[a] for a in one.args)
            else:
                stack += waiting
        return self._decided[node]


Rule: TypeAlias = Callable[[Node, Known], Sequence[Steps | None]]
"""For each argument of a node: how the result depends on it; None where it does not."""


def dependence(node: Node, known: Known) -> Sequence[Steps | None]:
    """Return for each argument of `node` how its elements lead to those of the result.

    Integers and truth values carry no derivative, hence no dependence.
    """
    if not node.dtype.is_float:
        return [None] * len(node.args)
    found = RULES.get(node.op.kind, _everything)(node, known)
    return [s if x.dtype.is_float else None for s, x in zip(found, node.args, strict=True)]


def shape_of(x: Node) -> tuple[int, ...]:
    """Return the extents of a node, which are numbers here."""
    found = tuple([e for e in x.shape if isinstance(e, int)])
    if len(found) < x.type.rank:
        raise UnsupportedError(
            explain(
                "a sparse derivative needs extents that are numbers", f"value  {x.type}",
                hint="patterns are found for numbers: call it outside of functions that are "
                "compiled for named extents, and bound loops by a number of steps",
            )
        )  # fmt: skip
    return found


def size_of(x: Node) -> int:
    """Return the number of elements."""
    return prod(shape_of(x))


def _numbers(x: Node) -> Array:
    """Return the numbers of the elements of a node, in its shape."""
    return np.arange(size_of(x)).reshape(shape_of(x))


# Element by element


def _pointwise(node: Node, known: Known) -> Sequence[Steps | None]:
    if node.op.name == "select":
        return _selected(node, known)
    if node.op.slopes is None:
        # A cast has a pull-back; what has neither is piecewise constant.
        return [() if node.op.pull is not None else None] * len(node.args)
    slopes = node.op.slopes(node, *node.args, **node.attributes)
    return [_where_not_zero(s, known) for s in slopes]


def _where_not_zero(slope: Node | float | None, known: Known) -> Steps | None:
    """Return the dependence along a slope: none where it is known to be zero."""
    number = constant_value(slope) if isinstance(slope, Node) else slope
    if isinstance(slope, Node) and number is None:
        value = known(slope)
        return () if value is None else _masked(value != 0)
    return () if number else None


def _masked(mask: Array) -> Steps | None:
    if np.all(mask):
        return ()
    flat = np.ravel(mask)
    return (Take(np.where(flat, np.arange(flat.size), -1)),) if flat.any() else None


def _selected(node: Node, known: Known) -> Sequence[Steps | None]:
    condition = known(node.args[0])
    if condition is None:
        return [None, (), ()]
    return [None, _masked(condition), _masked(~condition)]


# Moves: the op's own meaning, run on the numbers of the elements


def _moved(node: Node, known: Known) -> Sequence[Steps | None]:
    """Return the index map of a view, of a write into parts, or of a pick by known integers."""
    found: list[Steps | None] = []
    fixed = [None if x.dtype.is_float else known(x) for x in node.args]
    unknown = any(v is None and not x.dtype.is_float for v, x in zip(fixed, node.args, strict=True))
    if unknown:
        return _everything(node, known)
    for at, x in enumerate(node.args):
        # From 1: what is written nowhere stays 0.
        given = [
            _numbers(a) + 1 if i == at else v if v is not None else np.zeros(shape_of(a), np.int64)
            for i, (a, v) in enumerate(zip(node.args, fixed, strict=True))
        ]
        known_here = fixed[at] is not None
        rows = None if known_here else np.ravel(node.op.value(*given, **node.attributes)) - 1
        found.append(None if rows is None or not x.dtype.is_float else (Take(rows),))
    return found


def _gathered(node: Node, known: Known) -> Sequence[Steps | None]:
    x, index = node.args
    if known.require(index, "picked") is not None:
        return _moved(node, known)
    batch = node.attributes["batch"]
    return [_anywhere(x, node, batch, 1, index.type.rank - batch), None]


def _scattered(node: Node, known: Known) -> Sequence[Steps | None]:
    g, index = node.args
    places = known.require(index, "added to")
    batch = node.attributes["batch"]
    if places is None:
        return [_anywhere(g, node, batch, index.type.rank - batch, 1), None]
    gather = node.graph.ops["gather"]
    rows = gather.value(_numbers(node), places, batch=batch)
    return [(Merge(np.ravel(rows), size_of(node)),), None]


def _updated(node: Node, known: Known) -> Sequence[Steps | None]:
    x, v, *index = node.args
    values = [found for i in index if (found := known(i)) is not None]
    nothing = [None for _ in index]
    if len(values) < len(index):
        return [(), _everything(node, known)[1], *nothing]
    places = np.ravel(numbers_written(node, values))
    if node.attributes["how"] == "add":
        return [(), (Merge(places, size_of(x)),), *nothing]
    # Of equal places the last one counts.
    rows = np.full(size_of(x), -1)
    rows[places] = np.arange(size_of(v))
    kept = np.where(rows < 0, np.arange(size_of(x)), -1)
    return [(Take(kept),), (Take(rows),), *nothing]


def _anywhere(x: Node, y: Node, batch: int, taken: int, given: int) -> Steps:
    """Unite `taken` axes of x behind the batch, and spread over `given` axes of y."""
    shape = shape_of(x)
    lead, tail = shape[:batch], shape[batch + taken :]
    ids = np.arange(prod((*lead, *tail)))
    here = ids.reshape((*lead, *(1,) * taken, *tail))
    there = ids.reshape((*lead, *(1,) * given, *tail))
    groups = np.ravel(np.broadcast_to(here, shape))
    return Merge(groups, ids.size), Take(np.ravel(np.broadcast_to(there, shape_of(y))))


# Sums and running combinations


def _reduced(node: Node, known: Known) -> Sequence[Steps | None]:
    if "axes" not in node.op.params:
        return _everything(node, known)
    (x,), axes = node.args, node.attributes["axes"]
    kept = tuple(1 if i in axes else e for i, e in enumerate(shape_of(x)))
    ids = np.broadcast_to(_numbers(node).reshape(kept), shape_of(x))
    return [(Merge(np.ravel(ids), size_of(node)),)]


def _running(node: Node, _known: Known) -> Sequence[Steps | None]:
    """Element j depends on those up to j; the first factor of a recurrence is not used."""
    axis, reverse = node.attributes["axis"], node.attributes["reverse"]
    numbers = np.moveaxis(_numbers(node), axis, 0)
    if reverse:
        numbers = numbers[::-1]
    later, earlier = np.tril_indices(len(numbers))
    found: list[Steps] = []
    for at in range(len(node.args)):
        used = earlier > 0 if at < len(node.args) - 1 else np.ones_like(earlier, bool)
        sources, results = np.ravel(numbers[earlier[used]]), np.ravel(numbers[later[used]])
        found.append((Take(sources), Merge(results, numbers.size)))
    return found


def _contracted(node: Node, known: Known) -> Sequence[Steps | None]:
    return [_contracted_operand(node, known, at) for at in (0, 1)]


def _contracted_operand(node: Node, known: Known, at: int) -> Steps:
    """Unite an operand over the summed axes and spread it over the other's free ones.

    Zeros of the other operand, where it is known, leave out what they multiply.
    """
    batch, summed = node.attributes["batch"], node.attributes["summed"]
    x, other = node.args[at], node.args[1 - at]
    free = free_axes(x.type.rank, batch[at], summed[at])
    wide = free_axes(other.type.rank, batch[1 - at], summed[1 - at])
    # Axes batch, free, summed; those of the result batch, own free, the other's free.
    mine = _lined(_numbers(x), batch[at], free, summed[at])
    lead = mine.shape[:2]
    width = prod(shape_of(other)[i] for i in wide)
    result = _numbers(node).reshape(*lead, width) if at == 0 else np.swapaxes(
        _numbers(node).reshape(lead[0], width, lead[1]), 1, 2
    )  # fmt: skip
    value = known(other)
    if value is not None and np.count_nonzero(value) * lead[1] < min(value.size * lead[1], PAIRS):
        b, f, s = np.nonzero(_lined(value, batch[1 - at], wide, summed[1 - at]))
        return Take(np.ravel(mine[b, :, s])), Merge(np.ravel(result[b, :, f]), result.size)
    rows = np.arange(prod(lead)).reshape(*lead, 1)
    into, out = np.empty(mine.size, np.int64), np.empty(result.size, np.int64)
    into[mine], out[result] = rows, rows
    return Merge(into, prod(lead)), Take(out)


def _lined(x: Array, *parts: Sequence[int]) -> Array:
    """Bring the axes into the order of `parts`, each part becoming one axis."""
    moved = np.transpose(x, [i for part in parts for i in part])
    return moved.reshape([prod(x.shape[i] for i in part) for part in parts])


def _factored(node: Node, _known: Known) -> Sequence[Steps | None]:
    """Return the rule for matrices: each depends on all of its own, columns of systems apart."""
    y = shape_of(node)
    found: list[Steps] = []
    for at, x in enumerate(node.args):
        columns = 1 if at == 0 else shape_of(x)[-1]
        batch = prod(y[:-2])
        groups = np.arange(batch * columns).reshape(batch, 1, columns)
        mine = np.broadcast_to(groups, (batch, size_of(x) // max(batch * columns, 1), columns))
        whole = np.broadcast_to(groups, (batch, prod(y[-2:]) // max(columns, 1), columns))
        found.append((Merge(np.ravel(mine), groups.size), Take(np.ravel(whole))))
    return found


def _everything(node: Node, _known: Known) -> Sequence[Steps | None]:
    """Return the rule for what has none: all elements depend on all of every argument."""
    rows = np.zeros(size_of(node), np.int64)
    return [(Merge(np.zeros(size_of(x), np.int64), 1), Take(rows)) for x in node.args]


RULES: Final[Mapping[Kind, Rule]] = {
    Kind.POINTWISE: _pointwise,
    Kind.VIEW: _moved,
    Kind.WRITE: _moved,
    Kind.GATHER: _gathered,
    Kind.SCATTER: _scattered,
    Kind.UPDATE: _updated,
    Kind.REDUCE: _reduced,
    Kind.CUMULATE: _running,
    Kind.CONTRACT: _contracted,
    Kind.FACTOR: _factored,
}
"""How each kind of op depends on its arguments; kinds that are not listed: entirely."""
