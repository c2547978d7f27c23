"""What the documentation prints is what the code prints."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from tests.replay.tape import recorded

from chainrule.ir.op import VectorMath
from chainrule.ops import OPS

DOCS = Path(__file__).parents[2] / "docs"
TABLE = tuple(OPS)
"The ops there are before a test or an example declares one."
PAGES = sorted(p for p in DOCS.rglob("*.md") if "```{doctest}" in p.read_text("utf-8"))


def extension(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / "_ext" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def code_of_the_pages(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The pages' modules can be imported, and what they declare is forgotten afterwards."""
    monkeypatch.syspath_prepend(str(DOCS / "code"))
    known = dict(OPS)
    yield
    for module in (DOCS / "code").glob("*.py"):
        sys.modules.pop(module.stem, None)
    for name in OPS.keys() - known.keys():
        OPS.pop(name)


@pytest.mark.usefixtures("code_of_the_pages")
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_blocks_print_what_the_page_shows(page: Path, golden: Callable[[str, str], None]) -> None:
    with recorded() as code:
        assert not extension("blocks").failures(page)
    golden(f"replay/page-{page.stem}", f"{code}\n")


def test_the_list_of_ops_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OPS.keys() - set(TABLE):
        monkeypatch.delitem(OPS, name)
    table = extension("ops_table")
    lines = [line for section in table.SECTIONS for line in table.table(section)]
    for name in TABLE:
        assert any(line.startswith(f"| `{name}` |") for line in lines), name


def test_error_budgets_are_those_of_the_table() -> None:
    text = (DOCS / "numerics.md").read_text("utf-8")
    listed = dict(re.findall(r"(?m)^\| `(\w+)` \| ([\d.]+ \| [\d.]+) \|$", text))
    for op in OPS.values():
        if isinstance(op.native, VectorMath):
            assert listed[op.name] == f"{op.native.ulp32} | {op.native.ulp64}"
