"""The doctest blocks of a page: run them, or write what they print now.

    python docs/_ext/blocks.py docs/how-it-works.md   # write the outputs anew, then read the diff

Blocks of one page share their names, as they do for a reader who types them in.
"""

from __future__ import annotations

import doctest
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

BLOCK: Final = re.compile(r"^```\{doctest\}\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FLAGS: Final = doctest.ELLIPSIS
CODE: Final = Path(__file__).parents[1] / "code"
"Where the pages' functions are: on the import path while blocks run."


def blocks(page: Path) -> Iterator[doctest.DocTest]:
    """Yield the blocks of a page as tests with line numbers of the file."""
    text = page.read_text("utf-8")
    names: dict[str, Any] = {"__name__": page.stem}
    parser = doctest.DocTestParser()
    for number, match in enumerate(BLOCK.finditer(text), 1):
        line = text.count("\n", 0, match.start(1))
        # Each has a name of its own: doctest finds the source of a frame by it.
        test = parser.get_doctest(match[1], names, f"{page.stem}-{number}", str(page), line)
        test.globs = names  # shared: get_doctest made a copy
        yield test


def failures(page: Path) -> str:
    """Run a page's blocks and return what differs; empty if nothing does."""
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    for test in blocks(page):
        runner.run(test, out=report.append, clear_globs=False)
    return "".join(report)


class _Recorder(doctest.DocTestRunner):
    """Keeps what each example printed."""

    def __init__(self) -> None:
        super().__init__(optionflags=FLAGS, verbose=False)
        self.printed: dict[tuple[int, int], str] = {}

    def report_failure(
        self, out: Any, test: doctest.DocTest, example: doctest.Example, got: str
    ) -> None:
        del out
        self.printed[(test.lineno or 0), example.lineno] = got

    def report_unexpected_exception(self, out: Any, test: Any, example: Any, exc_info: Any) -> None:
        del out
        super().report_unexpected_exception(sys.stderr.write, test, example, exc_info)
        raise SystemExit(1)


def refresh(page: Path) -> int:
    """Write the outputs that differ into the page; return how many."""
    lines = page.read_text("utf-8").splitlines(keepends=True)
    recorder = _Recorder()
    edits: list[tuple[int, int, str]] = []
    for test in blocks(page):
        recorder.run(test, out=lambda _text: None, clear_globs=False)
        for example in test.examples:
            got = recorder.printed.get((test.lineno or 0, example.lineno))
            if got is None:
                continue
            first = (test.lineno or 0) + example.lineno + example.source.count("\n")
            shown = re.sub(r"^[ \t]*$\n", "<BLANKLINE>\n", got, flags=re.MULTILINE)
            edits.append((first, first + example.want.count("\n"), shown))
    for first, end, shown in reversed(edits):
        lines[first:end] = [shown]
    page.write_text("".join(lines), "utf-8")
    return len(edits)


if __name__ == "__main__":
    sys.path.insert(0, str(CODE))
    for name in sys.argv[1:]:
        print(f"{name}: {refresh(Path(name))} outputs written")  # noqa: T201
