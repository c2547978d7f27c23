"""Reproducible numerics: the same bits from code for different processors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.compiled.run import Compiled, targets

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.frontend.pytree import tree_leaves
from chainrule.frontend.trace import trace
from chainrule.nn import softmax_cross_entropy
from chainrule.numerics import REPRODUCIBLE

RNG = np.random.default_rng(3)


def classifier(params: Any, x: Any, y: Any) -> Any:
    h = cnp.tanh(x @ params["W"] + params["b"])
    return cnp.mean(softmax_cross_entropy(h @ params["V"], y))


def elementary(x: Any) -> Any:
    waves = cnp.sin(3 * x) * cnp.exp(-x * x) + cnp.log1p(cnp.abs(x)) / cnp.cosh(x)
    return cnp.sum(waves * cnp.arctan2(x, 1 + x * x)) + cnp.max(x) * cnp.prod(1 + x / 100)


def cases(dtype: Any) -> dict[str, tuple[Any, tuple[Any, ...], Any]]:
    params = {
        "W": RNG.normal(size=(20, 33)).astype(dtype),
        "b": RNG.normal(size=33).astype(dtype),
        "V": RNG.normal(size=(33, 5)).astype(dtype),
    }
    x, y = RNG.normal(size=(301, 20)).astype(dtype), RNG.integers(0, 5, 301)
    return {
        "classifier": (classifier, (params, x, y), {"x": ("batch", 20), "y": ("batch",)}),
        "elementary": (elementary, (RNG.normal(size=777).astype(dtype),), None),
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("name", ["classifier", "elementary"])
def test_processors_agree_to_the_bit(name: str, dtype: Any) -> None:
    fn, args, dims = cases(dtype)[name]
    traced = trace(cr.value_and_grad(fn), *args, dims=dims, numerics=REPRODUCIBLE)
    results = {
        target: Compiled(traced.program, target=target, numerics="reproducible")(*tree_leaves(args))
        for target in targets()
    }
    first = results.pop("host")
    for target, found in results.items():
        for a, b in zip(first, found, strict=True):
            assert a.tobytes() == b.tobytes(), f"{target}: {a} is not {b}"
