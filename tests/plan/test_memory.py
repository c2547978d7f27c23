"""The arena's plan: two live buffers never share a byte, whatever their sizes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np
import pytest

from chainrule.ir.dims import Extent, evaluate_extent, larger, named, smaller
from chainrule.plan import memory
from chainrule.plan.memory import Plan, Span, plan_memory

DIMS: Final = [{"n": n, "m": m} for n in (0, 1, 5, 64, 1000) for m in (0, 1, 7)]


def random_spans(seed: int, count: int, *, named_sizes: bool) -> list[Span]:
    random = np.random.default_rng(seed)
    n, m = named("n"), named("m")
    spans = []
    for i in range(count):
        size: Extent = int(random.choice([0, 1, 4, 63, 64, 65, 1000, 4096]))
        if named_sizes and random.uniform() < 0.6:
            choices: list[Extent] = [8 * n, 64 * n, 8 * n * m, 8 * n + 24, 4 * m, 128 * n * m]
            # Factors of either sign: a sum of terms with positive coefficients can be negative.
            down, up = n // 2, -n // 2
            choices += [
                8 * (n - up), 8 * (n + up), 8 * (down - up + m), 64 * n + 64, 8 * n + 8 * down,
                8 * smaller(n, m), 8 * larger(n, m), 8 * larger(n - m, 0), 8 * (n % 5),
                8 * down * n,
            ]  # fmt: skip
            size = choices[int(random.integers(len(choices)))]
        first = int(random.integers(count))
        length = int(random.integers(count) if random.uniform() < 0.2 else random.integers(4))
        spans.append(Span(f"{i:06d}", size, first, first + length))
    return spans


def assert_apart(spans: list[Span], plan: Plan, dims: dict[str, int]) -> None:
    total = evaluate_extent(plan.nbytes, dims)
    placed = []
    for span in spans:
        start = evaluate_extent(plan.offsets[span.name], dims)
        end = start + evaluate_extent(span.nbytes, dims)
        assert start % memory.ALIGN == 0
        assert 0 <= start <= end <= total
        placed.append((start, end, span))
    for i, (start, end, span) in enumerate(placed):
        for other_start, other_end, other in placed[:i]:
            if span.meets(other) and start < end and other_start < other_end:
                assert end <= other_start or other_end <= start, f"{span} and {other}"


@pytest.mark.parametrize("few", [0, 512])
@pytest.mark.parametrize("named_sizes", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_live_buffers_share_no_byte(
    seed: int, named_sizes: bool, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "FEW", few)
    spans = random_spans(seed, 60, named_sizes=named_sizes)
    plan = plan_memory(spans)
    for dims in DIMS if named_sizes else [{}]:
        assert_apart(spans, plan, dims)
    # The order in which buffers are listed does not matter.
    assert plan_memory(spans[::-1]) == plan


def test_short_lives_reuse_one_place() -> None:
    spans = [Span(f"{i:06d}", 640, i, i) for i in range(5000)]
    assert plan_memory(spans).nbytes == 640
    n = named("n")
    spans = [Span(f"{i:06d}", 64 * n, i, i) for i in range(5000)]
    assert plan_memory(spans).nbytes == 64 * n


def test_nested_lives_stack_up() -> None:
    count = 3000
    spans = [Span(f"{i:06d}", 64, i, 2 * count - i) for i in range(count)]
    assert plan_memory(spans).nbytes == 64 * count


def test_planning_thousands_of_buffers_is_not_quadratic() -> None:
    lines = []
    for count in (1000, 4000):
        spans = [Span(f"{i:06d}", 64 + 64 * (i % 7), i, 2 * count - i) for i in range(count)]
        lines.append(_lines_run(partial(plan_memory, spans)))
    # Four times as many buffers take about four times as long; quadratic is sixteen times.
    assert lines[1] < 6 * lines[0]


def _lines_run(work: Callable[[], object]) -> int:
    """Return how many lines of Python `work` runs: exact, unlike its seconds."""
    count = 0

    def trace(_frame: Any, event: str, _argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count
