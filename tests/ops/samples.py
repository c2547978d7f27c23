"""What to call every op with.  An op without a sample fails the tests the moment it is declared."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from chainrule.errors import DTypeError
from chainrule.ir.graph import Graph, Node
from chainrule.ir.op import Kind, Op
from chainrule.ir.types import BOOL, DTYPES, F32, F64, I32, I64, Array, DType, Type
from chainrule.ops import OPS

__all__ = ["SHAPES", "Sample", "array_for", "call", "inputs_for", "samples"]

SHAPES = [(), (1,), (5,), (2, 3), (2, 0, 3), (2, 1, 4)]


class Sample(NamedTuple):
    """Types of the arguments and the static attributes."""

    types: tuple[Type, ...]
    attributes: dict[str, Any]

    def __str__(self) -> str:
        return ", ".join([*map(str, self.types), *(f"{k}={v}" for k, v in self.attributes.items())])


Shapes = tuple[tuple[int, ...], ...]
# Shapes of the float arguments, and attributes.  `None` in dtype position: an integer argument.
TABLE: dict[str, list[tuple[Shapes, dict[str, Any]]]] = {
    "sum": [
        (((2, 3, 4),), {"axes": a}) for a in [(0,), (1,), (0, 2), (0, 1, 2)]
    ] + [(((),), {"axes": ()}), (((0, 2),), {"axes": (0,)})],
    "prod": [(((2, 3, 2),), {"axes": a}) for a in [(1,), (0, 2), (0, 1, 2)]]
    + [(((1, 2),), {"axes": (0,)}), (((0, 2),), {"axes": (0,)})],
    "max": [(((2, 3, 4),), {"axes": a}) for a in [(0,), (2,), (0, 2), (0, 1, 2)]],
    "argmax": [(((2, 3, 4),), {"axis": a}) for a in [0, 1, 2]],
    "logsumexp": [(((2, 3, 4),), {"axes": a}) for a in [(0,), (1, 2), (0, 1, 2)]],
    # Orders with cusps at 0, near which differences are no judges: tests/faults/test_norms.py.
    "p_norm": [
        (((2, 3, 4),), {"axes": a, "order": p})
        for a in [(0,), (1, 2), (0, 1, 2)] for p in [3.0, 2.5]
    ],
    "cumsum": [
        (((2, 3),), {"axis": a, "reverse": r}) for a in [0, 1] for r in [False, True]
    ],
    "recurrence": [
        (((2, 4), (2, 4)), {"axis": a, "reverse": r}) for a in [0, 1] for r in [False, True]
    ] + [(((1,), (1,)), {"axis": 0, "reverse": False})],
    "broadcast": [
        (((),), {"shape": (3,), "axes": ()}), (((3,),), {"shape": (2, 3), "axes": (1,)}),
        (((3,),), {"shape": (3, 2), "axes": (0,)}),
        (((2, 4),), {"shape": (5, 2, 3, 4), "axes": (1, 3)}),
        (((2,),), {"shape": (0, 2), "axes": (1,)}),
    ],
    "reshape": [
        (((2, 6),), {"shape": (3, 4)}), (((2, 3),), {"shape": (6,)}), (((1,),), {"shape": ()}),
    ],
    "transpose": [(((2, 3, 4),), {"axes": a}) for a in itertools.permutations(range(3))],
    "slice": [
        (((5,),), {"starts": (1,), "shape": (3,), "steps": (1,)}),
        (((5,),), {"starts": (4,), "shape": (3,), "steps": (-2,)}),
        (((5,),), {"starts": (2,), "shape": (0,), "steps": (1,)}),
        (((4, 6),), {"starts": (3, 1), "shape": (4, 2), "steps": (-1, 3)}),
    ],
    "place": [
        (((3,),), {"starts": (1,), "shape": (5,), "steps": (1,)}),
        (((3,),), {"starts": (4,), "shape": (5,), "steps": (-2,)}),
        (((2, 2),), {"starts": (0, 1), "shape": (3, 6), "steps": (2, 3)}),
    ],
    "concatenate": [
        (((2, 3), (2, 1)), {"axis": 1}), (((2, 3), (0, 3), (4, 3)), {"axis": 0}),
        (((3,),), {"axis": 0}),
    ],
    "overlay": [
        (((5,), (4,), (4,)), {"starts": (0, 1, 5), "steps": (6, 6, 6), "shape": (5, 5)}),
        (((3,), (1,)), {"starts": (9, 0), "steps": (-2, 1), "shape": (10,)}),
        (((2, 3), (2, 2)), {"starts": (0, 1), "steps": (4, 2), "shape": (2, 3, 3)}),
    ],
    "contract": [
        (((2, 3), (3, 4)), {"batch": ((), ()), "summed": ((1,), (0,))}),
        (((2, 3), (4, 3)), {"batch": ((), ()), "summed": ((1,), (1,))}),
        (((3,), (3,)), {"batch": ((), ()), "summed": ((0,), (0,))}),
        (((2,), (3,)), {"batch": ((), ()), "summed": ((), ())}),
        (((5, 2, 3), (5, 3, 4)), {"batch": ((0,), (0,)), "summed": ((2,), (1,))}),
        (((2, 3, 4, 5), (4, 6, 2, 5)), {"batch": ((0,), (2,)), "summed": ((3, 2), (3, 0))}),
        (((2, 3, 4), (3, 4, 2)), {"batch": ((), ()), "summed": ((2, 0), (1, 2))}),
    ],
    "cholesky": [(((*lead, n, n),), {}) for lead, n in [((), 3), ((), 1), ((2,), 4), ((), 0)]],
    "triangular_solve": [
        (((3, 3), (3, m)), dict(zip(("lower", "transposed", "unit_diagonal"), given, strict=True)))
        for m, given in zip(itertools.cycle([1, 2, 5]), itertools.product([False, True], repeat=3))
    ] + [
        (((2, 4, 4), (2, 4, m)), {"lower": True, "transposed": False, "unit_diagonal": False})
        for m in (0, 1, 2)
    ],
    "solve": [
        (((3, 3), (3, 2)), {"transposed": False}), (((3, 3), (3, 1)), {"transposed": True}),
        (((2, 4, 4), (2, 4, 1)), {"transposed": False}),
        (((2, 5, 5), (2, 5, 3)), {"transposed": True}),
    ],
}  # fmt: skip
TABLE["cofactors_slope"] = [
    (((3, 3), (3, 3)), {}), (((2, 4, 4), (2, 4, 4)), {}), (((2, 3, 3), (4, 2, 3, 3)), {}),
]  # fmt: skip
for _one, _same in (("min", "max"), ("argmin", "argmax"), ("softmax", "logsumexp"),
                    ("log_softmax", "logsumexp"), ("norm", "logsumexp"), ("lu", "cholesky"),
                    ("det", "cholesky"), ("logabsdet", "cholesky"),
                    ("cofactors", "cholesky"), ("pivoted", "cholesky")):  # fmt: skip
    TABLE[_one] = TABLE[_same]

F, I = F64, I64
Shape = tuple[int, ...]
# Shapes of array, part and indices; addressed axes, batch axes, starts and steps.
UPDATES: list[tuple[Shape, Shape, list[Shape], Shape, int, Shape, Shape]] = [
    ((5,), (2,), [], (), 0, (1,), (2,)),
    ((5,), (3,), [], (), 0, (4,), (-2,)),
    ((2, 3), (1, 3), [], (), 0, (1, 0), (1, 1)),
    ((5,), (), [()], (0,), 0, (), ()),
    ((5,), (3,), [(3,)], (0,), 0, (), ()),
    ((2, 5, 3), (2, 2, 1), [(2,)], (1,), 0, (0, 2), (1, 1)),
    ((5, 5), (2, 2), [(2, 2), (2, 2)], (0, 1), 0, (), ()),
    ((4, 5, 2), (4, 2), [(4,)], (1,), 1, (0,), (1,)),
    ((4, 5), (4, 3), [(4, 3)], (1,), 1, (), ()),
]
INDEXED: dict[str, list[Sample]] = {
    "gather": [
        Sample((Type(F, (5,)), Type(I, (3,))), {"batch": 0}),
        Sample((Type(F, (5, 2)), Type(I, (3, 2))), {"batch": 0}),
        Sample((Type(F, (4, 5)), Type(I, (4, 1))), {"batch": 1}),
        Sample((Type(F, (4, 5, 2)), Type(I32, (4, 3))), {"batch": 1}),
        Sample((Type(F, (5,)), Type(I, ())), {"batch": 0}),
        Sample((Type(F, (2, 3, 5)), Type(I, (2, 3, 4))), {"batch": 2}),
    ],
    "scatter_add": [
        Sample((Type(F, (3,)), Type(I, (3,))), {"size": 5, "batch": 0}),
        Sample((Type(F, (3, 2)), Type(I, (3,))), {"size": 5, "batch": 0}),
        Sample((Type(F, (4, 3)), Type(I, (4, 3))), {"size": 5, "batch": 1}),
        Sample((Type(F, (4, 3, 2)), Type(I32, (4, 3))), {"size": 5, "batch": 1}),
    ],
    "update": [
        Sample(
            (Type(F, x), Type(F, v), *(Type(I, i) for i in index)),
            {
                "axes": axes,
                "batch": batch,
                "starts": starts,
                "steps": steps,
                "how": how,
                "distinct": not index or not any(e > 1 for e in index[0][batch:]),
            },
        )
        for how in ("set", "add")
        for x, v, index, axes, batch, starts, steps in UPDATES
    ],
}
# Matrices that are not nearly singular: one heavy element in each row.  On the diagonal it makes
# them positive definite; off it, elimination has to exchange rows.
HEAVY = {"cholesky": 0, "triangular_solve": 0, "lu": 1, "solve": 1, "det": 1, "logabsdet": 1,
         "cofactors": 1, "cofactors_slope": 1, "pivoted": 1}  # fmt: skip
SOURCES = {"input", "constant", "data", "iota", "extent"}
BODIES = {op.name for op in OPS.values() if op.kind in (Kind.CONTROL, Kind.ITEM)}
"Ops of whole bodies: tests/control has programs for them."
PARAMETERS: dict[str, list[dict[str, Any]]] = {
    "sinc": [{"order": k} for k in range(4)],
    "cast": [{"dtype": d, "rounds": True} for d in DTYPES],
}


def _pointwise(op: Op, dtype: DType, shape: tuple[int, ...]) -> Iterator[Sample]:
    for attributes in PARAMETERS.get(op.name, [{}]):
        if op.name == "select":
            types: tuple[Type, ...] = (Type(BOOL, shape), Type(dtype, shape), Type(dtype, shape))
            yield Sample(types, attributes)
            continue
        for arity in (3,) if op.name == "clip" else (1, 2, 3):
            types = (Type(dtype, shape),) * arity
            try:
                op.infer(*types, **attributes)
                with np.errstate(all="ignore"):
                    op.value(*(np.ones((), dtype.numpy),) * arity, **attributes)
            except (DTypeError, TypeError, ValueError):
                continue
            yield Sample(types, attributes)
            break


def _first_index(op: Op) -> int:
    """Return which argument of an op is its first index."""
    return 2 if op.kind is Kind.UPDATE else 1


def samples(
    op: Op, dtype: DType = F64, shapes: list[tuple[int, ...]] | None = None
) -> list[Sample]:
    """Return calls of `op` on arrays of `dtype`; none where it is not defined for it."""
    if op.kind is Kind.POINTWISE:
        return [s for shape in shapes or SHAPES for s in _pointwise(op, dtype, shape)]
    if op.name in INDEXED:
        first = _first_index(op)
        return [
            Sample(
                (*(Type(dtype, t.shape) for t in s.types[:first]), *s.types[first:]), s.attributes
            )
            for s in INDEXED[op.name]
        ]
    found = []
    for given, attributes in TABLE[op.name]:
        one = Sample(tuple(Type(dtype, s) for s in given), attributes)
        try:
            op.infer(*one.types, **attributes)
        except DTypeError:
            return []
        found.append(one)
    return found


def array_for(op: Op, position: int, type_: Type, random: np.random.Generator) -> Array:
    """Return an argument inside the op's domain; distinct values, so that extremes have no ties."""
    shape = tuple(int(str(e)) for e in type_.shape)
    if op.name in INDEXED and position >= _first_index(op):
        return random.integers(-5, 5, shape).astype(type_.dtype.numpy)
    match type_.dtype.kind:
        case "float":
            low, high = op.domain if op.kind is Kind.POINTWISE else (-2.0, 2.0)
            count = int(np.prod(shape))
            spread = (random.permutation(count) + random.uniform(0.2, 0.8, count)) / max(count, 1)
            found = (low + (high - low) * spread).reshape(shape)
            if position == 0 and op.name in HEAVY:
                # Well-conditioned, and of moderate size: determinants grow with the power.
                heavy = np.roll(np.eye(max(shape[-1], 1)), HEAVY[op.name], 0)[: shape[-1]]
                found = found / (shape[-1] + 1) + 2 * heavy
            return found.astype(type_.dtype.numpy)
        case "bool":
            return random.choice([False, True], shape)
        case _:
            return random.integers(1, 5, shape).astype(type_.dtype.numpy)


def inputs_for(sample: Sample, graph: Graph) -> list[Node]:
    """Return an input for each argument."""
    return [graph.input(f"x{i}", t) for i, t in enumerate(sample.types)]


def call(op: Op, inputs: list[Node], sample: Sample) -> Node:
    """Apply the op."""
    return inputs[0].graph.call(op.name, *inputs, **sample.attributes)


FLOATS = (F64, F32)
ALL = [op for op in OPS.values() if op.name not in SOURCES | BODIES]
