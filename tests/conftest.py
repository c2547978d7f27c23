"""Fixtures that several folders of tests share."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write tests/golden anew")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark cases of the tests that are marked `share`, all but one in so many.

    `share(n)`: of the others every second n-th is broad, or m in n by `share(n, broad=m)`; the
    rest are exhaustive.
    """
    cases: dict[object, list[pytest.Item]] = {}
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker("share"):
            cases.setdefault(item.function, []).append(item)
    for same in cases.values():
        mark = same[0].get_closest_marker("share")
        assert mark is not None, "that is what was looked for"
        for i, item in enumerate(sorted(same, key=lambda one: one.nodeid)):
            n, most = mark.args[0], mark.kwargs.get("broad")
            broad = i % n <= most if most is not None else i % (2 * n) == 1
            if i % n:
                item.add_marker(pytest.mark.broad if broad else pytest.mark.exhaustive)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare text with tests/golden/<name>.txt, or write it there under --update-golden."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / f"{name}.txt"
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} is missing: run pytest --update-golden and read the change"
        assert text == path.read_text(encoding="utf-8")

    return check


def pytest_collection_finish() -> None:
    """Leave the tests themselves, hundreds of megabytes of objects, to no garbage collection."""
    gc.collect()
    gc.freeze()
