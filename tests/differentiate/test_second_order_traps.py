"""Second derivatives at every trap, in native code, in each order of forward and reverse.

What is right comes from the exact function: its graph is evaluated with 520 digits, and differences
over tiny steps give all second derivatives to more digits than are compared.  Where there is none,
at a kink or at the end of a domain, `CHOSEN` says what the derivative of the chosen first
derivative is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import mpmath
import numpy as np
import pytest
from tests.differentiate.traps import TRAPS, Trap

import chainrule as cr
from chainrule.frontend.array import Array
from chainrule.ir.graph import Graph, Node, constant_value
from chainrule.ir.types import F32, F64, DType, Type
from chainrule.ir.walk import topological
from chainrule.ops import OPS

INF, NAN = mpmath.inf, mpmath.nan
DIGITS: Final = 520
"So that 1 - sigmoid(1000) has some left."

# The function with many digits


def divided(a: Any, b: Any) -> Any:
    return a / b if b else NAN


def power(a: Any, b: Any) -> Any:
    return mpmath.mpf(1) if b == 0 else INF if a == 0 and b < 0 else mpmath.power(a, b)


def logaddexp(a: Any, b: Any) -> Any:
    top = max(a, b)
    if not mpmath.isfinite(top):
        return top
    return top + mpmath.log(mpmath.exp(a - top) + mpmath.exp(b - top))


def sinc(x: Any) -> Any:
    return mpmath.mpf(1) if x == 0 else mpmath.sin(mpmath.pi * x) / (mpmath.pi * x)


SCALARS: Final[dict[str, Callable[..., Any]]] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b,
    "div": divided, "neg": lambda a: -a, "pow": power, "maximum": max, "minimum": min,
    "clip": lambda a, low, high: min(max(a, low), high), "relu": lambda a: max(a, mpmath.mpf(0)),
    "abs": abs, "floor": mpmath.floor, "log1p": lambda a: mpmath.log(1 + a),
    "expm1": lambda a: mpmath.exp(a) - 1, "sigmoid": lambda a: 1 / (1 + mpmath.exp(-a)),
    "hypot": lambda a, b: mpmath.sqrt(a * a + b * b), "logaddexp": logaddexp,
    "xlogy": lambda a, b: mpmath.mpf(0) if a == 0 else a * mpmath.log(b),
    "sinc": lambda a, order: sinc(a), "select": lambda c, a, b: a if c else b,
    "equal": lambda a, b: a == b, "less": lambda a, b: a < b, "greater": lambda a, b: a > b,
    "less_equal": lambda a, b: a <= b, "greater_equal": lambda a, b: a >= b,
    "bit_not": lambda a: not a, "cast": lambda a, dtype: a,
    **{n: getattr(mpmath, n) for n in (
        "sqrt", "exp", "log", "sin", "cos", "tanh", "acos", "atan2", "asin", "atanh",
    )},
}  # fmt: skip


def log_of_sum(x: Any) -> Any:
    total = mpmath.ninf
    for one in np.ravel(x):
        total = logaddexp(total, one)
    return total


def reduced(function: Callable[[Any], Any], x: Any, axes: tuple[int, ...]) -> Any:
    assert axes == tuple(range(np.ndim(x))), "traps reduce to a number"
    return np.array(function(list(np.ravel(x))), object)


def shifted(x: Any, axes: tuple[int, ...]) -> Any:
    """Return log softmax of everything."""
    return np.array(x - reduced(log_of_sum, x, axes), object)


WHOLE: Final[dict[str, Callable[..., Any]]] = {
    "sum": lambda x, axes: reduced(lambda v: sum(v, mpmath.mpf(0)), x, axes),
    "prod": lambda x, axes: reduced(math.prod, x, axes),
    "max": lambda x, axes: reduced(max, x, axes),
    "norm": lambda x, axes: reduced(lambda v: mpmath.sqrt(sum(a * a for a in v)), x, axes),
    "logsumexp": lambda x, axes: reduced(log_of_sum, x, axes), "log_softmax": shifted,
    "softmax": lambda x, axes: np.vectorize(mpmath.exp, otypes=[object])(shifted(x, axes)),
    "recurrence": lambda a, b, axis, reverse: np.array(
        list(itertools.accumulate(zip(a, b, strict=True), lambda y, ab: (0, ab[0] * y[1] + ab[1]),
                                  initial=(0, mpmath.mpf(0)))), object)[1:, 1],
}  # fmt: skip


def value(output: Node, inputs: Sequence[Node], point: Sequence[Any]) -> Any:
    """Evaluate a graph with many digits."""
    known = {x: np.array(p, object) for x, p in zip(inputs, point, strict=True)}
    for node in topological([output]):
        number = constant_value(node)
        if node in known:
            continue
        args = [known[a] for a in node.args]
        name = node.op.name
        if number is not None:
            exact = mpmath.mpf(number) if node.dtype.is_float else number
            known[node] = np.full(tuple(map(int, map(str, node.shape))), exact, object)
        elif name in WHOLE:
            known[node] = WHOLE[name](*args, **node.attributes)
        elif name in SCALARS:
            function = np.vectorize(SCALARS[name], otypes=[object])
            known[node] = function(*args, **node.attributes) if args[0].size else args[0]
        else:
            known[node] = np.asarray(node.op.value(*args, **node.attributes))
            if node.dtype.is_float:
                known[node] = known[node].astype(object)
    return known[output][()]


def differences(trap: Trap, dtype: DType, step: float) -> Any:
    """Return the matrix of second differences over all arguments one after another."""
    graph = Graph(OPS)
    point = [[mpmath.mpf(float(v)) for v in p] for p in trap.at(dtype)]
    inputs = [graph.input(f"x{i}", Type(F64, (len(p),))) for i, p in enumerate(point)]
    output = trap.function(*inputs)
    places = [(i, j) for i, p in enumerate(point) for j in range(len(p))]
    sizes = [mpmath.mpf(step) * (abs(point[i][j]) if 0 < abs(point[i][j]) < INF else 1)
             for i, j in places]  # fmt: skip
    found = np.zeros((len(places), len(places)), object)
    for a, b in itertools.product(range(len(places)), repeat=2):
        total = mpmath.mpf(0)
        for s, t in itertools.product((1, -1), repeat=2):
            moved = [list(p) for p in point]
            for k, sign in ((a, s), (b, t)):
                i, j = places[k]
                moved[i][j] += sign * sizes[k]
            total += s * t * value(output, inputs, moved)
        found[a, b] = total / (4 * sizes[a] * sizes[b])
    return found


def exact(trap: Trap, dtype: DType) -> np.ndarray | None:
    """Return the second derivatives, or None where they do not exist."""
    with mpmath.workdps(DIGITS):
        one, other = differences(trap, dtype, 1e-25), differences(trap, dtype, 1e-28)
        for a, b in zip(one.flat, other.flat, strict=True):
            if isinstance(a, mpmath.mpc) or not abs(a - b) <= 1e-12 * (1 + abs(a)):
                return None
        return np.asarray(other, float)


def zeros(n: int) -> np.ndarray:
    return np.zeros((n, n))


CHOSEN: Final[dict[str, Any]] = {
    # Kinks and jumps of the slope: the slope there is a constant of its own.
    "norm_at_zero": zeros(3), "std_of_constant": zeros(3), "std_by_hand": zeros(3),
    "hypot_at_origin": zeros(2), "root_of_sum_of_squares_at_zero": zeros(2),
    "abs_at_zero": zeros(3), "root_of_square": zeros(3), "max_with_a_tie": zeros(3),
    "relu_at_zero": zeros(1), "clip_at_its_ends": zeros(2),
    # At the edge of a condition: that of the branch taken.
    "where_sqrt_of_negative": np.diag([-1 / 32, 0, 0]), "where_x_sqrt_x": np.diag([0, 3 / 8]),
    "where_one_less_root": np.diag([0, 1 / 32]), "where_root_twice": np.diag([0, -2, -1 / 8]),
    "where_log_not_taken": np.diag([0, 0, -1 / 16]),
    # Ends of the domain: the limit from inside.
    "sqrt_at_zero": -np.inf, "half_power_at_zero": -np.inf, "acos_at_one": -np.inf,
    "power_by_variable_at_zero": np.diag([2, 0]),
    # x**y at (0, 1) has no mixed derivative; that of y x**(y - 1) by y, where 0**0 is 1.
    "power_one_by_variable_at_zero": np.array([[0, 1], [0, 0]]),
    # Where everything is -inf nothing changes the value.
    "logaddexp_of_nothing": zeros(2), "logsumexp_of_nothing": zeros(2),
}  # fmt: skip


# The derivatives of compiled code


def in_each_order(trap: Trap) -> Callable[..., dict[str, Any]]:
    """Return the function of all second derivatives, in four orders of the modes."""

    def function(*x: Any) -> Any:
        return Array(trap.function(*(a.node for a in x)))

    def derivatives(*x: Any) -> dict[str, Any]:
        every = tuple(range(len(x)))

        def fwd(f: Callable[..., Any]) -> Callable[..., Any]:
            return cr.jacfwd(f, every)

        def rev(f: Callable[..., Any]) -> Callable[..., Any]:
            return cr.jacrev(f, every)

        return {
            "forward over reverse": fwd(rev(function))(*x),
            "reverse over forward": rev(fwd(function))(*x),
            "reverse over reverse": rev(rev(function))(*x),
            "forward over forward": fwd(fwd(function))(*x),
        }

    return derivatives


def joined(blocks: Any, sizes: Sequence[int]) -> np.ndarray:
    rows = [
        np.concatenate([np.reshape(b, (n, m)) for b, m in zip(row, sizes, strict=True)], axis=1)
        for row, n in zip(blocks, sizes, strict=True)
    ]
    return np.concatenate(rows, axis=0)


@pytest.mark.share(8)
@pytest.mark.parametrize("dtype", [F64, F32], ids=str)
@pytest.mark.parametrize("trap", TRAPS, ids=lambda t: t.name)
def test_second_derivatives_are_exact_in_each_order(trap: Trap, dtype: DType) -> None:
    arrays = trap.at(dtype)
    expected = CHOSEN[trap.name] if trap.name in CHOSEN else exact(trap, dtype)
    assert expected is not None, "no second derivative: choose one"
    tolerance = max(trap.tolerance, 1e-9) if dtype is F64 else max(trap.tolerance, 2e-4)
    count = sum(a.size for a in arrays)
    wanted = np.broadcast_to(np.asarray(expected, dtype.numpy), (count, count))
    scale = float(np.max(np.abs(wanted), initial=1e-10, where=np.isfinite(wanted)))
    found = cr.jit(in_each_order(trap))(*arrays)
    for order, blocks in found.items():
        got = joined(blocks, [a.size for a in arrays])
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance * scale,
                                   err_msg=order)  # fmt: skip
    if trap.order == 2:
        first = arrays[0].size
        np.testing.assert_allclose(wanted[:first, :first].sum(), trap.gradient[0], tolerance, 1e-30)


def test_what_is_chosen_does_not_exist() -> None:
    named = {t.name: t for t in TRAPS}
    assert CHOSEN.keys() <= named.keys()
    for name in CHOSEN.keys() - {"root_of_square"}:  # which rounds to a kink in single precision
        assert exact(named[name], F64) is None, name
