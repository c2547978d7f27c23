"""In strict numerics `vmap` equals the loop over examples, bit for bit."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import pytest
from tests.random_programs import random_program
from tests.transform.cases import BLOCKS, Case, Plain, cases, function_of

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.ir.op import Kind
from chainrule.ir.types import F32, F64, I64, DType

EXAMPLES: Final = 3
SPECIAL: Final = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 5e-324, 1e-45]


def same_bits(got: Any, expected: Any, what: str) -> None:
    for a, b in zip(cr.tree_leaves(got), cr.tree_leaves(expected), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), what
        if np.ascontiguousarray(a).tobytes() != np.ascontiguousarray(b).tobytes():
            # NaN is equal to NaN whatever its payload.
            np.testing.assert_array_equal(a, b, err_msg=what)
            np.testing.assert_array_equal(np.signbit(a), np.signbit(b), err_msg=what)


class Mapped:
    """One call of an op over examples of some of its arguments."""

    def __init__(self, case: Case, flags: Sequence[bool], number: int) -> None:
        self.case, self.flags = case, flags
        random = np.random.default_rng(number)
        self.singles = case.arrays
        self.many = [
            np.stack([random.permutation(a.ravel()).reshape(a.shape) for _ in range(EXAMPLES)])
            for a in case.arrays
        ]
        ranks = [a.ndim for a in case.arrays]
        if case.op.kind is Kind.POINTWISE:
            self.singles = [self._special(a, random) for a in self.singles]
            self.many = [self._special(a, random) for a in self.many]
        # Axes take turns, counted from either end.
        self.in_axes = [number % (r + 1) - (r + 1) * (number % 2) for r in ranks]
        self.number = number

    def _special(self, array: Plain, random: np.random.Generator) -> Plain:
        """Replace some floats by those that no order of operands must mix up."""
        if array.dtype.kind != "f":
            return array
        kept = random.uniform(size=array.shape) < 0.5
        return np.where(kept, array, random.choice(SPECIAL, array.shape)).astype(array.dtype)

    @property
    def arrays(self) -> list[Plain]:
        return [
            np.moveaxis(m, 0, axis) if flag else s
            for s, m, flag, axis in zip(
                self.singles, self.many, self.flags, self.in_axes, strict=True
            )
        ]

    def example(self, k: int) -> list[Plain]:
        return [
            m[k] if f else s for s, m, f in zip(self.singles, self.many, self.flags, strict=True)
        ]

    def __call__(self, *args: Any) -> Any:
        axes = tuple([a if f else None for a, f in zip(self.in_axes, self.flags, strict=True)])
        return cr.vmap(self.case, in_axes=axes, out_axes=-1)(*args)


def split(function: Callable[..., Any], counts: Sequence[int], flat: Sequence[Any]) -> list[Any]:
    given = iter(flat)
    return [function(i, [next(given) for _ in range(n)]) for i, n in enumerate(counts)]


@pytest.mark.share(9)
@pytest.mark.parametrize("dtype", [F64, F32, I64], ids=str)
@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_each_op(number: int, dtype: DType) -> None:
    calls = [c for op in BLOCKS[number] for c in cases(op, dtype, derivable=False)]
    mapped = [
        Mapped(case, flags, i)
        for i, case in enumerate(calls)
        for flags in itertools.product([False, True], repeat=len(case.arrays)) if any(flags)
    ]  # fmt: skip
    counts = [len(m.case.arrays) for m in mapped]

    def whole(*flat: Any) -> Any:
        return split(lambda i, args: mapped[i](*args), counts, flat)

    def alone(*flat: Any) -> Any:
        return split(lambda i, args: mapped[i].case(*args), counts, flat)

    many = cr.jit(whole, numerics="strict", cache=False)
    one = cr.jit(alone, numerics="strict", cache=False)
    got = many(*itertools.chain(*[m.arrays for m in mapped]))
    loops = [one(*itertools.chain(*[m.example(k) for m in mapped])) for k in range(EXAMPLES)]
    for i, m in enumerate(mapped):
        expected = np.stack([loop[i] for loop in loops], axis=-1)
        same_bits(got[i], expected, f"{m.case} mapped {m.flags}")


def strict_loop(f: Callable[..., Any], arrays: Sequence[Plain], flags: Sequence[bool]) -> Any:
    """Run examples one by one."""
    compiled = cr.jit(f, numerics="strict", cache=False)
    results = [
        compiled(*[a[k] if flag else a for a, flag in zip(arrays, flags, strict=True)])
        for k in range(EXAMPLES)
    ]
    assert len(compiled.compilations) == 1
    return cr.tree_map(lambda *leaves: np.stack(leaves), *results)


def compare(
    f: Callable[..., Any], arrays: Sequence[Plain], flags: Sequence[bool], what: str
) -> None:
    axes = tuple([0 if flag else None for flag in flags])
    compiled = cr.jit(cr.vmap(f, in_axes=axes), numerics="strict", cache=False)
    same_bits(compiled(*arrays), strict_loop(f, arrays, flags), what)


def stacked(seed: int, arrays: Sequence[Plain]) -> tuple[list[Plain], list[bool]]:
    """Map about half of the arrays, one at least."""
    random = np.random.default_rng(seed)
    flags = [bool(b) for b in random.integers(0, 2, len(arrays))]
    flags[seed % len(flags)] = True
    many = [
        np.stack([a * random.uniform(0.9, 1.1) for _ in range(EXAMPLES)]).astype(a.dtype)
        if flag else a
        for a, flag in zip(arrays, flags, strict=True)
    ]  # fmt: skip
    return many, flags


def weighed(f: Callable[..., Any]) -> Callable[..., Any]:
    """A number made of all results."""
    return lambda *xs: sum(cnp.sum(cnp.sin(y)) for y in f(*xs))


def run_seed(seed: int, dtype: DType) -> None:
    case = random_program(seed, nodes=12, dtype=dtype, smooth=bool(seed % 2))
    f = function_of(case.program)
    arrays, flags = stacked(seed, case.arrays)
    compare(f, arrays, flags, f"seed {seed}")
    gradient = cr.grad(weighed(f), tuple(range(len(arrays))))
    compare(gradient, arrays, flags, f"gradient of seed {seed}")


@pytest.mark.share(3)
@pytest.mark.parametrize("dtype", [F64, F32], ids=str)
@pytest.mark.parametrize("seed", range(300, 306))
def test_random_programs_and_their_gradients(seed: int, dtype: DType) -> None:
    run_seed(seed, dtype)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(306, 500))
def test_many_random_programs(seed: int) -> None:
    for dtype in (F64, F32):
        run_seed(seed, dtype)


@pytest.mark.share(3)
@pytest.mark.parametrize("length", [1, 7, 64, 1000, 5000])
def test_long_sums_and_contractions(length: int) -> None:
    random = np.random.default_rng(length)
    x = random.normal(size=(EXAMPLES, 5, length)) * 10.0 ** random.integers(-8, 8, (5, length))
    w = random.normal(size=(length, 4))

    def f(x: Any, w: Any) -> Any:
        return {
            "rows": cnp.sum(x, axis=1), "all": cnp.sum(x), "columns": cnp.sum(x, axis=0),
            "mean": cnp.mean(x), "var": cnp.var(x, axis=1), "norm": cnp.linalg.norm(x, axis=1),
            "product": x @ w, "vector": x @ w[:, 0], "dot": x[0] @ x[1], "outer": x @ x.T,
            "softmax": cr.special.softmax(x, axis=1), "cumsum": cnp.cumsum(x, axis=1),
        }  # fmt: skip

    compare(f, [x, w], [True, False], f"{length}")
    compare(cr.grad(lambda x, w: sum(map(cnp.sum, f(x, w).values())), (0, 1)), [x, w],
            [True, False], f"gradient {length}")  # fmt: skip


def reductions_of_reductions(x: Any) -> dict[str, Any]:
    """Sums of row values, of columns and of everything, beside one another."""
    rows = cnp.sum(cnp.sin(x), axis=(0, 2))
    return {
        "total of rows": cnp.sum(cnp.exp(cnp.sum(x * 1.1, axis=2))),
        "rows": rows, "total": cnp.sum(cnp.sin(x)), "middle": cnp.sum(cnp.cos(x), axis=1),
        "total of the middle": cnp.sum(cnp.cos(x)), "product": cnp.prod(1 + 0.01 * x),
        "loss": cnp.sum(cr.special.logsumexp(x, axis=2)), "mean": cnp.mean(x, axis=(1, 2)),
    }  # fmt: skip


@pytest.mark.share(3)
@pytest.mark.parametrize(
    "shape", [(3, 5, 7), (2, 3, 2), (4, 17, 6), (9, 1, 33), (1, 1, 1), (3, 40, 3)]
)
@pytest.mark.parametrize("dtype", [F64, F32], ids=str)
def test_reductions_that_share_loops(shape: tuple[int, ...], dtype: DType) -> None:
    x = np.random.default_rng(0).normal(size=(EXAMPLES, *shape)).astype(dtype.numpy)
    compare(reductions_of_reductions, [x], [True], f"{shape}")
    for name in reductions_of_reductions(np.ones(shape)):
        alone = cr.jit(lambda x, name=name: reductions_of_reductions(x)[name], numerics="strict")
        together = cr.jit(reductions_of_reductions, numerics="strict")
        same_bits(alone(x[0]), together(x[0])[name], f"{name} of {shape}, alone and with others")


def attention(p: dict[str, Any], x: Any) -> Any:
    """One head, normalised, with a dense layer behind it."""
    q, k, v = (x @ p[name] for name in "qkv")
    mixed = cr.special.softmax(q @ k.T / np.sqrt(p["q"].shape[1]), axis=-1) @ v
    centred = mixed - cnp.mean(mixed, axis=-1, keepdims=True)
    scaled = centred / cnp.sqrt(cnp.var(mixed, axis=-1, keepdims=True) + 1e-5)
    return cnp.tanh(scaled @ p["w"] + p["b"])


def cross_entropy(p: dict[str, Any], x: Any) -> Any:
    rows = cr.special.log_softmax(attention(p, x), axis=-1)
    return -cnp.sum(rows[:, 0]) + 0.01 * sum(cnp.sum(w**2) for w in p.values())


@pytest.mark.parametrize(("sizes", "dtype"), [((5, 4, 3), F64), ((17, 33, 16), F32)], ids=str)
def test_an_attention_layer(sizes: tuple[int, int, int], dtype: DType) -> None:
    rows, width, inner = sizes
    random = np.random.default_rng(0)
    shapes = {**dict.fromkeys("qkv", (width, inner)), "w": (inner, inner), "b": (inner,)}
    p = {k: random.normal(size=s).astype(dtype.numpy) for k, s in shapes.items()}
    x = random.normal(size=(EXAMPLES, rows, width)).astype(dtype.numpy)
    verbs = (attention, cr.grad(cross_entropy, (0, 1)), lambda p, x: cr.hvp(cross_entropy)(p, x, p))
    for number, verb in enumerate(verbs):
        many = cr.jit(cr.vmap(verb, in_axes=(None, 0)), numerics="strict", cache=False)
        one = cr.jit(verb, numerics="strict", cache=False)
        loops = [one(p, row) for row in x]
        same_bits(many(p, x), cr.tree_map(lambda *leaves: np.stack(leaves), *loops), f"{number}")


def test_named_extents() -> None:
    x = np.random.default_rng(0).normal(size=(EXAMPLES, 6, 11))
    many = cr.jit(cr.vmap(reductions_of_reductions), numerics="strict", cache=False,
                  dims={"x": ("n", "c", "a", "b")})  # fmt: skip
    one = cr.jit(reductions_of_reductions, numerics="strict", cache=False,
                 dims={"x": ("c", "a", "b")})  # fmt: skip
    for width in (11, 4, 1):
        part = np.ascontiguousarray(x[:, None, :, :width])
        loops = [one(p) for p in part]
        expected = cr.tree_map(lambda *leaves: np.stack(leaves), *loops)
        same_bits(many(part), expected, f"{width}")
    assert len(many.compilations) == len(one.compilations) == 1
