"""Timing rivals fairly: in turns, in one process, as ratios within each round.

The machine's speed drifts, so a single time means little; the ratio of two times taken one right
after the other means more, and the median of many such ratios is what the benchmarks print.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

__all__ = ["Ratio", "interleaved"]


class Ratio(NamedTuple):
    """How much longer a rival takes than the first entry: median and quartiles over the rounds."""

    median: float
    low: float
    high: float
    microseconds: float

    def __str__(self) -> str:
        return f"{self.median:6.2f} ({self.low:.2f}-{self.high:.2f})"


def interleaved(
    entries: Mapping[str, Callable[[], object]], *, rounds: int = 21, seconds: float = 0.02
) -> dict[str, Ratio]:
    """Time each entry in each round, `seconds` long; return ratios to the first entry."""
    calls = {name: _calls_in(run, seconds) for name, run in entries.items()}
    times: dict[str, list[float]] = {name: [] for name in entries}
    for _ in range(rounds):
        for name, run in entries.items():
            count = calls[name]
            began = time.perf_counter()
            for _ in range(count):
                run()
            times[name].append((time.perf_counter() - began) / count)
    first = next(iter(entries))
    found = {}
    for name in entries:
        ratios = [a / b for a, b in zip(times[name], times[first], strict=True)]
        low, _, high = statistics.quantiles(ratios, n=4)
        found[name] = Ratio(
            statistics.median(ratios), low, high, 1e6 * statistics.median(times[name])
        )
    return found


def _calls_in(run: Callable[[], object], seconds: float) -> int:
    """Return how many calls take about `seconds`."""
    run()
    count = 1
    while True:
        began = time.perf_counter()
        for _ in range(count):
            run()
        taken = time.perf_counter() - began
        if taken > seconds / 4:
            return max(1, round(count * seconds / taken))
        count *= 2
