"""Explanations of functions, against golden files; messages to the letter; the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from tests.inspect import models

from chainrule import nn, random
from chainrule.errors import DTypeError, ShapeError, StructureError
from chainrule.frontend.arguments import spec
from chainrule.inspect import Explanation, explain

Golden = Callable[[str, str], None]
X, Y = spec(("n", 8)), spec(("n",))
LAYERS: dict[str, Any] = {
    "W1": spec((8, 16)), "b1": spec((16,)), "W2": spec((16, 1)), "b2": spec((1,)),
}  # fmt: skip
DEEP = [
    {"W": spec((8, 7)), "b": spec((7,))}, {"W": spec((7, 6)), "b": spec((6,))},
    {"W": spec((6, 2)), "b": spec((2,))},
]  # fmt: skip
CASES: dict[str, tuple[Any, str, tuple[Any, ...]]] = {
    "least_squares": (models.least_squares, "w", (spec((8,)), X, Y)),
    "ridge": (models.ridge, "w", (spec((8,)), X, Y, spec(()))),
    "logistic": (models.logistic, "w", (spec((8,)), spec(()), X, Y)),
    "two_layers_W1": (models.two_layers, "params/W1", (LAYERS, X, spec(("n", 1)))),
    "two_layers_b1": (models.two_layers, "b1", (LAYERS, X, spec(("n", 1)))),
    "deep_first": (models.deep, "layers/0/W", (DEEP, X, spec(("n", 2)))),
    "deep_second": (models.deep, "layers/1/W", (DEEP, X, spec(("n", 2)))),
    "classifier": (models.classifier, "W1", (
        LAYERS | {"W2": spec((16, 10)), "b2": spec((10,))}, X, spec(("n",), np.int64)
    )),
    "binary": (models.binary, "w", (spec((8,)), X, Y)),
    "robust": (models.robust, "w", (spec((8,)), X, Y)),
    "gelu": (models.gelu_net, "W1", (LAYERS, X, spec(("n", 1)))),
    "model": (models.model, "layers/0/W", (
        nn.MLP.init(random.key(0), (8, 7, 10), dtype=np.float64), X, spec(("n",), np.int64)
    )),
    "tied": (models.tied, "w", (spec((8, 3)), X)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_explanations(name: str, golden: Golden) -> None:
    fn, wrt, args = CASES[name]
    found = explain(fn, wrt=wrt, args=args)
    terms = "\n\n".join(map(str, found.terms))
    sources = "\n".join(found.sources)
    golden(f"explain_{name}", f"{found}\n\n{found.latex()}\n\n{terms}\n\n{sources}\n")
    ET.fromstring(found.mathml())  # noqa: S314  (our own text)
    _balanced(found.latex())


def _balanced(latex: str) -> None:
    assert latex.count("{") == latex.count("}")
    assert latex.count(r"\left") - latex.count(r"\leftarrow") == latex.count(r"\right")
    assert latex.count(r"\begin") == latex.count(r"\end")


def _two_layers() -> Explanation:
    fn, wrt, args = CASES["two_layers_W1"]
    return explain(fn, wrt=wrt, args=args)


def test_the_user_s_variable_names_the_hidden_layer() -> None:
    assert str(_two_layers().derivative) == (
        "∂two_layers/∂W₁ = xᵀ ((δ W₂ᵀ) ⊙ (1 − hidden²))\n"
        "where δ = 2 (hidden W₂ + b₂ − y) / n\n"
        "      hidden = tanh(x W₁ + b₁)"
    )


def test_each_term_says_why_it_is_there() -> None:
    fn, wrt, args = CASES["ridge"]
    penalty, fit = explain(fn, wrt=wrt, args=args).terms
    assert penalty.formula.text() == "2 λ w"
    assert "cnp.sum(w * w)" in penalty.because
    assert fit.formula.text() == "2 xᵀ (x w − y) / n"
    assert fit.because.startswith("chain rule of the matrix product x w, models.py:")
    assert fit.because.endswith("  error = x @ w - y")


def test_a_shared_matrix_has_a_term_for_each_use() -> None:
    fn, wrt, args = CASES["tied"]
    assert len(explain(fn, wrt=wrt, args=args).terms) == 2


def test_the_page_stands_alone(tmp_path: Path) -> None:
    path = _two_layers().html(tmp_path / "page.html")
    text = path.read_text(encoding="utf-8")
    assert "http" not in text.replace("http://www.w3.org", "")
    assert "<script" not in text
    assert text.count("<math") == 3
    assert "hidden = cnp.tanh(x @ params[&quot;W1&quot;] + params[&quot;b1&quot;])" in text
    closed = text.replace("<!DOCTYPE html>", "").replace('"utf-8">', '"utf-8"/>')
    ET.fromstring(closed)  # noqa: S314  (our own text)


def test_named_dims_by_argument() -> None:
    arrays = np.ones(3), np.ones((4, 3)), np.ones(4), 0.5
    shown = explain(models.ridge, wrt="w", args=arrays, dims={"x": ("n", 3), "y": ("n",)})
    assert shown.text() == "∂ridge/∂w = 2 λ w + 2 xᵀ (x w − y) / n"


def test_what_does_not_depend_has_derivative_zero() -> None:
    found = explain(lambda a, b: (a * a).sum(), wrt="b", args=(np.ones(3), np.ones(2)))
    assert found.text() == "∂function/∂b = 0"


def test_refusals() -> None:
    w, x, y = np.ones(3), np.ones((4, 3)), np.arange(4)
    with pytest.raises(StructureError) as structure:
        explain(models.least_squares, wrt="v", args=(w, x, y))
    assert str(structure.value) == (
        "wrt='v': least_squares has no such argument\n"
        "  w  f64[3]\n  x  f64[4, 3]\n  y  i64[4]\n"
        "hint: give the path of one leaf"
    )
    with pytest.raises(StructureError) as structure:
        explain(models.deep, wrt="b", args=(DEEP, X, spec(("n", 2))))
    assert str(structure.value).startswith("wrt='b' is the end of 3 leaves\n  layers/0/W  ")
    with pytest.raises(DTypeError) as dtype:
        explain(models.least_squares, wrt="y", args=(w, x, y))
    assert str(dtype.value) == (
        "wrt='y' holds no floats\n  type  i64[4]\nhint: derivatives are taken of float arguments"
    )
    with pytest.raises(ShapeError) as shape:
        explain(lambda x: x * x, wrt="x", args=(x,))
    assert str(shape.value) == (
        "function does not return a single number\n  result  f64[4, 3]\n"
        "hint: sum or average it first"
    )
