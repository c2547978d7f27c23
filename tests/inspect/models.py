"""Functions to explain; golden files show their source lines, so change them knowingly."""

from __future__ import annotations

from typing import Any

import chainrule.numpy as cnp
from chainrule import nn


def least_squares(w: Any, x: Any, y: Any) -> Any:
    return cnp.sum((x @ w - y) ** 2)


def ridge(w: Any, x: Any, y: Any, lam: Any) -> Any:
    error = x @ w - y
    return cnp.mean(error**2) + lam * cnp.sum(w * w)


def logistic(w: Any, b: Any, x: Any, y: Any) -> Any:
    z = x @ w + b
    return cnp.mean(y * cnp.log1p(cnp.exp(-z)) + (1 - y) * cnp.log1p(cnp.exp(z)))


def two_layers(params: Any, x: Any, y: Any) -> Any:
    hidden = cnp.tanh(x @ params["W1"] + params["b1"])
    return cnp.mean((hidden @ params["W2"] + params["b2"] - y) ** 2)


def deep(layers: Any, x: Any, y: Any) -> Any:
    h = x
    for layer in layers[:-1]:
        h = cnp.maximum(h @ layer["W"] + layer["b"], 0)
    return cnp.mean((h @ layers[-1]["W"] + layers[-1]["b"] - y) ** 2)


def classifier(params: Any, x: Any, labels: Any) -> Any:
    h = nn.relu(x @ params["W1"] + params["b1"])
    logits = h @ params["W2"] + params["b2"]
    return cnp.mean(nn.softmax_cross_entropy(logits, labels))


def binary(w: Any, x: Any, y: Any) -> Any:
    return cnp.mean(nn.sigmoid_binary_cross_entropy(x @ w, y))


def robust(w: Any, x: Any, y: Any) -> Any:
    return cnp.mean(nn.huber(x @ w, y))


def gelu_net(params: Any, x: Any, y: Any) -> Any:
    h = nn.gelu(x @ params["W1"] + params["b1"])
    return cnp.mean((h @ params["W2"] + params["b2"] - y) ** 2)


def model(net: nn.MLP, x: Any, labels: Any) -> Any:
    return cnp.mean(nn.softmax_cross_entropy(net(x), labels))


def tied(w: Any, x: Any) -> Any:
    code = cnp.tanh(x @ w)
    return cnp.mean((code @ w.T - x) ** 2)
