"""Batch strips: the same results as without, for every way a batch may be used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest
from tests.compiled.run import Compiled, assert_close

import chainrule as cr
import chainrule.numpy as cnp
from chainrule import nn
from chainrule.ir.dims import evaluate_extent
from chainrule.ir.evaluate import evaluate
from chainrule.ir.program import Program
from chainrule.ir.types import F64
from chainrule.loops.lower import StripLoop

BATCH: Final = [1, 2, 31, 33, 257, 600]


def _mlp(w: Any, x: Any) -> Any:
    return cnp.tanh(cnp.tanh(x @ w[0] + w[1]) @ w[2] + w[3])


def _mean_squares(w: Any, x: Any, y: Any) -> Any:
    return cnp.mean((_mlp(w, x) - y) ** 2)


def _cross_entropy(w: Any, x: Any, labels: Any) -> Any:
    return cnp.mean(nn.softmax_cross_entropy(_mlp(w, x), labels))


def _picked(w: Any, x: Any, labels: Any) -> Any:
    scores = cr.special.log_softmax(_mlp(w, x), axis=1)
    return -cnp.mean(cnp.take_along_axis(scores, labels[:, None], axis=1))


def _embedding(w: Any, x: Any, labels: Any) -> Any:
    return cnp.sum(cnp.tanh(cnp.take(w[0], labels, axis=0) * cnp.sum(x, axis=1)[:, None]))


def _normalised(w: Any, x: Any, y: Any) -> Any:
    z = x @ w[0] + w[1]
    z = (z - cnp.mean(z, axis=0)) / cnp.sqrt(cnp.var(z, axis=0) + 1e-3)
    return cnp.mean((cnp.tanh(z) @ w[2] + w[3] - y) ** 2)


def _gram(w: Any, x: Any, _y: Any) -> Any:
    z = x @ w[0]
    return cnp.sum(cnp.tanh(z @ z.T) * 0.01)


def _weighted(w: Any, x: Any, y: Any) -> Any:
    """Use the loss itself as a weight of the examples."""
    each = cnp.sum((_mlp(w, x) - y) ** 2, axis=1)
    return cnp.sum(each * cnp.tanh(cnp.mean(each)))


def _centred(w: Any, x: Any, y: Any) -> Any:
    return cnp.mean((_mlp(w, x - cnp.mean(x, axis=0)) - y) ** 2)


# Functions of (w, x, y) or (w, x, labels), and whether strips must be refused (True), must be used
# (False), or may be either (None).
LOSSES: Final[dict[str, tuple[Callable[..., Any], bool | None]]] = {
    "mean of squares": (_mean_squares, False),
    "cross entropy": (_cross_entropy, False),
    "picked": (_picked, None),
    "embedding": (_embedding, None),
    "regression": (lambda w, x, y: cnp.mean((x @ w[0] + w[1] - y[:, :1]) ** 2), False),
    "logistic": (lambda w, x, y: cnp.mean(cr.special.softplus(x @ w[0][:, 0]) - y[:, 0]), None),
    "root": (lambda w, x, y: cnp.sqrt(_mean_squares(w, x, y)), True),
    "batch normalisation": (_normalised, True),
    "gram matrix": (_gram, True),
    "weighted": (_weighted, True),
    "centred": (_centred, None),
    "reversed": (lambda w, x, y: cnp.mean((_mlp(w, x[::-1]) - y) ** 2), True),
    "shifted": (lambda w, x, y: cnp.sum(_mlp(w, x)[1:] * y[:-1]), True),
    "doubled": (lambda w, x, y: cnp.mean(_mlp(w, cnp.concatenate([x, x * 2.0]))), None),
    "cumulative": (lambda w, x, y: cnp.sum(cnp.cumsum(_mlp(w, x), axis=0) * y), True),
    "largest": (lambda w, x, y: cnp.max(_mlp(w, x) * y), None),
    "product": (lambda w, x, y: cnp.prod(1.0 + 0.01 * _mlp(w, x) * y), None),
    "logsumexp": (lambda w, x, y: cr.special.logsumexp(_mlp(w, x) * y), None),
    "outer": (lambda w, x, y: cnp.sum(cnp.tanh(x[:, None, :] * x[None, :, :])) * w[1][0], None),
    "transposed": (lambda w, x, y: cnp.sum(cnp.tanh(w[0].T @ x.T).T @ w[2] * y), None),
    "position": (lambda w, x, y: cnp.sum(_mlp(w, x) * cnp.arange(x.shape[0])[:, None]), None),
    "flattened": (lambda w, x, y: cnp.sum(cnp.tanh(cnp.reshape(_mlp(w, x), (-1,)))), None),
    "two sums": (lambda w, x, y: cnp.sum(_mlp(w, x)) * 0.1 + cnp.sum(x**2) * cnp.sum(w[0]), None),
    "batch extent": (lambda w, x, y: cnp.sum(_mlp(w, x)) / x.shape[0] ** 2, None),
    "first row": (lambda w, x, y: cnp.sum(_mlp(w, x) * x[0, 0]), None),
}  # fmt: skip
LABELLED: Final = {"cross entropy", "picked", "embedding"}


def weights(seed: int = 0) -> list[Any]:
    random = np.random.default_rng(seed)
    return [random.normal(size=s) * 0.5 for s in [(5, 8), (8,), (8, 3), (3,)]]


def traced(name: str, *, extra: bool = False) -> Program:
    loss = LOSSES[name][0]

    def run(w: Any, x: Any, y: Any) -> Any:
        result = cr.value_and_grad(loss)(w, x, y)
        return (*result, _mlp(w, x), cnp.sum(x, axis=1)) if extra else result

    y = cr.spec(("n",), dtype="int64") if name in LABELLED else cr.spec(("n", 3))
    return cr.trace(run, weights(), cr.spec(("n", 5)), y).program


def arrays(name: str, rows: int) -> list[Any]:
    random = np.random.default_rng(rows)
    x = random.normal(size=(rows, 5))
    y = random.integers(0, 3, rows) if name in LABELLED else random.normal(size=(rows, 3))
    return [*weights(), x, y]


@pytest.mark.share(8)
@pytest.mark.parametrize("extra", [False, True], ids=["loss", "rows returned"])
@pytest.mark.parametrize("name", LOSSES)
def test_strips_change_nothing(name: str, extra: bool) -> None:
    program = traced(name, extra=extra)
    cut, whole = Compiled(program), Compiled(program, strips=False)
    used = any(isinstance(run, StripLoop) for run in cut.lowered.runs)
    refused = LOSSES[name][1]
    assert extra or refused is None or used != refused, f"strips used: {used}"
    for rows in BATCH:
        given = arrays(name, rows)
        expected = evaluate(program, *given)
        assert_close(whole(*given), expected, F64, f"{name}, whole, {rows} rows")
        assert_close(cut(*given), expected, F64, f"{name}, strips, {rows} rows")


@pytest.mark.parametrize("name", ["mean of squares", "cross entropy"])
def test_the_arena_does_not_grow_with_the_batch(name: str) -> None:
    lowered = Compiled(traced(name)).lowered
    sizes = [evaluate_extent(lowered.arena, {"n": n}) for n in (1, 512, 8192)]
    assert sizes[1] == sizes[2]
    # A batch shorter than a strip needs no room for a whole one.
    assert sizes[0] < sizes[1] / 16
    whole = Compiled(traced(name), strips=False).lowered
    assert evaluate_extent(whole.arena, {"n": 8192}) > sizes[2]
