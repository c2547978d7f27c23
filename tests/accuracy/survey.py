"""The survey of accuracy: every smooth function's values and slopes against mpmath.

What is surveyed is every pointwise op that rounds, by the expression its record names, and the
functions of `chainrule.numpy`, `special` and `nn` that are made of several ops.  Errors are in
units in the last place of the exact result; where a function of several terms cancels, the limits
say by how much.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import mpmath
import numpy as np
from tests.accuracy.exact import derivative, error_in_ulps, function, settled
from tests.ops.samples import samples

import chainrule as cr
import chainrule.numpy as cnp
from chainrule import nn, special
from chainrule.frontend.array import Array
from chainrule.ir.op import Arithmetic, Kind, Op, VectorMath
from chainrule.ir.types import F64
from chainrule.ops import OPS
from chainrule.ops.pointwise import POSITIVE

__all__ = ["SCALARS", "Row", "Subject", "measured", "points", "subjects"]

SCALARS: Final = ("float", "double")
DTYPES: Final[dict[str, Any]] = {"float": np.float32, "double": np.float64}
BOTH: Final = (2.0, 4.0)
"Limits of slopes, f32 and f64, unless said otherwise."
Budget = tuple[float, float]
NONE: Final = (math.inf, math.inf)


@dataclass(frozen=True)
class Subject:
    """A function, what it means, and by how much values and slopes may be off (f32, f64)."""

    name: str
    function: Callable[..., Any]
    meaning: str
    arguments: int
    values: Budget
    slopes: Budget
    domain: tuple[float, float]


@dataclass
class Row:
    """The largest errors found, and where."""

    value: float = 0.0
    value_at: tuple[float, ...] = ()
    slope: float = 0.0
    slope_at: tuple[float, ...] = ()


EXACT_OPS: Final = frozenset(
    {"maximum", "minimum", "clip", "relu", "abs", "sign", "floor", "ceil", "trunc", "rint", "neg",
     "floor_divide", "stop_gradient", "remainder", "fmod", "select", "cast"}
)  # fmt: skip
"Ops that do not round, or whose quotient jumps; sinc is surveyed as sinc_value."
# Values of what is written out, and of what rounds once.
WRITTEN: Final[dict[str, Budget]] = {
    "add": (0.5, 0.5), "sub": (0.5, 0.5), "mul": (0.5, 0.5), "div": (0.5, 0.5),
    "sqrt": (0.5, 0.5), "rsqrt": (1.5, 1.5), "log1mexp": (3.0, 3.0), "xlogy": (2.0, 2.0),
    "one_minus_square": (1.5, 1.5), "entr": (2.0, 2.0), "rel_entr": (2.0, 3.0),
    "xlog1py": (2.5, 2.5), "weighted_exp": (2.0, 2.0),
}  # fmt: skip
# Slopes that have zeros between terms which cancel, that multiply the rounding of an argument (a
# difference of arguments, an exponent less one), or that are made of the value, which may have been
# subnormal: their errors have no bound in units.
UNBOUNDED: Final = frozenset(
    {"div", "entr", "hypot", "rel_entr", "logaddexp", "pow", "sinc_value",
     "gelu_tanh", "gelu_tanh_weight"}
)  # fmt: skip
SLOPES: Final[dict[str, Budget]] = {
    "rsqrt": (5.0, 5.0), "sqrt": (1.5, 1.5),
    "softplus": (2.5, 4.0),  # sigmoid, with its own budget
    "cos_pi": (3.0, 4.0),  # made of a sine that may have been subnormal
}  # fmt: skip


def _op_subject(op: Op) -> Subject | None:
    if op.kind is not Kind.POINTWISE or op.sympy is None or op.name in {*EXACT_OPS, "sinc"}:
        return None
    one = samples(op, F64, [(2,)])
    if not one:
        return None
    match op.native:
        case VectorMath("logaddexp"):
            values = NONE  # of unlike signs its terms cancel; else see test_vector_math
        case VectorMath(_, single, double):
            values = (single, double)
        case Arithmetic():
            values = WRITTEN[op.name]
    # The slope of a slope is a second derivative.
    loose = op.name in UNBOUNDED or op.name.endswith("_slope")
    slopes = NONE if loose else SLOPES.get(op.name, BOTH)

    def apply(*args: Any) -> Any:
        return Array(args[0].node.graph.call(op.name, *[a.node for a in args]))

    return Subject(op.name, apply, op.sympy, len(one[0].types), values, slopes, op.domain)


REALS: Final = (-2.5, 2.5)
COMPOSITES: Final = (
    Subject("log_expit", special.log_expit, "-log(1 + exp(-x))", 1, (2.0, 2.0), (2.5, 4.0), REALS),
    Subject("elu", lambda x: nn.elu(x, 0.75), "Piecewise((x, x > 0), (3*(exp(x) - 1)/4, True))",
            1, (2.0, 2.5), BOTH, REALS),
    Subject("exp2", cnp.exp2, "2**x", 1, (2.5, 3.0), (4.0, 4.0), REALS),
    Subject("square", cnp.square, "x**2", 1, (0.5, 0.5), (0.5, 0.5), REALS),
    Subject("reciprocal", cnp.reciprocal, "1/x", 1, (0.5, 0.5), (1.5, 1.5), REALS),
)  # fmt: skip


def subjects() -> Iterator[Subject]:
    """Return all that is surveyed, ops in the order of their table."""
    for op in list(OPS.values()):
        found = _op_subject(op)
        if found is not None:
            yield found
    yield from COMPOSITES


def points(subject: Subject, scalar: str, count: int, seed: int = 0) -> list[Any]:
    """Return about `count` arguments: the domain, all magnitudes, tails, near integers, edges."""
    random = np.random.default_rng([seed, len(subject.name)])
    largest, smallest = (89.0, -150) if scalar == "float" else (710.0, -1075)
    share = max(1, count // 8)

    def one() -> Any:
        parts = [
            random.uniform(*subject.domain, 2 * share),
            random.choice([-1, 1], share) * 2.0 ** random.uniform(smallest, 100, share),
            random.uniform(-1, 1, share) * 2.0 ** random.uniform(-30, 4, share),
            random.uniform(-1.1 * largest, 1.1 * largest, share),
            random.uniform(-40, 40, share),
            random.integers(-9, 10, share) / 2 + random.uniform(-1, 1, share) * 2.0**-14,
            np.full(share // 2, 2.0) ** random.uniform(smallest, -120, share // 2),
            np.array([1.0, -1.0, 0.5, 2.0, 1e30, -1e30, 0.75, -0.75]),
        ]
        with np.errstate(over="ignore", under="ignore"):
            return random.permutation(np.concatenate(parts).astype(DTYPES[scalar]))

    found = [one() for _ in range(subject.arguments)]
    if subject.name == "weighted_exp":
        # Exponents of what is at most the largest, see special.logsumexp; the tail is subnormal.
        found[1] = np.maximum(-abs(found[1]), -80 if scalar == "float" else -700)
    return found


def _results(subject: Subject, arrays: Sequence[Any], mode: str) -> list[Any]:
    """Return the values and the partial derivatives, by compiled code."""
    wrt = tuple(range(subject.arguments))

    def both(*args: Any) -> Any:
        slopes = cr.grad(lambda *a: cnp.sum(subject.function(*a)), argnums=wrt)(*args)
        return subject.function(*args), slopes

    value, slopes = cr.jit(both, numerics=mode)(*arrays)
    return [np.asarray(value), *map(np.asarray, slopes)]


EDGE: Final = {"float": 2.0**126, "double": 2.0**1022}
"Beyond, a light constant that `fast` applies last may come after the overflow."
HARD: Final = 2000.0
"Where exponentials of larger numbers are of no range: powers of thousands of digits prove nothing."


def _is_out(subject: Subject, point: Sequence[float]) -> bool:
    grows = any(word in subject.meaning for word in ("exp", "erf", "cosh", "sinh", "tanh", "**x"))
    return grows and max(map(abs, point)) > HARD


def measured(
    subject: Subject, scalar: str, count: int, *, mode: str = "fast", seed: int = 0
) -> Row:
    """Return the largest errors over about `count` points; only finite exact results count."""
    arrays = points(subject, scalar, count, seed)
    results = _results(subject, arrays, mode)
    # Functions declared for positive numbers mean less, or other things, for others.
    row, positive = Row(), subject.domain == POSITIVE
    truths = [function(subject.meaning)]
    truths += [derivative(subject.meaning, i) for i in range(subject.arguments)]
    for k, place in enumerate(zip(*arrays, strict=True)):
        point = tuple(map(float, place))
        if _is_out(subject, point) or (positive and min(point) < 0):
            continue
        for i, (truth, result) in enumerate(zip(truths, results, strict=True)):
            if i and math.isinf(subject.slopes[scalar == "double"]):
                break
            true = settled(truth, *point)
            if mpmath.isnan(true) and i == 0:
                break  # outside of the domain
            if mpmath.isnan(true) or (i and abs(true) > EDGE[scalar]):
                continue
            error = error_in_ulps(scalar, float(result[k]), true)
            if i == 0 and error > row.value:
                row.value, row.value_at = error, point
            if i and error > row.slope:
                row.slope, row.slope_at = error, point
    return row
