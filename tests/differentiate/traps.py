"""Gradient traps: points where differentiation by the book goes wrong, with the exact answers.

A trap is a scalar function of nodes, a point, and its exact gradient there.  The number in `source`
is the thread in which users of some library met it.  What counts as exact, by `kind`:

* `math`: there is one right value;
* `convention`: the function has a kink; the subgradient of least norm is taken;
* `limit`: the one-sided limit, infinities included;
* `stable`: the formula overflows where its derivative does not, so the stable form must be found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from chainrule.ir.graph import Node
from chainrule.ir.types import F64, I64, Array, DType
from chainrule.ops.pointwise import (
    abs_,
    acos,
    atan2,
    clip,
    cos,
    exp,
    expm1,
    floor,
    hypot,
    log,
    log1p,
    logaddexp,
    maximum,
    minimum,
    pow_,
    relu,
    sigmoid,
    sin,
    sinc,
    sqrt,
    tanh,
    xlogy,
)  # fmt: skip
from chainrule.ops.reduce import (
    cumulative_product,
    log_softmax,
    logsumexp,
    max_,
    norm,
    prod,
    softmax,
    spread,
    sum_,
)  # fmt: skip

INF = math.inf
Kind = Literal["math", "convention", "limit", "stable"]


class Trap(NamedTuple):
    """One case; `gradient` is a list for each argument, or the sum of the Hessian at order 2."""

    name: str
    source: str
    function: Callable[..., Node]
    point: Sequence[Any]
    gradient: Sequence[Any]
    kind: Kind = "math"
    order: int = 1
    tolerance: float = 1e-10
    point32: Sequence[Any] | None = None
    """The point in reach of single precision, where the gradient is the same."""
    expected32: Sequence[Any] | None = None
    """The gradient in single precision, where rounding the point changes it."""

    def at(self, dtype: DType) -> list[Array]:
        """Return the arguments in a precision."""
        point = self.point if dtype is F64 else self.point32 or self.point
        return [np.asarray(p, dtype=dtype.numpy) for p in point]

    def expected(self, dtype: DType) -> list[Array]:
        """Return the gradient in a precision."""
        gradient = self.gradient if dtype is F64 else self.expected32 or self.gradient
        return [np.asarray(g, dtype=dtype.numpy) for g in gradient]


def total(x: Node) -> Node:
    """Sum everything."""
    return sum_(x, axes=tuple(range(x.type.rank)))


def where(condition: Node, a: Node | float, b: Node | float) -> Node:
    """Select."""
    return condition.graph.select(condition, a, b)


def item(x: Node, *at: int) -> Node:
    """Return one element."""
    ones = (1,) * x.type.rank
    one = x.graph.call("slice", x, starts=at, shape=ones, steps=ones)
    return x.graph.call("reshape", one, shape=())


def mean(x: Node) -> Node:
    """Return the mean of everything."""
    return total(x) / x.graph.call(
        "cast", x.graph.call("extent", extent=x.type.size), dtype=x.dtype
    )


def wide(s: Node, x: Node) -> Node:
    """Copy a scalar to the shape of x."""
    return spread(s, x, tuple(range(x.type.rank)))


def deviation(x: Node) -> Node:
    """Return x less its mean."""
    return x - wide(mean(x), x)


def std(x: Node) -> Node:
    """Return the standard deviation, without correction."""
    return norm(deviation(x), axes=(0,)) / math.sqrt(int(str(x.shape[0])))


def take(x: Node, places: list[int]) -> Node:
    """Pick elements."""
    return x.graph.call("gather", x, x.graph.array(np.array(places), I64), batch=0)


def array(x: Node, numbers: list[float]) -> Node:
    """Return a constant array in the type of x."""
    return x.graph.array(np.array(numbers), x.dtype)


def second_is(x: Node) -> Node:
    """Return the mask [False, True, False, ...]."""
    return x.graph.call("iota", length=x.shape[0], dtype=I64).equals(1)


def lse(x: Node) -> Node:
    """Return logsumexp of everything."""
    return logsumexp(x, axes=(0,))


def share(x: Node, at: int) -> Node:
    """Return one entry of softmax."""
    return item(softmax(x, axes=(0,)), at)


def logistic(x: Node) -> Node:
    """Return sigmoid the naive way."""
    return 1 / (1 + exp(-x))


SELECTION = (
    Trap("where_sqrt_of_negative", "jax#347, jax#2630",
         lambda x: total(where(x > 0, sqrt(x), 0 * x)), [[4, -1, 0]], [[0.25, 0, 0]]),
    Trap("where_log_not_taken", "torch#108618",
         lambda x: total(where(x > 2, log(x), 2 * x)), [[0, 2, 4]], [[2, 2, 0.25]]),
    Trap("where_exp_overflows", "tf#38349",
         lambda x: total(where(x < 15, x, exp(exp(x)))), [[10, 1]], [[1, 1]]),
    Trap("where_divides_by_zero", "tinygrad#12409",
         lambda x: total(where(x.equals(0), 1 + 0 * x, sin(x) / x)), [[0, 1]],
         [[0, math.cos(1) - math.sin(1)]]),
    Trap("where_one_less_root", "sign of a masked cotangent",
         lambda x: total(where(x > 0, 1 - sqrt(x), 0 * x)), [[0, 4]], [[0, -0.25]]),
    Trap("where_root_twice", "sum of cotangents of two masks",
         lambda x: total(where(x > 0, sqrt(x), 0 * x) + where(x > 1, 3 * sqrt(x), 0 * x)),
         [[0, 0.25, 4]], [[0, 1, 1]]),
    Trap("where_infinite_slope", "jax#2630",
         lambda x: total(where(x > 0, 0 * x, x * INF)), [[1]], [[0]]),
    Trap("where_x_sqrt_x", "tinygrad#12409",
         lambda x: total(where(x.equals(0), 0 * x, x * sqrt(x))), [[0, 4]], [[0, 3]]),
    Trap("where_atan2_masked", "jax#1052",
         lambda x: total(where(second_is(x), 0 * x, atan2(x, x))), [[3, 0, -5]], [[0, 0, 0]]),
    Trap("where_other_branch_constant", "torch#156212",
         lambda x: total(where(x <= 10, exp(x), 1 + 0 * x * 0)), [[1, 2]], [[math.e, math.e**2]]),
)  # fmt: skip

NORMS = (
    Trap("norm_at_zero", "jax#3058, torch#2421, autograd#151",
         lambda x: norm(x, axes=(0,)), [[0, 0, 0]], [[0, 0, 0]], "convention"),
    Trap("norm_squared_at_zero", "jax#4177, jax#21723, autograd#183",
         lambda x: norm(x, axes=(0,)) ** 2, [[0, 0]], [[0, 0]]),
    Trap("norm_of_tiny", "scaling", lambda x: norm(x, axes=(0,)), [[3e-200, 4e-200]], [[0.6, 0.8]],
         point32=[[3e-30, 4e-30]]),
    Trap("norm_of_huge", "scaling", lambda x: norm(x, axes=(0,)), [[3e200, 4e200]], [[0.6, 0.8]],
         point32=[[3e30, 4e30]]),
    Trap("sqrt_at_zero", "torch#2421", lambda x: total(sqrt(x)), [[0]], [[INF]], "limit"),
    Trap("sqrt_squared", "chain rule", lambda x: total(sqrt(x) ** 2), [[4]], [[1]]),
    Trap("std_of_constant", "torch#4320, jax#11716, stan#411", std, [[1, 1, 1]], [[0, 0, 0]],
         "convention"),
    Trap("var_of_constant", "jax#11716", lambda x: mean(deviation(x) ** 2), [[1, 1, 1]],
         [[0, 0, 0]]),
    Trap("hypot_at_origin", "ForwardDiff#669, jax#4893", lambda x, y: total(hypot(x, y)),
         [[0], [0]], [[0], [0]], "convention"),
    Trap("hypot_on_axis", "jax#4893", lambda x, y: total(hypot(x, y)), [[0], [5]], [[0], [1]]),
    Trap("hypot_of_huge", "jax#4882", lambda x, y: total(hypot(x, y)), [[3e200], [4e200]],
         [[0.6], [0.8]], point32=[[3e30], [4e30]]),
    Trap("abs_at_zero", "jax#10515", lambda x: total(abs_(x)), [[0, -2, 3]], [[0, -1, 1]],
         "convention"),
    Trap("cosine_of_zero_vector", "normalising 0",
         lambda x: total(x / wide(sqrt(total(x * x) + 1e-12), x)), [[0, 0]], [[1e6, 1e6]]),
)  # fmt: skip

POWERS = (
    Trap("square_at_zero", "ChainRules#513, stan-math#3031", lambda x: total(pow_(x, 2.0)), [[0]],
         [[0]]),
    Trap("first_power_at_zero", "stan-math#3031", lambda x: total(pow_(x, 1.0)), [[0]], [[1]]),
    Trap("zeroth_power_at_zero", "jax#12409", lambda x: total(pow_(x, 0.0)), [[0]], [[0]]),
    Trap("power_by_variable_at_zero", "tfjs#346", lambda x, y: total(pow_(x, y)), [[0], [2]],
         [[0], [0]]),
    Trap("power_one_by_variable_at_zero", "mlx#628", lambda x, y: total(pow_(x, y)), [[0], [1]],
         [[1], [0]]),
    Trap("power_of_negative", "tfjs#346", lambda x: total(pow_(x, 3.0)), [[-2]], [[12]]),
    Trap("half_power_at_zero", "stan-math#3031", lambda x: total(pow_(x, 0.5)), [[0]], [[INF]],
         "limit"),
    Trap("fourth_power_twice_at_zero", "tf#35011", lambda x: total(pow_(x, 4.0)), [[0]], [0],
         order=2),
    Trap("square_twice_at_zero", "tf#35011", lambda x: total(pow_(x, 2.0)), [[0]], [2], order=2),
    Trap("x_to_the_x", "symbolic", lambda x: total(pow_(x, x)), [[2]], [[4 * (math.log(2) + 1)]]),
)  # fmt: skip

LOGSUMEXP = (
    Trap("logaddexp_of_nothing", "torch#49724", lambda x, y: total(logaddexp(x, y)),
         [[-INF], [-INF]], [[0], [0]], "convention"),
    Trap("logaddexp_with_nothing", "torch#49724", lambda x, y: total(logaddexp(x, y)),
         [[-INF], [2]], [[0], [1]]),
    Trap("logaddexp_of_equals", "keras#23616, tf#127232", lambda x, y: total(logaddexp(x, y)),
         [[1], [1]], [[0.5], [0.5]]),
    Trap("logaddexp_of_large", "overflow", lambda x, y: total(logaddexp(x, y)), [[1000], [999]],
         [[1 / (1 + math.exp(-1))], [1 / (1 + math.e)]]),
    Trap("logsumexp_of_nothing", "jax#6811, torch#31829", lse, [[-INF, -INF]], [[0, 0]],
         "convention"),
    Trap("logsumexp_with_nothing", "jax#6811", lse, [[-INF, 1]], [[0, 1]]),
    Trap("logsumexp_of_large", "overflow", lse, [[1e4, 1e4]], [[0.5, 0.5]]),
    Trap("log_of_sum_of_exp", "overflow", lambda x: log(total(exp(x))), [[1000, 1000]],
         [[0.5, 0.5]], "stable"),
    Trap("softmax_of_large", "theano#3162", lambda x: share(x, 0), [[1000, 0]], [[0, 0]]),
    Trap("log_of_softmax", "theano#3162", lambda x: -log(share(x, 0)), [[0, 1000]], [[-1, 1]],
         "stable"),
    Trap("log_softmax_with_mask", "torch#41508", lambda x: item(log_softmax(x, axes=(0,)), 1),
         [[-INF, 1, 1]], [[0, 0.5, -0.5]]),
    # Of the same families, written in other ways.
    Trap("log_sum_exp_shifted", "overflow",
         lambda x: log(total(exp(x - wide(max_(x, axes=(0,)), x)))) + max_(x, axes=(0,)),
         [[1000, 1000, -INF]], [[0.5, 0.5, 0]], "stable"),
    Trap("log_mean_exp", "overflow", lambda x: log(mean(exp(x))), [[1000, 1000]], [[0.5, 0.5]],
         "stable"),
    Trap("softmax_by_hand", "overflow",
         lambda x: item(exp(x) / wide(total(exp(x)), x), 0), [[1000, 0]], [[0, 0]], "stable"),
    Trap("cross_entropy_by_hand", "overflow",
         lambda x: -log(item(exp(x) / wide(total(exp(x)), x), 0)), [[0, 1000]], [[-1, 1]],
         "stable"),
    Trap("log_of_picked_share", "overflow",
         lambda x: -total(log(take(softmax(x, axes=(0,)), [0, 0]))), [[0, 1000]], [[-2, 2]],
         "stable"),
    Trap("log_of_share_of_picked", "overflow",
         lambda x: log(exp(item(x, 0)) / total(exp(x))), [[0, 1000]], [[1, -1]], "stable"),
)  # fmt: skip

SIGMOIDS = (
    Trap("log_one_plus_exp", "burn#5373", lambda x: total(log(1 + exp(x))), [[1000]], [[1]],
         "stable"),
    Trap("log_one_plus_exp_of_negative", "cancellation", lambda x: total(log(1 + exp(x))), [[-50]],
         [[math.exp(-50)]], "stable"),
    Trap("sigmoid_by_hand", "snntorch#433", lambda x: total(logistic(x)), [[-800]], [[0]],
         "stable"),
    Trap("tanh_saturated", "jax#764", lambda x: total(tanh(x)), [[200, -200]], [[0, 0]]),
    Trap("log_sigmoid_by_hand", "torch logsigmoid", lambda x: total(log(logistic(x))), [[-800]],
         [[1]], "stable"),
    Trap("log1p_of_tiny", "cancellation", lambda x: total(log1p(x)), [[1e-18]], [[1]]),
    Trap("expm1_of_tiny", "cancellation", lambda x: total(expm1(x)), [[1e-18]], [[1]]),
    Trap("sigmoid_as_share", "overflow", lambda x: total(exp(x) / (1 + exp(x))), [[800]], [[0]],
         "stable"),
    Trap("log1p_of_exp", "overflow", lambda x: total(log1p(exp(x))), [[1000]], [[1]], "stable"),
    Trap("log_of_one_minus_sigmoid", "overflow", lambda x: total(log(1 - sigmoid(x))), [[800]],
         [[-1]], "stable"),
    Trap("log_of_one_minus_exp", "cancellation", lambda x: total(log(1 - exp(x))), [[-1e-18]],
         [[-1e18]], "stable"),
    Trap("tanh_by_hand", "overflow",
         lambda x: total((exp(x) - exp(-x)) / (exp(x) + exp(-x))), [[800]], [[0]], "stable"),
    Trap("sum_of_two_exp", "overflow", lambda x, y: total(log(exp(x) + exp(y))), [[1000], [1000]],
         [[0.5], [0.5]], "stable"),
    Trap("root_of_square", "overflow", lambda x: total(sqrt(x * x)), [[3e200, 0, -2]], [[1, 0, -1]],
         "stable", point32=[[3e30, 0, -2]]),
    Trap("root_of_squares", "overflow", lambda x, y: total(sqrt(x**2 + y**2)), [[3e200], [4e200]],
         [[0.6], [0.8]], "stable", point32=[[3e30], [4e30]]),
    Trap("root_of_sum_of_squares", "overflow", lambda x: sqrt(total(x * x)), [[3e200, 4e200]],
         [[0.6, 0.8]], "stable", point32=[[3e30, 4e30]]),
    Trap("root_of_sum_of_squares_at_zero", "jax#3058", lambda x: sqrt(total(x**2)), [[0, 0]],
         [[0, 0]], "stable"),
    Trap("std_by_hand", "torch#4320", lambda x: sqrt(mean(deviation(x) ** 2)), [[1, 1, 1]],
         [[0, 0, 0]], "stable"),
)  # fmt: skip

ENTROPY = (
    Trap("xlogy_at_zero", "torch#80770", lambda x, y: total(xlogy(x, y)), [[0], [2]],
         [[math.log(2)], [0]]),
    Trap("xlogy_of_constant_zero", "torch#89558", lambda y: total(xlogy(array(y, [0.0]), y)), [[0]],
         [[0]], "convention"),
    Trap("entropy_with_mask", "trl#7221",
         lambda x: -total(xlogy(softmax(x, axes=(0,)), softmax(x, axes=(0,)))), [[0, 0, -INF]],
         [[0, 0, 0]], "convention"),
)  # fmt: skip

PRODUCTS = (
    Trap("product_with_a_zero", "tinygrad#17404, tt-metal#54551", lambda x: prod(x, axes=(0,)),
         [[2, 0, 4]], [[0, 8, 0]]),
    Trap("product_with_two_zeros", "torch#106789", lambda x: prod(x, axes=(0,)), [[2, 3, 0, 0]],
         [[0, 0, 0, 0]]),
    Trap("cumulative_product_with_a_zero", "burn#3864, pytensor#1956, tf#3862",
         lambda x: total(cumulative_product(x, axis=0, reverse=False)), [[2, 0, 3, 4]],
         [[1, 32, 0, 0]]),
)  # fmt: skip

TIES = (
    Trap("max_with_a_tie", "jax: maximum ties halve", lambda x: max_(x, axes=(0,)), [[1, 1, 0]],
         [[0.5, 0.5, 0]], "convention"),
    Trap("maximum_with_itself", "partials add up to 1", lambda x: total(maximum(x, x)), [[1]],
         [[1]]),
    Trap("relu_at_zero", "jax#37821, jax#14682", lambda x: total(relu(x)), [[0]], [[0]],
         "convention"),
    Trap("relu6_inside", "tinygrad#18029, jax#14682", lambda x: total(minimum(relu(x), 6.0)), [[3]],
         [[1]]),
    Trap("clip_below_inside_above", "torch#7002, tvm#3509", lambda x: total(clip(x, 0.0, 1.0)),
         [[-1, 0.5, 2]], [[0, 1, 0]]),
    Trap("clip_at_its_ends", "docs/numerics.md", lambda x: total(clip(x, 0.0, 1.0)), [[0, 1]],
         [[1, 1]], "convention"),
    Trap("x_minus_max", "x - max(x)", lambda x: total(x - wide(max_(x, axes=(0,)), x)), [[1, 3, 2]],
         [[1, -2, 1]]),
)  # fmt: skip

POINTS = (
    Trap("sinc_at_zero", "torch#53989, torch#56760, jax#6936", lambda x: total(sinc(x, order=0)),
         [[0]], [[0]]),
    Trap("sinc_twice_at_zero", "jax#5054, torch#196703", lambda x: total(sinc(x, order=0)), [[0]],
         [-(math.pi**2) / 3], order=2, tolerance=1e-9),
    Trap("sinc_near_zero", "jax#34139, ForwardDiff#466", lambda x: total(sinc(x, order=0)),
         [[1e-6]], [[-(math.pi**2) / 3 * 1e-6]], tolerance=1e-6),
    Trap("sinc_by_hand_twice", "torch#196703",
         lambda x: total(where(x.equals(0), 1.0, sin(x * math.pi) / (x * math.pi))), [[0]],
         [-(math.pi**2) / 3], "stable", order=2, tolerance=1e-6),
    Trap("atan2_on_positive_axis", "jax#15407", lambda y, x: total(atan2(y, x)), [[0], [1]],
         [[1], [0]]),
    Trap("atan2_on_upper_axis", "hipparchus#411", lambda y, x: total(atan2(y, x)), [[2], [0]],
         [[0], [-0.5]]),
    Trap("atan2_values", "mlx#2451", lambda y, x: total(atan2(y, x)), [[1, 2], [2, 3]],
         [[0.4, 3 / 13], [-0.2, -2 / 13]]),
    Trap("acos_at_one", "jax#15798", lambda x: total(acos(x)), [[1]], [[-INF]], "limit"),
    Trap("sin_far_out", "range reduction", lambda x: total(sin(x)), [[1e15]], [[math.cos(1e15)]],
         expected32=[[math.cos(float(np.float32(1e15)))]]),
    Trap("floor_times_x", "jax#12409", lambda x: total(floor(x) * x), [[1.5]], [[1]]),
    Trap("remainder_by_hand", "x mod y", lambda x: total(x - 2 * floor(x / 2)), [[5.5]], [[1]]),
    Trap("cos_at_zero_twice", "even function", lambda x: total(cos(x)), [[0]], [-1], order=2),
)  # fmt: skip

STRUCTURE = (
    Trap("gather_repeated", "repeated index",
         lambda x: total(take(x, [0, 0, 2]) * array(x, [1, 2, 3])), [[5, 6, 7]], [[3, 0, 3]]),
    Trap("broadcast_summed", "adjoint of a broadcast",
         lambda x, y: total(x * x.graph.broadcast(
             x.graph.call("reshape", y, shape=()), x.shape, ())), [[1, 2, 3], [2]],
         [[2, 2, 2], [6]]),
    Trap("dead_branch", "zero weight",
         lambda x: total(x * 1.0) + 0.0 * total(sqrt(x * x)), [[2]], [[1]]),
    Trap("same_input_twice", "pytensor#1933", lambda x: total(x * x * x / x), [[3]], [[6]]),
    Trap("empty_sum", "torch#31782", lambda x: total(exp(x)), [[]], [[]]),
)  # fmt: skip

TRAPS = (*SELECTION, *NORMS, *POWERS, *LOGSUMEXP, *SIGMOIDS, *ENTROPY, *PRODUCTS, *TIES, *POINTS,
         *STRUCTURE)  # fmt: skip
