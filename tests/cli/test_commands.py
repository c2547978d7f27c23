from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import chainrule as cr
from chainrule.cli import doctor
from chainrule.cli.app import app
from chainrule.cli.load import load, parse_spec

LOSS = """
import numpy as np
import chainrule as cr
import chainrule.numpy as cnp


def loss(params, x, y):
    return cnp.mean((x @ params["w"] - y) ** 2)


def loss_args():
    return {"w": np.ones(3)}, cr.spec(("batch", 3), "float64"), cr.spec(("batch",), "float64")


def plain(w, x):
    return cnp.sum((x @ w) ** 2)


number = 3
"""
runner = CliRunner()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "some_model.py"
    path.write_text(LOSS, "utf-8")
    return path


@pytest.mark.parametrize("command", ["demo", "explain", "export", "bench", "doctor"])
def test_every_command_has_help(command: str) -> None:
    result = runner.invoke(app, [command, "--help"])

    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_without_a_command_the_help_lists_them_all() -> None:
    output = runner.invoke(app, []).output

    assert all(name in output for name in ("demo", "explain", "export", "bench", "doctor"))


@pytest.mark.parametrize("missing", ["rich", "typer"])
def test_a_missing_extra_is_one_line_with_the_command(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from chainrule.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": ":".join(sys.path)},
    )

    assert result.returncode == 1
    assert result.stderr == (
        f'chainrule: {missing} is not installed; the command line needs the extra "cli": '
        'pip install "chainrule[cli]"\n'
    )


def test_explain_prints_the_derivative_in_each_notation(model: Path, tmp_path: Path) -> None:
    target, page = f"{model}:loss", tmp_path / "page.html"
    outputs = {
        notation: runner.invoke(app, ["explain", target, "--wrt", "params/w", "--as", notation])
        for notation in ("text", "latex", "mathml")
    }
    with_page = runner.invoke(app, ["explain", target, "--wrt", "params/w", "--html", str(page)])

    assert [result.exit_code for result in outputs.values()] == [0, 0, 0]
    assert len({result.output for result in outputs.values()}) == 3
    assert "<math" in outputs["mathml"].output
    assert with_page.exit_code == 0
    assert "<" in page.read_text("utf-8")


def test_explain_takes_described_arguments(model: Path) -> None:
    arguments = ["--arg", "f64[3]", "--arg", "f64[batch, 3]"]
    result = runner.invoke(app, ["explain", f"{model}:plain", "--wrt", "w", *arguments])

    assert result.exit_code == 0
    assert result.output.strip()


def test_export_writes_the_directory_named(model: Path, tmp_path: Path) -> None:
    arguments = ["--arg", "f64[3]", "--arg", "f64[8, 3]", "--out", str(tmp_path / "build")]
    result = runner.invoke(app, ["export", f"{model}:plain", *arguments])

    assert result.exit_code == 0, result.output
    assert any((tmp_path / "build").iterdir())


def test_bench_times_a_function_of_a_file(model: Path) -> None:
    result = runner.invoke(app, ["bench", f"{model}:loss", "--seconds", "0.01"])

    assert result.exit_code == 0, result.output
    assert "GFLOP/s" in result.output


def test_doctor_finds_all_well() -> None:
    result = runner.invoke(app, ["doctor"])

    assert result.exit_code == 0, result.output
    assert "value and gradient are right" in result.output


def test_doctor_fails_where_a_check_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(doctor.CHECKS, "versions", lambda: doctor.Finding(False, "no sympy"))
    result = runner.invoke(app, ["doctor"])

    assert result.exit_code == 1
    assert "no sympy" in result.output


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nothing", "'nothing' is not of the form FILE.py:FUNCTION"),
        ("missing.py:f", "there is no file missing.py"),
        ("{model}:absent", "has no function 'absent'; it defines loss, loss_args, plain"),
        ("{model}:number", "has no function 'number'"),
        ("{model}:plain", "plain has no arguments to be traced with"),
    ],
)
def test_a_target_that_cannot_be_loaded(model: Path, target: str, message: str) -> None:
    with pytest.raises(typer.BadParameter) as error:
        load(target.format(model=model), ())

    assert message in str(error.value)


@pytest.mark.parametrize("text", ["", "f32", "i8[3]", "f32[3", "x[3]"])
def test_a_description_that_is_no_array(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="does not describe an array"):
        parse_spec(text)


def test_descriptions_of_arrays() -> None:
    assert parse_spec("f32[batch, 8]") == cr.spec(("batch", 8), "float32")
    assert parse_spec(" float64[] ") == cr.spec((), "float64")
    assert parse_spec("f16[3]") == parse_spec("float16[3]") == cr.spec(3, "float16")
    assert parse_spec("bool[3,]") == cr.spec((3,), "bool")


def test_a_file_may_have_the_name_of_a_module_of_python(tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text("def f(x):\n    return x\n", "utf-8")
    before = sys.modules.get("random")

    assert load(f"{tmp_path / 'random.py'}:f", ["f64[]"]).function(3) == 3
    assert sys.modules.get("random") is before
