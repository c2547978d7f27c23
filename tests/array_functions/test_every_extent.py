"""Every array function at empty and unit extents: values, gradients, second order, batches.

Each case runs in a process of its own: a crash is a failure that names its program.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pytest
import scipy.special
from tests.array_functions.cases import CASES, SHAPES, UPDATES, Case, arrays
from tests.isolated import failures

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.errors import ChainruleError
from chainrule.frontend.pytree import tree_leaves

SPECIAL: Final = [
    "m.erf(x)", "m.erfc(x)", "m.expit(x)", "m.logit(p)", "m.log_expit(x)", "m.ndtr(x)",
    "m.xlogy(p, q)", "m.xlog1py(p, q)", "m.entr(p)", "m.rel_entr(p, q)", "m.log1p(p)",
    "m.expm1(x)", "m.log_ndtr(x)", "m.logsumexp(x)", "m.logsumexp(x, axis=0)",
    "m.logsumexp(x, axis=1, keepdims=True)", "m.logsumexp(x, axis=0, b=p)", "m.softmax(x)",
    "m.softmax(x, axis=0)", "m.softmax(x, axis=1)", "m.log_softmax(x, axis=1)", "m.log_softmax(x)",
]  # fmt: skip
NETWORKS: Final = [
    "m.relu(x)", "m.leaky_relu(x)", "m.elu(x)", "m.silu(x)", "m.gelu(x)", "m.sigmoid(x)",
    "m.softplus(x)", "m.softmax(x)", "m.log_softmax(x)", "m.logsumexp(x)", "m.one_hot(i, 4)",
    "m.one_hot(j, 0)", "m.mean_squared_error(x, y)", "m.squared_error(x, y)",
    "m.absolute_error(x, y)", "m.huber(x, y)",
    "m.softmax_cross_entropy(x, p)", "m.sigmoid_binary_cross_entropy(x, b)",
    "m.softmax_cross_entropy(x, j % 3)",
]  # fmt: skip
ARRAYS: Final = [c for c in CASES if c.names]
MODULES: Final[Mapping[str, tuple[Any, Any, Sequence[Case]]]] = {
    "numpy": (cnp, np, ARRAYS),
    "updates": (cnp, None, [Case(t) for t in UPDATES]),
    "special": (cr.special, scipy.special, [Case(t) for t in SPECIAL]),
    "nn": (cr.nn, None, [Case(t) for t in NETWORKS]),
}
LENGTHS: Final = (3, 0, 1)
ROUNDING, NARROW = 1e-9, 1e-5


def _is_float(leaf: Any) -> bool:
    """Tell whether an array, traced or not, or a number of Python's is of floating point."""
    return np.dtype(getattr(leaf, "dtype", type(leaf))).kind == "f"


def _weighed(values: Any) -> Any:
    """Return a number that is nowhere linear in the results of floating point."""
    total: Any = 0.0
    for leaf in tree_leaves(values):
        if _is_float(leaf):
            total = total + cnp.sum(cnp.sin(leaf) + 0.5 * leaf)
    return total


def _floats(values: Sequence[Any]) -> tuple[int, ...]:
    return tuple([i for i, v in enumerate(values) if v.dtype.kind == "f"])


def _everything(call: Callable[..., Any], floats: tuple[int, ...]) -> Callable[..., Any]:
    """Return values and, in each way, derivatives of what a call weighs."""

    def loss(*values: Any) -> Any:
        return _weighed(call(*values))

    def run(*values: Any) -> Any:
        result = call(*values)
        if not floats or not any(map(_is_float, tree_leaves(result))):
            return result, ()
        gradient = cr.grad(loss, floats)
        along = tuple([values[i] * 0.25 + 0.5 for i in floats])

        def of_floats(*given: Any) -> Any:
            full = dict(zip(floats, given, strict=True))
            return loss(*[full.get(i, v) for i, v in enumerate(values)])

        chosen = tuple([values[i] for i in floats])
        pushed = cr.jvp(of_floats, chosen, along)[1]
        return result, (gradient(*values), pushed, cr.hvp(of_floats, range(len(floats)))(
            *chosen, along))  # fmt: skip

    return run


def _agree(got: Any, expected: Any, what: str) -> None:
    for a, b in zip(tree_leaves(got), tree_leaves(expected), strict=True):
        assert a.shape == np.shape(b), f"{what}: {a.shape} is not {np.shape(b)}"
        scale = float(np.max(np.abs(b), initial=1.0, where=np.isfinite(b)))
        loose = NARROW if a.dtype == np.float32 else ROUNDING
        np.testing.assert_allclose(a, b, loose, loose * scale, err_msg=what)


def _meant(case: Case, module: Any, values: Sequence[Any]) -> Any:
    """Return the results of NumPy or SciPy, or why there are none."""
    try:
        with np.errstate(all="ignore"):
            return case.value(module, *values)
    except Exception as error:  # noqa: BLE001  (whatever they refuse is refused)
        return error


def _call_once(compiled: Any, evaluated: Any, values: Sequence[Any], meant: Any, what: str) -> None:
    try:
        result, derivatives = compiled(*values)
    except Exception as error:
        # What NumPy refuses may be refused or have a meaning here.
        ours = isinstance(error, ChainruleError)
        if (ours and meant is None) or (isinstance(meant, Exception) and (
            ours or type(error) is type(meant)
        )):  # fmt: skip
            return
        raise
    if isinstance(meant, Exception):
        return
    if meant is not None and result is not None:
        _agree(result, tuple(tree_leaves(meant)), f"value of {what}")
    expected = evaluated(*values)
    _agree((result, derivatives), expected, f"evaluator of {what}")
    if derivatives and all(np.all(np.isfinite(y)) for y in tree_leaves(result)):
        gradient, pushed, _ = derivatives
        floats = [v for v in values if v.dtype.kind == "f"]
        pulled = sum(
            float(np.sum(g * (0.25 * v + 0.5)))
            for g, v in zip(tree_leaves(gradient), floats, strict=True)
        )
        np.testing.assert_allclose(float(pushed), pulled, 1e-9, 1e-9, err_msg=f"forward of {what}")


def _extents(case: Case) -> list[int]:
    return sorted({e for n in case.names for e in SHAPES[n]} - {1})


def _lengths(count: int, form: str) -> list[tuple[int, ...]]:
    """Return what the extents are, call after call: everything, or where each is compiled, some."""
    if form == "named":
        return list(itertools.product(LENGTHS, repeat=count))
    turns = [(0,), (1,), (0, 1), (1, 0), (3, 0), (0, 3)]
    found = [tuple(itertools.islice(itertools.cycle(t), count)) for t in turns]
    return list(dict.fromkeys(found))


def check(name: str) -> None:
    """Check one case: the unit that runs in a process of its own."""
    module, number, form = name.split()
    ours, theirs, cases = MODULES[module]
    case = cases[int(number)]
    extents = _extents(case)
    floats = _floats(arrays(case.names))
    run = _everything(lambda *values: case.value(ours, *values), floats)
    signature = ", ".join(case.names)
    named = eval(f"lambda {signature}: run({signature})", {"run": run})  # noqa: S307
    dims = {n: tuple(f"n{e}" if e > 1 else e for e in SHAPES[n]) for n in case.names}
    options: Any = {"dims": dims if form == "named" else None, "cache": False}
    compiled = cr.jit(named, **options)
    runs: list[Callable[..., Any]] = []

    def evaluated(*values: Any) -> Any:
        if not runs:
            runs.append(compiled.lower(*values).traced.run)
        return runs[-1](*values)

    for lengths in _lengths(len(extents), form):
        sizes = dict(zip(extents, lengths, strict=True))
        values = arrays(case.names, sizes)
        if form == "static":
            # Anew: at the second length of one function an extent becomes a dim.
            compiled = cr.jit(named, **options)
            runs.clear()
        meant = None if theirs is None else _meant(case, theirs, values)
        _call_once(compiled, evaluated, values, meant, f"{case} at {sizes}")


OTHERWISE: Final = {"m.squeeze(h)", "h.squeeze()"}
"What depends on extents being 1, which named ones are not even where they are."
REFUSED: Final = {"m.pad(x, 3, mode='wrap')"}
"What has a limit of its own, said in a message: more is wrapped than there is."


def parts() -> list[str]:
    """Return the name of every part of the sweep."""
    return [
        f"{module} {i} {form}"
        for module, (_, _, cases) in MODULES.items()
        for i, case in enumerate(cases)
        if case.text not in REFUSED
        for form in ("static", "named")
        if form == "static" or (case.named and case.text not in OTHERWISE)
    ]


SHARE: Final = 16


def test_a_share_of_the_functions() -> None:
    every = parts()
    found = failures(__name__, every[3 :: len(every) // SHARE])
    assert not found, "\n\n".join(f"{k}\n{v}" for k, v in found.items())


@pytest.mark.exhaustive
@pytest.mark.parametrize("block", range(20))
def test_every_function(block: int) -> None:
    found = failures(__name__, parts()[block::20])
    assert not found, "\n\n".join(f"{k}\n{v}" for k, v in found.items())
