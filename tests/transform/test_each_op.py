"""Each transformation of each op: compiled code, the evaluator, and differences.

The calls of a block of ops are one program, which is traced, evaluated and compiled once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import pytest
from tests.transform.cases import BLOCKS, OF_USUAL_FORM, Case, Plain, cases, sized

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.frontend.trace import trace
from chainrule.ir.op import Op
from chainrule.ir.types import F32, F64, DType

Function = Callable[..., Any]
Vectors = Sequence[Any]


def every(xs: Vectors) -> tuple[int, ...]:
    return tuple(range(len(xs)))


def weights(y: Any) -> Any:
    """Return numbers of the shape of a result."""
    return cnp.cos(1.7 * cnp.reshape(cnp.arange(y.size), y.shape)).astype(y.dtype)


def loss(f: Function) -> Function:
    """A number that is nowhere linear in the result."""

    def weighted(*xs: Any) -> Any:
        y = f(*xs)
        return cnp.sum(cnp.sin(y) * weights(y))

    return weighted


def _vjp(f: Function, xs: Vectors, _ts: Vectors) -> Any:
    y, pullback = cr.vjp(f, *xs)
    return y, pullback(weights(y))


def _linearize(f: Function, xs: Vectors, ts: Vectors) -> Any:
    y, along = cr.linearize(f, *xs)
    return y, along(*ts), along(*[2 * t for t in ts])


def _vmap(f: Function, xs: Vectors, ts: Vectors) -> Any:
    """Map each selection of the arguments, value and gradient."""
    results = []
    for flags in itertools.product([False, True], repeat=len(xs)):
        if any(flags):
            axes = tuple([-1 if flag else None for flag in flags])
            pairs = zip(xs, flags, strict=True)
            args = [cnp.stack([x, 0.9 * x], axis=-1) if flag else x for x, flag in pairs]
            results.append(cr.vmap(f, axes, out_axes=-1)(*args))
            results.append(cr.vmap(lambda *xs: cr.jvp(f, xs, tuple(ts))[1], axes)(*args))
    return results


# Each is given a function, its arguments and a direction.
TRANSFORMATIONS: Final[dict[str, Callable[[Function, Vectors, Vectors], Any]]] = {
    "grad": lambda f, xs, ts: cr.grad(loss(f), every(xs))(*xs),
    "vjp": _vjp,
    "jvp": lambda f, xs, ts: cr.jvp(f, tuple(xs), tuple(ts)),
    "linearize": _linearize,
    "jacfwd": lambda f, xs, ts: cr.jacfwd(f, every(xs))(*xs),
    "jacrev": lambda f, xs, ts: cr.jacrev(f, every(xs))(*xs),
    "hessian": lambda f, xs, ts: cr.hessian(loss(f), every(xs))(*xs),
    "vmap": _vmap,
    "hvp": lambda f, xs, ts: cr.hvp(loss(f), every(xs))(*xs, tuple(ts)),
}


class Block:
    """A transformation of all calls of some ops, as one function of all arrays."""

    def __init__(self, calls: Sequence[Case], name: str) -> None:
        self.calls, self.transformation = calls, TRANSFORMATIONS[name]

    def arrays(self, calls: Sequence[Case], dtype: DType) -> list[Plain]:
        return [a for case in calls for group in vectors(case, dtype) for a in group]

    def dims(self) -> dict[str, tuple[str | int, ...]]:
        found: list[tuple[str | int, ...]] = []
        for case in self.calls:
            names = case.names()
            found += [*names, *(names[i] for i in case.floats)]
        named = enumerate(found)
        return {f"flat/{i}": s for i, s in named if any(isinstance(e, str) for e in s)}

    def __call__(self, *flat: Any) -> Any:
        given = iter(flat)
        results = []
        for case in self.calls:
            args = [next(given) for _ in case.arrays]
            ts = [next(given) for _ in case.floats]
            xs = [args[i] for i in case.floats]
            results.append(self.transformation(case.of_floats(args), xs, ts))
        return results


def vectors(case: Case, dtype: DType) -> tuple[list[Plain], list[Plain]]:
    """Return the arguments and a direction."""
    random = np.random.default_rng(7)
    shapes = [case.arrays[i].shape for i in case.floats]
    ts = [np.asarray(random.normal(size=s), dtype.numpy) for s in shapes]
    return case.arrays, ts


def calls_of(ops: Sequence[Op], dtype: DType, *, name: bool) -> list[Case]:
    return [case for op in ops for case in cases(op, dtype, name=name)]


def agree(got: Any, expected: Any, loose: float, what: str) -> None:
    pairs = zip(cr.tree_leaves(got), cr.tree_leaves(expected), strict=True)
    for a, b in pairs:
        assert a.dtype == b.dtype, what
        scale = max(1.0, float(np.max(np.abs(b), initial=0.0, where=np.isfinite(b))))
        np.testing.assert_allclose(a, b, loose, loose * scale, err_msg=what)


ROUNDING: Final = {F64: 1e-12, F32: 2e-5}
"What summing in another order, and other exponentials, may change."


def compare(name: str, number: int, dtype: DType, *, extents: bool) -> None:
    """Compare compiled code with the evaluator, with `extents` at two sizes."""
    calls = calls_of(BLOCKS[number], dtype, name=extents)
    block = Block(calls, name)
    compiled = cr.jit(block, dims=block.dims() if extents else None, cache=False)
    for sizes in (calls, [sized(c, 2) for c in calls]) if extents else (calls,):
        arrays = block.arrays(sizes, dtype)
        got = compiled(*arrays)
        expected = compiled.lower(*arrays).traced.run(*arrays)
        for case, a, b in zip(sizes, got, expected, strict=True):
            agree(a, b, ROUNDING[dtype], f"{name} of {case}")
    assert len(compiled.compilations) == 1


KINDS: Final = list(itertools.product((F64, F32), (False, True)))
ALL: Final = [
    (name, number, *kind)
    for name in TRANSFORMATIONS for number in range(len(BLOCKS)) for kind in KINDS
]  # fmt: skip


def share() -> Iterator[tuple[str, int, DType, bool]]:
    """Every transformation of every op once, in kinds that take turns."""
    for i, name in enumerate(TRANSFORMATIONS):
        for number in range(len(BLOCKS)):
            yield (name, number, *KINDS[(i + number) % len(KINDS)])


@pytest.mark.share(24)
@pytest.mark.parametrize(("name", "number", "dtype", "extents"), list(share()))
def test_compiled_code_equals_the_evaluator(
    name: str, number: int, dtype: DType, extents: bool
) -> None:
    compare(name, number, dtype, extents=extents)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("name", "number", "dtype", "extents"), ALL)
def test_every_kind_of_compiled_code_equals_the_evaluator(
    name: str, number: int, dtype: DType, extents: bool
) -> None:
    compare(name, number, dtype, extents=extents)


STEP: Final = 1e-3
FIRST: Final = {1: 8 / 12, -1: -8 / 12, 2: -1 / 12, -2: 1 / 12}
SECOND: Final = {0: -30 / 12, 1: 16 / 12, -1: 16 / 12, 2: -1 / 12, -2: -1 / 12}
"Weights of differences whose error is of fourth order."


def difference(
    f: Callable[..., Any], xs: Vectors, ts: Vectors, weights: dict[int, float], order: int
) -> Any:
    """Return a derivative along a direction, of functions that NumPy computes."""
    total: Any = 0.0
    for k, weight in weights.items():
        moved = [x + k * STEP * t for x, t in zip(xs, ts, strict=True)]
        total = total + weight * np.asarray(f(*moved), np.float64)
    return total / STEP**order


def dot(a: Sequence[Any], b: Sequence[Any]) -> float:
    return float(sum(np.sum(x * y) for x, y in zip(a, b, strict=True)))


def applied(jacobian: Sequence[Any], ts: Vectors, rank: int) -> Any:
    """Multiply a Jacobian, one block for each argument, with a direction."""
    return sum(
        np.sum(J * t, axis=tuple(range(rank, J.ndim)))
        for J, t in zip(jacobian, ts, strict=True)
    )  # fmt: skip


def check_first(case: Case, found: dict[str, Any]) -> None:
    args, ts = vectors(case, F64)
    xs = [args[i] for i in case.floats]
    held = case.op.name == "stop_gradient"
    slope = difference(case.value, xs, [0 * t for t in ts] if held else ts, FIRST, 1)
    rank, g = slope.ndim, weights(slope)
    along = {
        "jvp": found["jvp"][1],
        "linearize": found["linearize"][1],
        "twice": found["linearize"][2] / 2,
        "jacfwd": applied(found["jacfwd"], ts, rank),
        "jacrev": applied(found["jacrev"], ts, rank),
    }
    for name, got in along.items():
        np.testing.assert_allclose(got, slope, 1e-8, 1e-8, err_msg=f"{name} of {case}")
    for name in ("jvp", "vjp", "linearize"):
        np.testing.assert_allclose(found[name][0], case.value(*xs), 1e-12, err_msg=str(case))
    assert dot(found["vjp"][1], ts) == pytest.approx(dot([g], [slope]), 1e-8, 1e-8), str(case)
    for forward, backward in zip(found["jacfwd"], found["jacrev"], strict=True):
        np.testing.assert_allclose(forward, backward, 1e-11, 1e-12, err_msg=str(case))
    total = dot([g * np.cos(case.value(*xs))], [slope])
    assert dot(found["grad"], ts) == pytest.approx(total, 1e-8, 1e-8), str(case)


def check_second(case: Case, found: dict[str, Any]) -> None:
    args, ts = vectors(case, F64)
    xs = [args[i] for i in case.floats]
    if case.op.name == "stop_gradient":
        return
    g = weights(case.value(*xs))
    curvature = difference(lambda *moved: np.sum(np.sin(case.value(*moved)) * g), xs, ts, SECOND, 2)
    assert dot(found["hvp"], ts) == pytest.approx(curvature, 1e-6, 1e-6), str(case)
    for i, (row, product) in enumerate(zip(found["hessian"], found["hvp"], strict=True)):
        got = applied(row, ts, xs[i].ndim)
        np.testing.assert_allclose(got, product, 1e-10, 1e-11, err_msg=str(case))
        for j, block in enumerate(row):
            turned = np.transpose(found["hessian"][j][i], np.roll(range(block.ndim), xs[i].ndim))
            np.testing.assert_allclose(block, turned, 1e-10, 1e-11, err_msg=str(case))


def check_mapped(case: Case, found: Sequence[Any]) -> None:
    xs = [case.arrays[i] for i in case.floats]
    flags = [f for f in itertools.product([False, True], repeat=len(xs)) if any(f)]
    for mapped, got in zip(flags, found[::2], strict=True):
        other = [0.9 * x if f else x for x, f in zip(xs, mapped, strict=True)]
        ends = [case.value(*xs), case.value(*other)]
        np.testing.assert_allclose(got, np.stack(ends, axis=-1), 1e-12, 1e-14, err_msg=str(case))


@pytest.mark.share(9)
@pytest.mark.parametrize("op", [op for op in OF_USUAL_FORM if any(cases(op, F64))], ids=repr)
def test_the_evaluator_agrees_with_differences(op: Op) -> None:
    calls = calls_of([op], F64, name=False)
    results = {}
    for name in TRANSFORMATIONS:
        block = Block(calls, name)
        arrays = block.arrays(calls, F64)
        results[name] = trace(block, *arrays).run(*arrays)
    for i, case in enumerate(calls):
        found = {name: result[i] for name, result in results.items()}
        check_first(case, found)
        check_second(case, found)
        check_mapped(case, found["vmap"])
