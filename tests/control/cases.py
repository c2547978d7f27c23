"""The table of programs: each a function of a kit (see `kits`) and arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from tests.control.kits import Kit

__all__ = ["CASES", "Case"]

RANDOM = np.random.default_rng(20)


@dataclass(frozen=True, eq=False)
class Case:
    """A program and arguments for it.

    Attributes:
        fn: The program, `fn(kit, *args)`.
        args: Its arguments.
        smooth: Whether its derivatives with respect to arguments of floating point are ordinary.
        dims: Names of extents.
        jax: Whether JAX's verbs take the same program.
    """

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    smooth: bool = True
    dims: dict[str, Any] | None = None
    jax: bool = True

    @property
    def name(self) -> str:
        return self.fn.__name__


def of(*shape: int) -> Any:
    return RANDOM.normal(size=shape)


# scan


def running_sum(k: Kit, x: Any) -> Any:
    return k.scan(lambda s, v: (s + v, s * v), k.xp.zeros_like(x[0]), x)


def only_last_carry(k: Kit, x: Any) -> Any:
    return k.scan(lambda s, v: (k.xp.tanh(s + v), None), x[0], x)[0]


def only_stack(k: Kit, x: Any) -> Any:
    return k.scan(lambda s, v: (s, k.xp.sin(v) * s), x[0], x)[1]


def pytree_carries(k: Kit, p: Any, x: Any) -> Any:
    def step(c: Any, v: Any) -> Any:
        h = k.xp.tanh(c["h"] @ p["W"] + v["u"] + p["b"])
        return {"h": h, "n": (c["n"][0] + 1, c["n"][1] | (h[0] > 0))}, (h.sum(), {"h": h * v["w"]})

    start = {"h": k.xp.zeros_like(p["b"]), "n": (np.int64(0), np.bool_(False))}
    return k.scan(step, start, x)


def several_dtypes(k: Kit, x: Any, n: Any, f: Any) -> Any:
    def step(c: Any, row: Any) -> Any:
        a, i, b, s = c
        v, m, w = row
        return (a + v * s, i * np.int32(3) + m, b ^ (m > 0), s * w), (i, b, a, s)

    init = (x[0], n[0], np.bool_(False), f[0])
    return k.scan(step, init, (x, n, f))


def reverse_scan(k: Kit, x: Any) -> Any:
    return k.scan(lambda s, v: (0.5 * s + v, s), x[0] * 0.0, x, reverse=True)


def no_xs(k: Kit, x: Any) -> Any:
    return k.scan(lambda s, v: (k.xp.cos(s), s * 2.0), x, None, length=5)


def swapping_carries(k: Kit, a: Any, b: Any) -> Any:
    return k.scan(lambda c, _: ((c[1], c[0]), c[0] - c[1]), (a, b), None, length=3)


def rotating_carries(k: Kit, a: Any, b: Any, c: Any) -> Any:
    return k.scan(lambda s, _: ((s[1], s[2], s[0] * 1.5 + s[1]), s[2]), (a, b, c), None, length=7)


def mixing_swapped_carries(k: Kit, a: Any, b: Any) -> Any:
    """Each carry is made of both: neither may be overwritten before the other has read it."""

    def step(c: Any, _: Any) -> Any:
        a, b = c
        return (k.xp.sin(a + b[::-1]), k.xp.cos(a[::-1] - b)), None

    return k.scan(step, (a, b), None, length=6)[0]


def shifted_in_place(k: Kit, a: Any) -> Any:
    """Element i of the carry is made of element i - 1 and i + 1 of the one before."""

    def step(c: Any, _: Any) -> Any:
        return (k.xp.roll(c, 1) + 0.25 * c - 0.5 * k.xp.roll(c, -1)), c[0]

    return k.scan(step, a, None, length=4)


def transposing_carry(k: Kit, a: Any) -> Any:
    return k.scan(lambda c, _: (c.T * 0.5 + c, c.T), a, None, length=3)


def carry_unchanged(k: Kit, a: Any, x: Any) -> Any:
    return k.scan(lambda c, v: ((c[0], c[1] + v), c[0] * v), (a, a * 2.0), x)


def carry_not_used(k: Kit, a: Any, b: Any, x: Any) -> Any:
    (last, _), (ys, _) = k.scan(lambda c, v: ((c[0] * v, c[1] + c[0]), (v + 1.0, c[1])), (a, b), x)
    return last, ys


def carry_of_constants(k: Kit, x: Any) -> Any:
    return k.scan(lambda c, v: (k.xp.ones(3) * 2.0, c + v), k.xp.zeros(3), x)


def same_twice(k: Kit, a: Any, x: Any) -> Any:
    def step(c: Any, v: Any) -> Any:
        s = c[0] * 0.9 + v
        return (s, s), (s, s, c[1], v)

    return k.scan(step, (a, a), x)


def outputs_are_inputs(k: Kit, a: Any, x: Any) -> Any:
    last, ys = k.scan(lambda c, v: (c, v), a, x)
    return last, ys, a, x


def closes_over(k: Kit, x: Any, w: Any) -> Any:
    table = np.array([0.5, -1.0, 2.0])
    outer = k.xp.exp(0.1 * w)

    def step(c: Any, v: Any) -> Any:
        return c * outer + v * table + w.sum(), c @ table + outer[0]

    return k.scan(step, k.xp.zeros_like(w), x)


def weak_carry(k: Kit, x: Any) -> Any:
    return k.scan(lambda s, v: (s + v, s), x[0] * 0, x)


def matrix_products(k: Kit, A: Any, x: Any) -> Any:
    def step(c: Any, v: Any) -> Any:
        return k.xp.tanh(A @ c + v), c

    return k.scan(step, x[0], x)


def lstm(k: Kit, W: Any, U: Any, b: Any, x: Any) -> Any:
    n = b.shape[0] // 4

    def logistic(v: Any) -> Any:
        return 1.0 / (1.0 + k.xp.exp(-v))

    def step(c: Any, v: Any) -> Any:
        h, s = c
        g = v @ W + h @ U + b
        i, f, o, u = (g[j * n : (j + 1) * n] for j in range(4))
        s = logistic(f) * s + logistic(i) * k.xp.tanh(u)
        return (logistic(o) * k.xp.tanh(s), s), s[0]

    zero = k.xp.zeros(n)
    return k.scan(step, (zero, zero), x)


def nested_scan(k: Kit, x: Any, w: Any) -> Any:
    def inner(c: Any, v: Any) -> Any:
        return c * 0.5 + k.xp.sin(v * w), c + v

    def outer(c: Any, row: Any) -> Any:
        last, ys = k.scan(inner, c, row)
        return last, ys * c

    return k.scan(outer, w * 0.5, x)


def two_scans(k: Kit, x: Any) -> Any:
    last, ys = k.scan(lambda c, v: (c + v, c * v), x[0], x)
    return k.scan(lambda c, y: (c * 0.5 + y, k.xp.sin(c)), last, ys, reverse=True)


def checkpointed_steps(k: Kit, x: Any, w: Any) -> Any:
    step = k.checkpoint(lambda c, v: (k.xp.tanh(c * w + v), k.xp.sin(c) * v))
    return k.scan(step, w * 0.0, x)


def checkpointed_segments(k: Kit, x: Any, w: Any) -> Any:
    @k.checkpoint
    def segment(c: Any, rows: Any) -> Any:
        return k.scan(lambda c, v: (k.xp.tanh(c * w + v), None), c, rows)[0], c

    return k.scan(segment, w * 0.0, x.reshape((3, 2, 3)))


def scan_of_gathers(k: Kit, x: Any, n: Any) -> Any:
    return k.scan(lambda c, i: (c + x[i], x[i] * c), x[0] * 0.0, n)


def zero_width(k: Kit, x: Any) -> Any:
    return k.scan(lambda c, v: (c + v.sum(), v * c), k.xp.zeros(()), x)


def running_statistics(k: Kit, x: Any) -> Any:
    """Welford's update: mean and squared distance."""

    def step(c: Any, v: Any) -> Any:
        n, mean, m2 = c
        n = n + 1.0
        d = v - mean
        mean = mean + d / n
        return (n, mean, m2 + d * (v - mean)), mean

    zero = k.xp.zeros_like(x[0])
    return k.scan(step, (k.xp.zeros(()), zero, zero), x)


def softmax_steps(k: Kit, x: Any, w: Any) -> Any:
    def step(c: Any, v: Any) -> Any:
        e = k.xp.exp(v + c - k.xp.max(v + c))
        p = e / e.sum()
        return c + w * p, (p, k.xp.log(p[0]))

    return k.scan(step, w * 0.0, x)


def integers_only(k: Kit, n: Any) -> Any:
    return k.scan(lambda c, v: ((c[0] + v, c[1] & (v > 0)), c[0] * v), (n[0], np.bool_(True)), n)


# fori_loop


def power_by_loop(k: Kit, x: Any) -> Any:
    return k.fori_loop(0, 5, lambda i, v: v * x, k.xp.ones_like(x))


def counter_indexes(k: Kit, x: Any) -> Any:
    return k.fori_loop(0, 6, lambda i, s: s * 0.5 + x[i] * k.xp.sin(x[5 - i]), x[0] * 0.0)


def counter_sets(k: Kit, x: Any) -> Any:
    return k.fori_loop(
        1, 6, lambda i, v: k.put(v, i, v[i - 1] * 0.5 + k.xp.cos(x[i])), k.xp.zeros_like(x)
    )


def counter_adds(k: Kit, x: Any) -> Any:
    return k.fori_loop(0, 4, lambda i, v: k.plus(v, i, v.sum() * 0.1), x)


def fibonacci_rows(k: Kit, a: Any) -> Any:
    return k.fori_loop(2, 7, lambda i, t: k.put(t, i, t[i - 1] + 0.5 * t[i - 2]), a)


def counter_as_number(k: Kit, x: Any) -> Any:
    return k.fori_loop(3, 8, lambda i, v: v * 0.5 + i, x)


def negative_counter(k: Kit, x: Any) -> Any:
    return k.fori_loop(-3, 2, lambda i, v: v + i * x, x)


def no_turns(k: Kit, x: Any) -> Any:
    return k.fori_loop(4, 1, lambda i, v: v * 0.0 + 7.0, x)


def traced_bound(k: Kit, x: Any, n: Any) -> Any:
    return k.fori_loop(0, n, lambda i, v: k.xp.sin(v) + 0.1 * i, x)


def traced_bounds(k: Kit, x: Any, m: Any, n: Any) -> Any:
    return k.fori_loop(m, n, lambda i, v: v * 0.9 + x[i % 3], x)


def bubble_passes(k: Kit, x: Any) -> Any:
    n = x.shape[0]

    def swap(j: Any, v: Any) -> Any:
        a, b = v[j], v[j + 1]
        return k.put(k.put(v, j, k.xp.minimum(a, b)), j + 1, k.xp.maximum(a, b))

    return k.fori_loop(0, n, lambda i, v: k.fori_loop(0, n - 1, swap, v), x)


def cholesky_by_hand(k: Kit, A: Any) -> Any:
    n = A.shape[0]

    def column(j: Any, L: Any) -> Any:
        c = (A + n * k.xp.eye(n))[:, j] - L @ L[j]
        c = k.xp.where(k.xp.arange(n) >= j, c, 0.0)
        return k.put(L, (slice(None), j), c / k.xp.sqrt(c[j]))

    return k.fori_loop(0, n, column, k.xp.zeros_like(A))


def logistic_map(k: Kit, r: Any) -> Any:
    return k.fori_loop(0, 9, lambda i, x: r * x * (1.0 - x), r * 0.0 + 0.3)


# while_loop


def doubling(k: Kit, x: Any) -> Any:
    return k.while_loop(lambda v: v.sum() < 100.0, lambda v: v * 2.0 + 0.1, x)


def no_steps(k: Kit, x: Any) -> Any:
    return k.while_loop(lambda v: v.sum() > 1e9, lambda v: v * 2.0, x)


def newton(k: Kit, a: Any) -> Any:
    def far(c: Any) -> Any:
        return k.xp.max(k.xp.abs(c[0] * c[0] - a)) > 1e-9

    return k.while_loop(far, lambda c: (0.5 * (c[0] + a / c[0]), c[1] + 1), (a * 0 + 1.0, 0))


def bounded_while(k: Kit, x: Any) -> Any:
    return k.while_loop(lambda v: v.sum() < 1e9, lambda v: k.xp.sin(v) + v, x, max_steps=6)


def bounded_while_stops_early(k: Kit, x: Any) -> Any:
    return k.while_loop(lambda v: v.sum() < 30.0, lambda v: v * 1.5 + 1.0, x, max_steps=40)


def hundred_steps(k: Kit, x: Any) -> Any:
    return k.while_loop(
        lambda c: c[0] < 100, lambda c: (c[0] + 1, 0.99 * k.xp.sin(c[1]) + 0.01 * x), (0, x)
    )[1]


def collatz(k: Kit, n: Any) -> Any:
    def step(c: Any) -> Any:
        m, s = c
        return k.xp.where(m % 2 == 0, m // 2, 3 * m + 1), s + 1

    return k.while_loop(lambda c: c[0] != 1, step, (n, 0))


def while_in_scan(k: Kit, x: Any, w: Any) -> Any:
    def step(c: Any, v: Any) -> Any:
        grown = k.while_loop(lambda s: s < 3.0, lambda s: s * 1.5 + w * w, k.xp.abs(v) + 0.1)
        return c + grown, grown * w

    return k.scan(step, w * 0.0, x)


def scan_in_while(k: Kit, x: Any, w: Any) -> Any:
    def body(c: Any) -> Any:
        last, ys = k.scan(lambda s, v: (s * 0.5 + v * w, s), c[0], x)
        return last + c[0] * 1.1 + 1.0, c[1] + ys.sum()

    return k.while_loop(lambda c: c[0] < 20.0, body, (w * 0.0, w * 0.0))


def while_in_while(k: Kit, x: Any) -> Any:
    def inner(c: Any) -> Any:
        return k.while_loop(lambda d: d[0] < 3, lambda d: (d[0] + 1, d[1] * 0.9 + x), (0, c))[1]

    return k.while_loop(lambda c: c[0] < 4, lambda c: (c[0] + 1, inner(c[1])), (0, x))


# cond and switch


def either(k: Kit, x: Any) -> Any:
    return k.cond(x.sum() > 0, lambda v: v * 2.0, k.xp.sin, x)


def either_way(k: Kit, x: Any, y: Any) -> Any:
    def f(v: Any) -> Any:
        return k.cond(v.sum() > 0, lambda v: v**2, lambda v: v**3, v)

    return f(k.xp.abs(x)), f(-k.xp.abs(x)), f(y)


def closing_branches(k: Kit, x: Any, y: Any) -> Any:
    return k.cond(x[0] > y[0], lambda: (x * y, x[0]), lambda: (x - y, y[1]))


def branch_to_itself(k: Kit, x: Any, y: Any) -> Any:
    return k.cond(x[0] > y[0], lambda a, b: (a, b), lambda a, b: (b, a), x, y)


def branch_of_constants(k: Kit, x: Any) -> Any:
    return k.cond(x[0] > 0, lambda v: v, lambda v: k.xp.zeros(3), x)


def index_out_of_range(k: Kit, x: Any) -> Any:
    branches = [lambda v: v, lambda v: v * 2.0, k.xp.exp]
    return tuple(k.switch(x.astype(int)[0] * 0 + i, branches, x) for i in (-7, 0, 1, 2, 3, 99))


def switch_over_scan(k: Kit, x: Any, n: Any) -> Any:
    branches = [lambda c, v: c + v, lambda c, v: c * v, lambda c, v: k.xp.tanh(c - v)]
    return k.scan(lambda c, r: (k.switch(r[1], branches, c, r[0]), c), x[0], (x, n))


def cond_in_scan(k: Kit, x: Any) -> Any:
    def step(c: Any, v: Any) -> Any:
        c = k.cond(v[0] > 0, lambda c, v: c * 0.5 + v, lambda c, v: k.xp.sin(c) - v, c, v)
        return c, c[0]

    return k.scan(step, x[0], x)


def cond_passing_carry(k: Kit, x: Any) -> Any:
    """One branch leaves the carry alone: nothing to move, or a copy."""

    def step(c: Any, v: Any) -> Any:
        c = k.cond(v[0] > 0, lambda c: c, lambda c: k.put(c, 1, c[0] * v[1]), c)
        return c, v * c

    return k.scan(step, x[0] * 2.0, x)


def scan_in_cond(k: Kit, x: Any) -> Any:
    def looped(v: Any) -> Any:
        return k.scan(lambda c, r: (c * 0.5 + r, k.xp.sin(c)), v[0], v)

    return k.cond(x.sum() > -1e9, looped, lambda v: (v[0], v), x)


def scan_in_branch_not_taken(k: Kit, x: Any) -> Any:
    def looped(v: Any) -> Any:
        return k.scan(lambda c, r: (c * 0.5 + r, k.xp.sin(c)), v[0], v)

    return k.cond(x.sum() < -1e9, looped, lambda v: (v[0] * 3.0, v), x)


def while_in_branch(k: Kit, x: Any) -> Any:
    return k.cond(
        x.sum() > -1e9,
        lambda v: k.while_loop(lambda s: s.sum() < 50.0, lambda s: s * 1.5 + 1.0, v),
        lambda v: v, x,
    )  # fmt: skip


def cond_in_while(k: Kit, x: Any) -> Any:
    def body(c: Any) -> Any:
        i, v = c
        return i + 1, k.cond(i % 2 == 0, lambda v: k.xp.sin(v) + x, lambda v: v * 0.5, v)

    return k.while_loop(lambda c: c[0] < 5, body, (0, x))


def cond_in_cond(k: Kit, x: Any) -> Any:
    def inner(v: Any) -> Any:
        return k.cond(v[1] > 0, lambda v: v * 2.0, lambda v: v * v, v)

    return k.cond(x[0] > 0, inner, lambda v: inner(-v) + x, x)


def safe_square_root(k: Kit, x: Any) -> Any:
    """The derivative of the branch not taken would be infinite."""
    return k.scan(
        lambda c, v: (c + k.cond(v > 0, k.xp.sqrt, lambda v: v * 0.0, v), None),
        k.xp.zeros(()), k.xp.where(x > 0, x, 0.0),
    )[0]  # fmt: skip


def everything(k: Kit, x: Any, w: Any) -> Any:
    def step(c: Any, v: Any) -> Any:
        c = k.fori_loop(0, 3, lambda i, s: k.put(s, i, k.xp.tanh(s[i] * w[i] + v[i])), c)
        c = k.cond(c[0] > 0, lambda c: c * w, lambda c: c - w, c)
        grown = k.while_loop(lambda s: s.sum() < 4.0, lambda s: s * 1.5 + 0.5, c * c)
        return c, (grown, k.scan(lambda a, b: (a * b, a + b), c[0], v)[1])

    return k.scan(k.checkpoint(step), w * 0.1, x)


ROW = {"x": ("n", 3)}

CASES = [
    Case(running_sum, (of(5, 3),)),
    Case(running_sum, (of(5, 3),), dims=ROW),
    Case(running_sum, (of(1, 3),)),
    Case(running_sum, (of(2, 17),), dims={"x": ("n", "m")}),
    Case(running_sum, (of(40, 2, 3),), dims={"x": ("n", "m", 3)}),
    Case(only_last_carry, (of(6, 3),)),
    Case(only_last_carry, (of(6, 3),), dims=ROW),
    Case(only_stack, (of(4, 3),)),
    Case(pytree_carries, ({"W": of(3, 3), "b": of(3)}, {"u": of(4, 3), "w": of(4)})),
    Case(several_dtypes, (of(4), np.array([1, -2, 3, 0], np.int32), of(4).astype(np.float32)),
         smooth=False),
    Case(reverse_scan, (of(5, 3),)),
    Case(reverse_scan, (of(5, 3),), dims=ROW),
    Case(no_xs, (of(3),)),
    Case(swapping_carries, (of(3), of(3))),
    Case(rotating_carries, (of(3), of(3), of(3))),
    Case(mixing_swapped_carries, (of(5), of(5))),
    Case(shifted_in_place, (of(9),)),
    Case(transposing_carry, (of(4, 4),)),
    Case(carry_unchanged, (of(3), of(4, 3))),
    Case(carry_not_used, (of(3), of(3), of(4, 3))),
    Case(carry_of_constants, (of(4, 3),)),
    Case(same_twice, (of(3), of(4, 3))),
    Case(outputs_are_inputs, (of(3), of(4, 2))),
    Case(closes_over, (of(4, 3), of(3))),
    Case(weak_carry, (of(5),)),
    Case(matrix_products, (of(3, 3), of(5, 3))),
    Case(matrix_products, (of(3, 3), of(5, 3)), dims={"A": ("m", "m"), "x": ("n", "m")}),
    Case(lstm, (of(2, 12), of(3, 12), of(12), of(4, 2))),
    Case(nested_scan, (of(3, 4), of())),
    Case(nested_scan, (of(3, 4), of()), dims={"x": ("n", "m")}),
    Case(two_scans, (of(4, 3),)),
    Case(checkpointed_steps, (of(5, 3), of(3))),
    Case(checkpointed_segments, (of(6, 3), of(3))),
    Case(scan_of_gathers, (of(5, 2), np.array([4, 0, 0, 2, -1]))),
    Case(zero_width, (of(3, 0),)),
    Case(zero_width, (of(3, 0),), dims={"x": (3, "n")}),
    Case(zero_width, (of(0, 3),)),
    Case(zero_width, (of(0, 3),), dims={"x": ("n", 3)}),
    Case(running_statistics, (of(7, 2),)),
    Case(softmax_steps, (of(4, 3), of(3))),
    Case(integers_only, (np.array([3, 1, -2, 5]),), smooth=False),
    Case(power_by_loop, (of(3),)),
    Case(counter_indexes, (of(6, 2),)),
    Case(counter_sets, (of(6),)),
    Case(counter_adds, (of(4),)),
    Case(fibonacci_rows, (of(7, 3),)),
    Case(counter_as_number, (of(3),)),
    Case(negative_counter, (of(3),)),
    Case(no_turns, (of(3),)),
    Case(traced_bound, (of(3), np.int64(4))),
    Case(traced_bounds, (of(3), np.int64(2), np.int64(6))),
    Case(bubble_passes, (of(5),)),
    Case(bubble_passes, (of(5),), dims={"x": ("n",)}, jax=False),
    Case(cholesky_by_hand, (of(4, 4),)),
    Case(logistic_map, (np.array([2.5, 3.1, 3.7]),)),
    Case(doubling, (np.array([0.5, 1.5]),)),
    Case(no_steps, (of(2),)),
    Case(newton, (np.array([2.0, 3.0]),)),
    Case(bounded_while, (np.array([0.5, 1.5]),)),
    Case(bounded_while_stops_early, (np.array([0.5, 1.5]),)),
    Case(hundred_steps, (of(2),)),
    Case(collatz, (np.int64(27),), smooth=False),
    Case(while_in_scan, (of(4), np.float64(0.7))),
    Case(scan_in_while, (of(3), np.float64(0.7))),
    Case(while_in_while, (of(2),)),
    Case(either, (of(3),)),
    Case(either_way, (of(3), of(3))),
    Case(closing_branches, (of(3), of(3))),
    Case(closing_branches, (np.array([9.0, 1.0, 2.0]), of(3))),
    Case(branch_to_itself, (of(3), of(3))),
    Case(branch_of_constants, (np.array([1.0, 2.0, 3.0]),)),
    Case(branch_of_constants, (np.array([-1.0, 2.0, 3.0]),)),
    Case(index_out_of_range, (of(3),)),
    Case(switch_over_scan, (of(6, 2), np.array([0, 1, 2, -4, 9, 1]))),
    Case(cond_in_scan, (of(5, 3),)),
    Case(cond_in_scan, (of(5, 3),), dims=ROW),
    Case(cond_passing_carry, (of(5, 3),)),
    Case(scan_in_cond, (of(4, 3),)),
    Case(scan_in_cond, (of(4, 3),), dims=ROW),
    Case(scan_in_branch_not_taken, (of(4, 3),)),
    Case(while_in_branch, (np.array([0.5, 1.5]),)),
    Case(cond_in_while, (of(2),)),
    Case(cond_in_cond, (of(3),)),
    Case(safe_square_root, (np.array([1.0, -2.0, 3.0]),)),
    Case(everything, (of(3, 3), of(3))),
]  # fmt: skip
