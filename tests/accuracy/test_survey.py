"""The survey's limits hold: a seeded share always, ten thousand points when asked for."""

from __future__ import annotations

import numpy as np
import pytest
from tests.accuracy.survey import SCALARS, Subject, measured, subjects

from chainrule.ir.op import VectorMath
from chainrule.ops import OPS

SUBJECTS = list(subjects())
SHARE = 10
"How many of the functions are looked at each time, and at how many points."
FEW = 60


def hold(subject: Subject, scalar: str, count: int, mode: str, more: float = 1.0) -> None:
    row, at = measured(subject, scalar, count, mode=mode), scalar == "double"
    assert row.value <= subject.values[at] * more, f"{subject.name}{row.value_at}"
    assert row.slope <= subject.slopes[at] * more, f"slope of {subject.name}{row.slope_at}"


def share() -> list[tuple[Subject, str]]:
    random = np.random.default_rng(7)
    picked = random.choice(len(SUBJECTS), SHARE, replace=False)
    return [(SUBJECTS[i], SCALARS[k % 2]) for k, i in enumerate(picked)]


@pytest.mark.parametrize(("subject", "scalar"), share(), ids=lambda v: getattr(v, "name", v))
def test_some_functions_are_within_their_limits(subject: Subject, scalar: str) -> None:
    hold(subject, scalar, FEW, "fast")


@pytest.mark.exhaustive
@pytest.mark.parametrize("mode", ["fast", "strict", "reproducible"])
@pytest.mark.parametrize("scalar", SCALARS)
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda s: s.name)
def test_every_function_is_within_its_limits(subject: Subject, scalar: str, mode: str) -> None:
    # Without fused multiply-add errors grow a little.
    hold(subject, scalar, 10_000, mode, 1.25 if mode == "reproducible" else 1.0)


def test_every_function_of_the_vector_mathematics_is_surveyed() -> None:
    ours = {op.name for op in OPS.values() if isinstance(op.native, VectorMath)}
    assert ours <= {s.name for s in SUBJECTS}
