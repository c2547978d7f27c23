"""Every optional parameter of NumPy's works as NumPy's does, or is refused by its name."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tests.array_functions.cases import CASES, Case, arrays
from tests.array_functions.test_values import assert_same

import chainrule.numpy as cnp
from chainrule.errors import ChainruleError
from chainrule.frontend.trace import trace

UFUNC = ("out", "where", "casting", "order", "dtype", "subok")
# Values that mean something for most functions; where NumPy refuses one, it is not tried.
VALUES: dict[str, tuple[str, ...]] = {
    "out": ("np.full((4, 5), 0.5)", "None"), "where": ("b", "True", "np.array([1, 0, 1, 1, 0]) > 0"),  # noqa: E501
    "casting": ("'unsafe'", "'same_kind'"), "order": ("'F'", "'C'", "'K'"),
    "dtype": ("np.float32", "np.float64", "np.int64", "bool"), "subok": ("False", "True"),
    "device": ("'cpu'", "None"), "like": ("None",), "keepdims": ("True", "False"),
    "axis": ("0", "-1", "(0, 1)", "None"), "initial": ("0.5", "3", "-2.0"), "ddof": ("1", "0.5"),
    "mean": ("np.full((1, 1), 0.25)", "0.5"), "correction": ("1", "0"), "copy": ("True", "False"),
    "prepend": ("0.5", "y"), "append": ("1.5", "y[:, :2]"), "n": ("2", "0"), "k": ("1", "-2"),
    "M": ("3",), "N": ("3",), "offset": ("1", "-1"), "axis1": ("1",), "axis2": ("0",),
    "increasing": ("True",), "endpoint": ("False",), "retstep": ("True",), "base": ("2.0",),
    "num": ("4",), "decimals": ("1", "-1"), "mode": ("'clip'", "'wrap'", "'raise'"),
    "indexing": ("'ij'",), "sparse": ("True",), "rtol": ("0.5",), "atol": ("0.1",),
    "equal_nan": ("True",), "nan": ("2.0",), "posinf": ("3.0",), "neginf": ("-3.0",),
    "returned": ("True",), "weights": ("p",), "dx": ("0.5",), "include_initial": ("True",),
    "optimize": ("True", "False"), "axes": ("(1, 0)",), "shift": ("2",), "start": ("1",),
    "ord": ("1", "np.inf"), "upper": ("True",), "a_min": ("-0.5",), "a_max": ("0.5",),
    "min": ("-0.5",), "max": ("0.5",), "ndmin": ("3",), "ndmax": ("1",), "stop": ("9",),
    "step": ("2",), "shape": ("(2, 10)",), "newshape": ("(2, 10)",), "reps": ("3",), "m": ("3",),
    "fill_value": ("2.0",), "constant_values": ("1.0",), "left": ("0.0",), "strict": ("True",),
    "axisa": ("0",), "axisb": ("0",), "axisc": ("0",), "x": ("v",), "sections": ("2",),
    "cond": ("b",), "y": ("y",), "hermitian": ("True",), "kwargs": ("1",), "signature": ("None",),
    "destination": ("0",), "rcond": ("1e-3",), "outer_axis": ("0",),
}  # fmt: skip
SKIPPED = {"args", "kwargs", "self", "einsum_call"}


def functions() -> Iterator[tuple[str, Any, str, list[str]]]:
    """Yield a name, NumPy's function, a call of it on x, and its optional parameters."""
    seen: set[str] = set()
    for case in CASES:
        found = re.fullmatch(r"m\.((?:linalg\.)?\w+)\((.*)\)", case.text)
        if found is None or found[1] in seen or "x" not in case.names or "at[" in case.text:
            continue
        function = eval(f"np.{found[1]}")  # noqa: S307
        if found[2].count("(") != found[2].count(")") or ")." in case.text:
            continue
        seen.add(found[1])
        yield found[1], function, found[2], optional(function)


def optional(function: Any) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return list(UFUNC) if isinstance(function, np.ufunc) else []
    return [
        p.name for p in parameters
        if p.default is not p.empty and p.kind is not p.POSITIONAL_ONLY and p.name not in SKIPPED
    ]  # fmt: skip


CALLS = [
    (f"m.{name}({given}, {option}={value})", option)
    for name, _, given, options in functions()
    for option in options
    if f"{option}=" not in given
    for value in VALUES.get(option, ("None",))
]


def test_there_are_values_for_every_parameter() -> None:
    unknown = {o for _, _, _, options in functions() for o in options} - VALUES.keys()
    assert unknown == set()
    assert len(CALLS) > 900


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("option", sorted({option for _, option in CALLS}))
def test_an_option_works_as_numpys_or_is_refused_by_name(option: str) -> None:
    failed = []
    for text, _ in (c for c in CALLS if c[1] == option):
        case = Case(text)
        values = arrays(case.names)
        try:
            with np.errstate(all="ignore"):
                expected = case.value(np, *[v.copy() for v in values])
        except Exception:  # noqa: BLE001, S112  (NumPy refuses it, whatever it says)
            continue
        try:
            program = trace(lambda *given, case=case: case.value(cnp, *given), *values)
            with np.errstate(all="ignore"):
                got = program.run(*values)
            if not (option == "where" and "where=True" not in text and "initial" not in text):
                assert_same(got, expected, 2e-6 if "float32" in text else 1e-12)
            elif not re.match(r"m\.(sum|prod|max|min|amax|amin|any|all|mean|var|std|nan)", text):
                failed.append(f"{text}: taken, but what is left out has no value")
        except ChainruleError as error:
            if option not in str(error):
                failed.append(f"{text}: {type(error).__name__} {error}"[:300])
        except (AssertionError, Exception) as error:  # noqa: BLE001
            failed.append(f"{text}: {type(error).__name__} {error}"[:300])
    assert not failed, "\n".join(failed)
