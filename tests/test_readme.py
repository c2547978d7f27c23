"""The README's example runs as it stands there, and its commands are what the project offers."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def block(after: str, language: str) -> str:
    match = re.search(rf"<!-- {after} -->\n```{language}\n(.*?)```", README, re.DOTALL)
    assert match is not None
    return match[1]


def test_the_example_prints_what_stands_below_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    # A file of its own, so that the formula finds the names it gives to its variables.
    path = tmp_path / "example.py"
    path.write_text(block("example: begin", "python"), "utf-8")
    exec(compile(path.read_text("utf-8"), str(path), "exec"), {"__name__": "example"})  # noqa: S102

    assert capsys.readouterr().out == block("output", "text")


def test_the_commands_name_extras_that_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    commands = re.findall(r"<!-- command: (\w+) -->\n```sh\n(.*?)\n```", README)

    assert [name for name, _ in commands] == ["demo", "test"]
    for _, command in commands:
        (extra,) = re.findall(r'"\.\[(\w+)\]"', command)
        assert extra in project["optional-dependencies"]
