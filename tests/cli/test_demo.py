from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

import chainrule as cr
from chainrule.cli import demo

KEY = np.array([0, 1], np.uint32)


@pytest.fixture(scope="module")
def shown() -> tuple[float, str]:
    """Run the whole demo once: its accuracy, and what it printed."""
    output = io.StringIO()
    accuracy = demo.run(Console(file=output, width=100))
    return accuracy, output.getvalue()


def test_demo_recognises_97_of_100_held_out_digits(shown: tuple[float, str]) -> None:
    accuracy, output = shown

    assert accuracy >= 0.97
    assert f"recognised {accuracy:.2%} of the held-out images" in output


def test_demo_prints_the_derivative_and_the_counts(shown: tuple[float, str]) -> None:
    _, output = shown

    assert "W1" in output
    for row in ("compile time", "kernels", "floating-point operations", "arena", "us a step"):
        assert row in output


def test_one_compilation_serves_every_batch() -> None:
    trainer = demo.Trainer(demo.digits(), epochs=2)
    list(trainer.epochs(2))

    # 1438 images in batches of 64: the last has 30.
    assert len(trainer.seconds) == 46
    assert len(trainer.step.compilations) == 1


def test_the_gradient_of_the_demo_is_a_difference_quotient() -> None:
    draw = np.random.default_rng(0)
    params = {name: np.asarray(value, np.float64) for name, value in demo.first_params(KEY).items()}
    x, y = draw.uniform(size=(5, 64)), draw.integers(0, 10, 5)
    direction = {name: draw.normal(size=value.shape) / 100 for name, value in params.items()}
    _, grads = cr.value_and_grad(demo.loss)(params, x, y)
    slope = sum(float(np.sum(grads[name] * direction[name])) for name in params)

    def shifted(step: float) -> float:
        moved = {name: value + step * direction[name] for name, value in params.items()}
        return float(demo.loss(moved, x, y))

    h = 1e-5
    assert slope == pytest.approx((shifted(h) - shifted(-h)) / (2 * h), rel=1e-8, abs=1e-9)
