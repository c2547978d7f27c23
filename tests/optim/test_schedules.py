from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from chainrule import optim

SCHEDULES = {
    "constant": optim.constant(0.1),
    "cosine": optim.cosine(0.1, 100, 0.2),
    "warmup_cosine": optim.warmup_cosine(0.01, 0.1, 10, 110, 0.001),
    "warmup_cosine without warmup": optim.warmup_cosine(0.0, 0.1, 0, 100),
    "exponential": optim.exponential(0.1, 10, 0.5),
    "staircase": optim.exponential(0.1, 10, 0.5, staircase=True),
    "piecewise": optim.piecewise(1.0, {20: 0.1, 10: 0.5}),
}
EXPECTED = {
    "constant": {0: 0.1, 1000: 0.1},
    "cosine": {0: 0.1, 50: 0.06, 100: 0.02, 1000: 0.02},
    "warmup_cosine": {0: 0.01, 5: 0.055, 10: 0.1, 60: 0.0505, 110: 0.001, 1000: 0.001},
    "warmup_cosine without warmup": {0: 0.1, 50: 0.05, 100: 0.0},
    "exponential": {0: 0.1, 5: 0.1 * math.sqrt(0.5), 10: 0.05, 30: 0.0125},
    "staircase": {0: 0.1, 9: 0.1, 10: 0.05, 39: 0.0125},
    "piecewise": {0: 1.0, 9: 1.0, 10: 0.5, 19: 0.5, 20: 0.05, 1000: 0.05},
}


@pytest.mark.parametrize("make", [int, np.int32, lambda n: np.array(n, np.int32)])
@pytest.mark.parametrize("name", SCHEDULES)
def test_values_at_known_steps(name: str, make: Any) -> None:
    for count, value in EXPECTED[name].items():
        assert float(SCHEDULES[name](make(count))) == pytest.approx(value, rel=1e-12, abs=1e-16)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="cosine changes over a positive number of steps, not 0"):
        optim.cosine(0.1, 0)
    with pytest.raises(ValueError, match="exponential changes over a positive number"):
        optim.exponential(0.1, -1, 0.5)
    with pytest.raises(ValueError, match="positive factor, not 0"):
        optim.exponential(0.1, 10, 0)
    with pytest.raises(ValueError, match="rises for 10 steps and ends at step 10"):
        optim.warmup_cosine(0.0, 0.1, 10, 10)
