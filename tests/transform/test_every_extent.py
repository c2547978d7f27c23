"""Every op at every empty and unit extent, transformed: compiled, the evaluator and NumPy.

Each part runs in a process of its own: a crash is a failure that names its program.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

import numpy as np
import pytest
from tests.isolated import failures
from tests.transform.cases import OF_USUAL_FORM, Case, Plain, differentiated
from tests.transform.extents import LENGTHS, at_lengths, named_cases, names_in, static_cases
from tests.transform.test_each_op import ROUNDING, TRANSFORMATIONS, agree, loss, vectors

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.ir.op import Op
from chainrule.ir.types import BOOL, F32, F64, I64, DType
from chainrule.ops import OPS

CHUNK: Final = {"static": 12, "named": 1}
"Calls compiled as one program: of lengths that one of them refuses the others would not see."
MOST: Final = 16
"Lengths of all dims that one program is called with."


def _mapped(size: int) -> Callable[..., Any]:
    """Map over a new axis of so many: value and gradient."""

    def transformation(f: Any, xs: Sequence[Any], _ts: Sequence[Any]) -> Any:
        many = [cnp.broadcast_to(x, (size, *x.shape)) for x in xs]
        return cr.vmap(f)(*many), cr.vmap(cr.grad(loss(f), tuple(range(len(xs)))))(*many)

    return transformation


def _looped(length: int) -> Callable[..., Any]:
    """Add up in a loop of so many turns: value and gradient."""

    def transformation(f: Any, xs: Sequence[Any], _ts: Sequence[Any]) -> Any:
        def total(*xs: Any) -> Any:
            many = tuple([cnp.broadcast_to(x, (length, *x.shape)) * 0.9 for x in xs])
            return cr.scan(lambda c, row: (c + loss(f)(*row), f(*row)), 0.0, many)

        def last(*xs: Any) -> Any:
            return total(*xs)[0]

        return total(*xs), cr.grad(last, tuple(range(len(xs))))(*xs)

    return transformation


WAYS: Final[dict[str, Callable[..., Any]]] = {
    "value": lambda f, xs, ts: f(*xs), **TRANSFORMATIONS,
    "vmap0": _mapped(0), "vmap1": _mapped(1), "scan0": _looped(0), "scan1": _looped(1),
}  # fmt: skip
TYPES: Final = {"f64": F64, "f32": F32, "i64": I64, "bool": BOOL}
FORMS: Final = {"static": static_cases, "named": named_cases}


def _derivable(case: Case, dtype: DType) -> bool:
    result = case.op.infer(*case.sample.types, **case.sample.attributes)
    return differentiated(case.op) and bool(case.floats) and result.dtype is dtype


@cache
def _of_form(op: Op, dtype: DType, form: str) -> list[Case]:
    return FORMS[form](op, dtype)


def _cases(op: Op, way: str, dtype: DType, form: str) -> list[Case]:
    found = _of_form(op, dtype, form)
    return found if way == "value" else [c for c in found if _derivable(c, dtype)]


class Block:
    """One way of calling several cases, as one function of all their arrays."""

    def __init__(self, calls: Sequence[Case], way: str) -> None:
        self.calls, self.way = calls, way
        self.__name__ = way

    def arrays(self, calls: Sequence[Case], dtype: DType) -> list[Plain]:
        return [a for c in calls for g in vectors(c, dtype)[: 1 + (self.way != "value")] for a in g]

    def dims(self) -> dict[str, tuple[str | int, ...]]:
        shapes: list[tuple[str | int, ...]] = []
        for case in self.calls:
            names = case.names()
            shapes += [*names, *(names[i] for i in case.floats if self.way != "value")]
        told = enumerate(shapes)
        return {f"flat/{i}": s for i, s in told if any(isinstance(e, str) for e in s)}

    def __call__(self, *flat: Any) -> Any:
        given = iter(flat)
        results = []
        for case in self.calls:
            args = [next(given) for _ in case.sample.types]
            if self.way == "value":
                results.append(case(*args))
                continue
            ts = [next(given) for _ in case.floats]
            xs = [args[i] for i in case.floats]
            results.append(WAYS[self.way](case.of_floats(args), xs, ts))
        return results


def _compare(
    block: Block, compiled: Any, traced: Any, calls: Sequence[Case], dtype: DType, what: str
) -> None:
    arrays = block.arrays(calls, dtype)
    expected = traced.run(*arrays)
    got = compiled(*arrays)
    for case, a, b in zip(calls, got, expected, strict=True):
        agree(a, b, ROUNDING.get(dtype, 0), f"{what}: {case}")
        if block.way == "value":
            with np.errstate(all="ignore"):
                meant = np.asarray(case.op.value(*case.arrays, **case.attributes))
            agree(b, meant.astype(b.dtype), ROUNDING.get(dtype, 0), f"evaluator: {case}")


def check(name: str) -> None:
    """Check one way of calling an op: the unit that runs in a process of its own."""
    op, way, kind, form, part, numerics = name.split()
    dtype, size = TYPES[kind], CHUNK[form]
    calls = _cases(OPS[op], way, dtype, form)[int(part) * size : (int(part) + 1) * size]
    block = Block(calls, way)
    compiled = cr.jit(block, dims=block.dims() or None, numerics=numerics, cache=False)
    names = sorted({n for c in calls for n in names_in(c.sample)})
    traced = None
    for numbers in _several(list(itertools.product(LENGTHS, repeat=len(names)))):
        sized = [at_lengths(c, dict(zip(names, numbers, strict=True))) for c in calls]
        found = calls if form == "static" else [c for c in sized if c]
        if len(found) == len(calls):
            traced = traced or compiled.lower(*block.arrays(found, dtype)).traced
            _compare(block, compiled, traced, found, dtype, name)


def _several(items: list[Any]) -> list[Any]:
    """Return the first, and others taken evenly."""
    return items if len(items) <= MOST else items[:: len(items) // MOST + 1 | 1]


def parts() -> list[str]:
    """Return the name of every part of the sweep."""
    found: list[str] = []
    for op, way, (name, dtype), form in itertools.product(
        OF_USUAL_FORM, WAYS, TYPES.items(), FORMS
    ):
        count = len(_cases(op, way, dtype, form)) if way == "value" or dtype.is_float else 0
        for part in range(-(-count // CHUNK[form])):
            mode = ("fast", "strict", "reproducible")[len(found) % 3]
            found.append(f"{op} {way} {name} {form} {part} {mode}")
    return found


@pytest.mark.parametrize("op", OF_USUAL_FORM, ids=repr)
def test_every_op_is_swept(op: Op) -> None:
    cases = [c for dtype in TYPES.values() for c in _of_form(op, dtype, "static")]
    assert any(0 in t.shape for c in cases for t in c.sample.types), "no call with nothing in it"


SHARE: Final = 40


def test_a_share_of_every_extent() -> None:
    """Parts taken evenly, from another place of the list than the mode's own turns."""
    every = parts()
    found = failures(__name__, every[7 :: len(every) // SHARE])
    assert not found, "\n\n".join(f"{k}\n{v}" for k, v in found.items())


@pytest.mark.exhaustive
@pytest.mark.parametrize("op", OF_USUAL_FORM, ids=repr)
def test_every_extent(op: Op) -> None:
    found = failures(__name__, [p for p in parts() if p.split()[0] == op.name])
    assert not found, "\n\n".join(f"{k}\n{v}" for k, v in found.items())
