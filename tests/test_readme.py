"""The README's example runs as it stands there, and its commands are what the project offers."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_the_example_runs_and_learns(capsys: pytest.CaptureFixture[str]) -> None:
    match = re.search(r"<!-- example: begin -->\n```python\n(.*?)```", README, re.DOTALL)
    assert match is not None
    source = compile(match[1], "README.md", "exec")
    exec(source, {"__name__": "example"})  # noqa: S102

    first, *formula = capsys.readouterr().out.splitlines()
    assert first == "True 1"
    assert "W1" in "".join(formula)


def test_the_commands_name_extras_that_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    commands = re.findall(r"<!-- command: (\w+) -->\n```sh\n(.*?)\n```", README)

    assert [name for name, _ in commands] == ["demo", "test"]
    for _, command in commands:
        (extra,) = re.findall(r'"\.\[(\w+)\]"', command)
        assert extra in project["optional-dependencies"]
