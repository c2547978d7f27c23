"""Kinds of fault: messages in the compiler's words, and namespaces that show its insides."""

from __future__ import annotations

import importlib
import math
import types
from typing import Any

import numpy as np
import pytest
import scipy.special

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.errors import (
    ChainruleError,
    DTypeError,
    ShapeError,
    StructureError,
    UnsupportedError,
)
from chainrule.frontend.trace import trace

NAMESPACES = [
    "chainrule", "chainrule.numpy", "chainrule.numpy.linalg", "chainrule.special",
    "chainrule.random", "chainrule.nn", "chainrule.optim", "chainrule.inspect",
    "chainrule.datasets", "chainrule.solvers", "chainrule.package", "chainrule.transform",
]  # fmt: skip
X = np.arange(6.0) + 0.5

# Kind: completion offers what is not public.


@pytest.mark.parametrize("name", NAMESPACES)
def test_dir_offers_public_names_alone(name: str) -> None:
    module = importlib.import_module(name)
    offered = [n for n in dir(module) if not (n.startswith("__") and n.endswith("__"))]
    assert offered
    assert not [n for n in offered if n.startswith("_")]
    assert not {"Any", "Final", "IMPLEMENTATIONS", "node_of", "annotations", "np"} & {*offered}
    public = getattr(module, "__all__", None)
    if public is not None:
        assert sorted(public) == offered
    for n in offered:
        value = getattr(module, n)
        if isinstance(value, types.ModuleType):
            assert value.__name__ in NAMESPACES


# Kind: a name that is absent.


@pytest.mark.parametrize(
    ("space", "name", "hint"),
    [
        (cnp, "normm", ""), (cnp, "logsumexp", "it is chainrule.special.logsumexp"),
        (cnp, "tahn", "or tanh or"), (cnp, "fft", "numpy.fft takes plain arrays"),
        (cnp, "grad", "it is chainrule.grad"), (cnp.linalg, "normm", "did you mean norm"),
        (cnp.linalg, "pinv", "numpy.linalg.pinv takes plain"), (cr, "relu", ".relu"),
        (cr, "gard", "did you mean grad"), (cr, "adam", "it is chainrule.optim.adam"),
        (cr.optim, "Adam", "did you mean adam"), (cr.random, "uniforn", "did you mean uniform"),
        (cr.nn, "dense", "did you mean Dense"), (cr.special, "expitt", "did you mean"),
    ],
)  # fmt: skip
def test_an_absent_name_is_told_by_what_is_near(space: Any, name: str, hint: str) -> None:
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'") as caught:
        getattr(space, name)
    assert hint in str(caught.value)
    assert not hasattr(space, "__frobnicate__")


def test_an_absent_attribute_of_a_traced_array() -> None:
    with pytest.raises(
        AttributeError, match=r"no attribute summ(.|\n)*test_messages_and_namespaces.py(.|\n)*sum"
    ):
        trace(lambda x: x.summ(), X)
    with pytest.raises(AttributeError, match=r"chainrule.numpy.tanh is a function"):
        trace(lambda x: x.tanh(), X)
    assert trace(lambda x: x * float(hasattr(x, "frobnicate")), X).run(X).sum() == 0


# Kind: functions of other packages.


@pytest.mark.parametrize("name", ["sin", "sqrt", "exp", "floor", "hypot", "erf", "fabs", "lgamma"])
def test_functions_of_math_name_ours(name: str) -> None:
    args = "x[0], 2.0" if name == "hypot" else "x[0]"
    # The hint reads the user's line, so there has to be one.
    fn = eval(f"lambda x: math.{name}({args})", {"math": math})  # noqa: S307
    with pytest.raises(UnsupportedError, match="traced values"):
        trace(fn, X)
    with pytest.raises(UnsupportedError, match=r"math.sin .*; chainrule.numpy.sin takes traced"):
        trace(lambda x: math.sin(x[0]), X)
    with pytest.raises(UnsupportedError, match=r"math.erf .*; chainrule.special.erf takes traced"):
        trace(lambda x: math.erf(x[0]), X)


@pytest.mark.parametrize("name", ["expit", "erf", "logit", "xlogy"])
def test_functions_of_scipy_name_ours(name: str) -> None:
    function = getattr(scipy.special, name)
    with pytest.raises(UnsupportedError, match=f"hint: chainrule.special.{name} takes traced"):
        trace(lambda x: function(*[x] * function.nin), X)


def test_complex_operands_are_not_sent_to_astype() -> None:
    for fn, arg in (
        (lambda x: x * 1j, X),
        (lambda x: x, X * 1j),
        (lambda x: x + np.ones(6) * 1j, X),
    ):
        with pytest.raises(DTypeError, match="real and the imaginary parts") as caught:
            trace(fn, arg)
        assert "astype" not in str(caught.value)


# Kind: structures that differ.


def test_which_tree_differs_and_where() -> None:
    params = {"W": X, "b": {"c": X}, "layers": [X, (X, X)]}
    opt = cr.optim.adam(1e-3)
    state = opt.init(params)
    for grads, text in (
        ({"W": X, "layers": [X, (X, X)]}, "at b  params has a dict, grads nothing"),
        ({**params, "b": {"d": X}}, "at b/c  params has an array, grads nothing"),
        ({**params, "layers": [X, (X,)]},
         "at layers/1  params has a tuple of 2, grads a tuple of 1"),
        ({**params, "layers": [X, X]}, "at layers/1  params has a tuple of 2, grads an array"),
        ({**params, "new": X}, "at new  grads has an array, params nothing"),
        (X, "at the top  params has a dict, grads an array"),
    ):  # fmt: skip
        for step in (opt.update, opt.apply):
            with pytest.raises(
                StructureError, match="grads do not have the structure of params"
            ) as e:
                step(grads, state, params)
            assert text in str(e.value)
    other = opt.init({"W": X})
    with pytest.raises(StructureError, match=r"state does not have(.|\n)*opt.init\(params\)"):
        opt.update(params, other, params)
    with pytest.raises(StructureError, match="at b/c  tree 1 has an array, tree 3 nothing"):
        cr.tree_map(lambda *x: x, params, params, {**params, "b": {}})


def test_where_a_carry_or_an_out_differs() -> None:
    with pytest.raises(StructureError, match="at 1  it has an array, after the step it a tuple"):
        trace(lambda x: cr.scan(lambda c, _: ((c[0], (c[1],)), c[0]), (x, x), x)[0], X)
    fn = cr.jit(lambda x: {"a": x, "b": x})
    with pytest.raises(StructureError, match="at b  the result has an array, out nothing"):
        fn(X, out={"a": X.copy()})


# Kind: labels of another shape than the logits'.


@pytest.mark.parametrize("labels", [np.array([0, 1, 2]), np.eye(4)[:3], np.eye(3)[:2]])
def test_labels_that_do_not_fit_are_shown_as_they_are(labels: Any) -> None:
    logits = np.ones((2, 4))
    for call in (cr.nn.softmax_cross_entropy, cr.jit(cr.nn.softmax_cross_entropy)):
        with pytest.raises(ShapeError, match=r"labels do not fit the logits\n *logits .*\[2, 4\]"):
            call(logits, labels)


def test_every_message_here_is_of_the_family() -> None:
    for kind in (StructureError, ShapeError, DTypeError, UnsupportedError):
        assert issubclass(kind, ChainruleError)
