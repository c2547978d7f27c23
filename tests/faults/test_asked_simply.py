"""Kind: raw errors, and insides that nobody made, where a function is asked something simple."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule import inspect
from chainrule.errors import StructureError


def loss(params: Any, x: Any, y: Any) -> Any:
    h = cnp.tanh(x @ params["W1"] + params["b1"])
    return cnp.mean((h @ params["W2"] - y) ** 2)


RANDOM = np.random.default_rng(0)
ARGS = (
    {"W1": RANDOM.normal(size=(3, 4)), "b1": np.zeros(4), "W2": RANDOM.normal(size=4)},
    RANDOM.normal(size=(5, 3)), np.zeros(5),
)  # fmt: skip


@pytest.mark.parametrize("wrt", [["W1", "b1"], ("params/W1", "b1"), ["W2"], ["b1", "x", "y"]])
def test_derivatives_by_several_leaves_are_explained_together(wrt: Any, tmp_path: Path) -> None:
    several = cr.explain(loss, wrt=wrt, args=ARGS)
    alone = [cr.explain(loss, wrt=name, args=ARGS) for name in wrt]
    assert [str(one) for one in several] == [str(one) for one in alone]
    assert str(several) == "\n\n".join([str(alone[0].value), *(one.text() for one in alone)])
    assert all(one.latex() in several.latex() for one in alone)
    assert all(one.mathml() in several.mathml() for one in alone)
    page = several.html(tmp_path / "page.html").read_text(encoding="utf-8")
    assert all(one.mathml() in page for one in alone)


@pytest.mark.parametrize("wrt", [[], ["W1", "W1"], ["W1", 3], 3, None, ["W1", "absent"]])
def test_what_names_no_leaves_is_refused(wrt: Any) -> None:
    with pytest.raises(StructureError, match="wrt"):
        cr.explain(loss, wrt=wrt, args=ARGS)


def test_expressions_are_counted() -> None:
    x, a = cr.symbol("x", (3,)), cr.symbol("A", (3, 3))
    square = (x * x).sum()
    assert inspect.count(square).flops == 6
    slope = cr.gradient(square, x)
    assert inspect.count(slope).input_bytes == inspect.count([slope, slope]).input_bytes == 24
    assert inspect.count({"product": a @ x}).contraction_flops == 18
    rows = cr.symbol("X", ("n", 3))
    assert inspect.count(rows @ x, {"n": 10}).contraction_flops == 60


@pytest.mark.parametrize("what", [cr.grad(loss), 3.0, [], None, "x"])
def test_what_cannot_be_counted_is_told(what: Any) -> None:
    with pytest.raises(StructureError, match="what is counted is a program"):
        inspect.count(what)


def test_loops_over_symbols() -> None:
    c, xs = cr.symbol("c"), cr.symbol("x", ("n",))
    end, products = cr.scan(lambda k, v: (k * v, k * v), c, xs)
    assert (repr(end), repr(products)) == ("scan(c, x)[0]", "scan(c, x)[1]")
    assert repr(cr.cond(c > 0, lambda z: z, lambda z: 2 * z, c)).startswith("cond(")
    assert repr(cr.while_loop(lambda z: z < 9, lambda z: z * 2, c)) == "while_loop(c)[0]"
    for shown in (end.latex(), end.mathml(), repr(cr.gradient(end, xs))):
        assert "body" not in shown
        assert "bundle" not in shown
    run = cr.function([c, xs], {"end": end, "rows": products, "slope": cr.gradient(end, xs)})
    for n in (1, 2, 5):
        values = np.arange(1.0, n + 1)
        found = run(2.0, values)
        assert found["end"] == 2 * np.prod(values)
        np.testing.assert_allclose(found["rows"], 2 * np.cumprod(values))
        np.testing.assert_allclose(found["slope"], 2 * np.prod(values) / values)
