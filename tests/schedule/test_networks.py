"""What is promised of dense networks, counted exactly: work, memory, kernels, compilations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.frontend.trace import Traced, trace
from chainrule.ir.dims import evaluate_extent
from chainrule.ir.program import Program
from chainrule.nn import softmax_cross_entropy
from chainrule.ops.cost import flops
from chainrule.optimize import expand, optimize
from chainrule.options import Options
from chainrule.pipeline import lower_program
from chainrule.schedule.steps import Strips
from chainrule_runtime.abi import evaluate

NETWORKS = {
    "tiny": ((2, 32, 32, 1), "tanh"),
    "wide": ((784, 512, 256, 10), "relu"),
    "deep": ((64, 64, 64, 64, 64, 10), "tanh"),
}


def network(sizes: Sequence[int], activation: str) -> Callable[..., Any]:
    """Return a loss: squared error behind tanh, cross-entropy of integer labels behind relu."""

    def loss(params: dict[str, Any], x: Any, y: Any) -> Any:
        h = x
        for i in range(len(sizes) - 1):
            h = h @ params[f"W{i}"] + params[f"b{i}"]
            if i < len(sizes) - 2:
                h = cnp.tanh(h) if activation == "tanh" else cnp.maximum(h, 0)
        if activation == "tanh":
            return cnp.mean((h - y) ** 2)
        return cnp.mean(softmax_cross_entropy(h, y))

    return loss


def arguments(sizes: Sequence[int], activation: str, batch: int) -> tuple[Any, Any, Any]:
    """Draw parameters, inputs and targets."""
    rng = np.random.default_rng(batch)
    params = {}
    for i, (a, b) in enumerate(pairwise(sizes)):
        params[f"W{i}"] = (rng.normal(size=(a, b)) / np.sqrt(a)).astype(np.float32)
        params[f"b{i}"] = rng.normal(size=b).astype(np.float32)
    x = rng.normal(size=(batch, sizes[0])).astype(np.float32)
    if activation == "tanh":
        return params, x, rng.normal(size=(batch, sizes[-1])).astype(np.float32)
    return params, x, rng.integers(0, sizes[-1], batch)


def traced(name: str, *, gradient: bool = True) -> Traced:
    """Trace a network's loss, or its value and gradient, over a named batch."""
    sizes, activation = NETWORKS[name]
    loss = network(sizes, activation)
    fn = cr.value_and_grad(loss) if gradient else loss
    return trace(fn, *arguments(sizes, activation, 16), dims=named_batch(name))


def named_batch(name: str) -> dict[str, tuple[str | int, ...]]:
    """Return the `dims` of a network."""
    sizes, activation = NETWORKS[name]
    labels = ("batch", sizes[-1]) if activation == "tanh" else ("batch",)
    return {"x": ("batch", sizes[0]), "y": labels}


def work(program: Program, batch: int) -> int:
    """Count the operations that are left after optimisation."""
    lean = optimize(expand(optimize(program)))
    return flops(lean.nodes, {"batch": batch})


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("batch", [1, 32, 512])
def test_value_and_gradient_cost_at_most_three_times_the_value(name: str, batch: int) -> None:
    forward = work(traced(name, gradient=False).program, batch)
    both = work(traced(name).program, batch)
    assert both <= 3.0 * forward, f"{both / forward:.3f}"


@pytest.mark.parametrize("name", NETWORKS)
def test_activation_memory_does_not_grow_with_the_batch(name: str) -> None:
    lowered = lower_program(traced(name).program)
    assert any(isinstance(s, Strips) for s in lowered.schedule.steps)
    few, *arena = (evaluate_extent(lowered.arena, {"batch": b}) for b in (32, 512, 8192, 10**6))
    assert len(set(arena)) == 1
    assert few <= arena[0]

    whole = lower_program(traced(name).program, Options(strips=False))
    small, large = (evaluate_extent(whole.arena, {"batch": b}) for b in (512, 8192))
    assert large > 10 * small


@pytest.mark.parametrize("name", NETWORKS)
def test_the_arena_that_is_reported_is_the_one_a_call_takes(name: str) -> None:
    sizes, activation = NETWORKS[name]
    step = cr.jit(cr.value_and_grad(network(sizes, activation)), dims=named_batch(name))
    args = arguments(sizes, activation, 48)
    step(*args)
    (compilation,) = step.compilations
    compiled = step.lower(*args).compile()
    assert compiled.cost.kernels == compilation.kernels
    (variants,) = step._variants.values()
    signature = variants[0].signature
    assert compiled.memory.arena == evaluate(signature.arena, [48])


@pytest.mark.parametrize("name", NETWORKS)
def test_a_new_batch_size_compiles_nothing(name: str) -> None:
    sizes, activation = NETWORKS[name]
    step = cr.jit(cr.value_and_grad(network(sizes, activation)), dims=named_batch(name))
    for batch in (3, 1, 40, 257):
        step(*arguments(sizes, activation, batch))
    assert len(step.compilations) == 1


def test_equal_layers_share_their_kernels() -> None:
    def kernels(depth: int) -> int:
        sizes = (32,) * (depth + 1)
        args = arguments(sizes, "tanh", 8)
        program = trace(cr.value_and_grad(network(sizes, "tanh")), *args).program
        return lower_program(program).kernels

    assert kernels(12) == kernels(5)
