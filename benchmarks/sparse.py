"""Sparse derivatives: the Jacobian of a bundle against its residual, and chained Hessians.

    python benchmarks/sparse.py

The bundle has 50,000 observations of two rows, each of one of 500 cameras and 20,000 points.  Calls
are interleaved; the ratio says how many evaluations of the residual a Jacobian costs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from interleave import interleaved

import chainrule as cr
import chainrule.numpy as cnp


def turned(vector: Any, point: Any) -> Any:
    """Turn points about vectors by Rodrigues' formula."""
    angle = cnp.sqrt(cnp.sum(vector**2, axis=1, keepdims=True) + 1e-12)
    axis = vector / angle
    along = cnp.sum(axis * point, axis=1, keepdims=True)
    around = cnp.cos(angle) * point + cnp.sin(angle) * cnp.cross(axis, point)
    return around + (1 - cnp.cos(angle)) * along * axis


def focused(camera: Any, flat: Any) -> Any:
    """Apply focal length and radial distortion."""
    r = cnp.sum(flat**2, axis=1)
    scale = camera[:, 6] * (1 + camera[:, 7] * r + camera[:, 8] * r**2)
    return scale[:, None] * flat


def residual(params: Any, camera: Any, point: Any, seen: Any) -> Any:
    """Reprojection errors of all observations, as in "Bundle Adjustment in the Large" (2010)."""
    cameras, points = params
    c = cameras[camera]
    p = turned(c[:, :3], points[point]) + c[:, 3:6]
    return focused(c, -p[:, :2] / p[:, 2:3]) - seen


def of_one(camera: Any, point: Any, seen: Any) -> Any:
    """The same for one observation."""
    p = turned(camera[None, :3], point[None]) + camera[None, 3:6]
    return (focused(camera[None], -p[:, :2] / p[:, 2:3]) - seen)[0]


def mapped(params: Any, camera: Any, point: Any, seen: Any) -> Any:
    cameras, points = params
    return cr.vmap(of_one)(cameras[camera], points[point], seen)


def observations(cameras: int, points: int, count: int) -> tuple[Any, ...]:
    random = np.random.default_rng(0)
    params = (
        random.normal(size=(cameras, 9)),
        random.normal(size=(points, 3)) + np.array([0.0, 0.0, 6.0]),
    )
    return (
        params,
        random.integers(0, cameras, count),
        random.integers(0, points, count),
        random.normal(size=(count, 2)),
    )


def rosenbrock(x: Any) -> Any:
    return cnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def wood(x: Any) -> Any:
    a, b, c, d = x[:-3:2], x[1:-2:2], x[2:-1:2], x[3::2]
    return cnp.sum(
        100 * (a**2 - b) ** 2
        + (a - 1) ** 2
        + 90 * (c**2 - d) ** 2
        + (1 - c) ** 2
        + 10 * (b + d - 2) ** 2
        + 0.1 * (b - d) ** 2
    )


def first_call(function: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    began = time.perf_counter()
    result = function(*args)
    return result, time.perf_counter() - began


def main() -> None:
    args = observations(500, 20_000, 50_000)
    for fn in (residual, mapped):
        value, jacobian = cr.jit(fn, cache=False), cr.sparse_jacobian(fn)
        found, seconds = first_call(jacobian, *args)
        value(*args)
        times = interleaved(
            {"residual": lambda f=value: f(*args), "jacobian": lambda f=jacobian: f(*args)},
            rounds=31,
        )
        sweeps = jacobian.colors(*args)
        print(f"{fn.__name__}: {found}, {sweeps} sweeps, first call {seconds:.2f} s")
        print(f"  jacobian/residual {times['jacobian']}, {times['residual'].microseconds:.0f} us")
    for fn in (rosenbrock, wood):
        for count in (10_000, 100_000):
            x = np.linspace(-1.0, 1.0, count)
            hessian, gradient = cr.sparse_hessian(fn), cr.grad(fn)
            found, seconds = first_call(hessian, x)
            gradient(x)
            times = interleaved(
                {"gradient": lambda f=gradient, x=x: f(x), "hessian": lambda f=hessian, x=x: f(x)}
            )
            sweeps = hessian.colors(x)
            print(f"{fn.__name__}: {found}, {sweeps} sweeps, first call {seconds:.2f} s")
            print(f"  hessian/gradient {times['hessian']}, {times['gradient'].microseconds:.0f} us")


if __name__ == "__main__":
    main()
