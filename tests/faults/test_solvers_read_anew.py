"""Kind: a solver that is called anew keeps what its function closed over.  As in jax#3814."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr

DATA = np.array([1.0])


@pytest.mark.broad
def test_closures() -> None:
    data = np.array([1.0])

    def fit(x: Any) -> Any:
        return ((x - data) ** 2).sum()

    def root(x: Any) -> Any:
        return x - data[0]

    def change(x: Any) -> Any:
        return 0.5 * (x + data[0])

    for target in (1.0, 5.0, -2.0, 5.0):
        data[:] = target
        np.testing.assert_allclose(cr.minimize(fit, 0.0).x, target)
        np.testing.assert_allclose(cr.find_root(root, 0.0).x, target)
        np.testing.assert_allclose(cr.fixed_point(change, 0.0).x, target, 1e-6)


def fit_of_a_global(x: Any) -> Any:
    return ((x - DATA) ** 2).sum()


def test_globals(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cr.minimize(fit_of_a_global, 0.0).x == pytest.approx(1.0)
    monkeypatch.setitem(globals(), "DATA", np.array([3.0, 5.0]))
    assert cr.minimize(fit_of_a_global, 0.0).x == pytest.approx(4.0)


class Model:
    """A residual that depends on an attribute."""

    target = 2.0

    def residual(self, x: Any, factor: Any, name: str) -> Any:
        assert name == "line"
        return factor * (x - self.target)


def test_attributes_of_a_bound_method() -> None:
    model = Model()
    assert cr.find_root(model.residual, 0.0, 2.0, "line").x == pytest.approx(2.0)
    model.target = 7.0
    assert cr.find_root(model.residual, 0.0, 2.0, "line").x == pytest.approx(7.0)


def test_code_of_what_reads_the_same_is_kept() -> None:
    data, runs = np.array([1.0, 3.0]), 0

    def fit(x: Any, factor: Any) -> Any:
        nonlocal runs
        runs += 1
        return (factor * (x - data) ** 2).sum()

    cr.minimize(fit, 0.0, np.ones(2))
    first, runs = runs, 0
    for factor in (1.0, 2.0, 3.0):
        found = cr.minimize(fit, factor, np.array([1.0, factor]))
        assert found.x == pytest.approx((1 + 3 * factor) / (1 + factor))
    assert runs == 3  # once a call, not once more for the search
    assert first > 1
