from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.package.c_program import needs_gcc

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.errors import ExportError
from chainrule.link.jit import object_code
from chainrule.link.target import host
from chainrule.package import export
from chainrule.package.elf import read_object
from chainrule.package.names import c_extent, c_names, c_string


def tripled(x: Any) -> Any:
    return x * 3.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"targets": ["vax"]},
            "there is no target 'vax'\n  targets  host\n  later    linux-aarch64",
        ),
        ({"targets": ("host", "wasm32")}, "no code for wasm32 yet"),
        ({"targets": []}, "targets is empty"),
        ({"numerics": "sloppy"}, "there is no numerics mode 'sloppy'"),
        ({"optimize": "size"}, "optimize='size' does not exist yet"),
        ({"selftest": -1}, "selftest is a number of samples"),
        ({"name": "3d"}, "'3d' cannot be the name of a new function"),
        ({"name": "class"}, "'class' cannot be the name of a new function"),
        ({"name": "exp"}, "'exp' cannot be the name of a new function"),
        ({"args": cr.spec("n")}, "args is the tuple of positional arguments"),
    ],
)
def test_options_that_cannot_be_are_refused_and_nothing_is_written(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ExportError) as error:
        export(tripled, **{"args": (cr.spec("n"),), "path": tmp_path / "out", **options})

    assert message in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_budget_below_the_arena_is_refused(tmp_path: Path) -> None:
    def far(x: Any) -> Any:
        return cnp.tanh(x @ x.T) @ x

    roomy = export(far, args=(np.ones((64, 4)),), path=tmp_path, memory_budget=1 << 20)
    assert isinstance(roomy.arena, int)
    assert roomy.arena > 64
    with pytest.raises(ExportError, match=rf"arena   {roomy.arena} bytes\n  budget  64 bytes"):
        export(far, args=(np.ones((64, 4)),), path=tmp_path, memory_budget=64)
    named = cr.jit(far, dims={"x": ("n", 4)}, memory_budget=64)
    with pytest.raises(ExportError, match=r"bytes, \d+ at n = 64"):
        export(named, args=(np.ones((64, 4)),), path=tmp_path)


def test_code_that_needs_a_library_is_found_out() -> None:
    text = (
        "declare double @llvm.sin.f64(double)\n"
        "define i64 @f(ptr %a.x) {\nentry:\n"
        "  %v = load double, ptr %a.x\n  %s = call double @llvm.sin.f64(double %v)\n"
        "  store double %s, ptr %a.x\n  ret i64 0\n}\n"
    )
    found = read_object(object_code(text, host(), jit=False))

    assert found.undefined == ("sin",)
    assert found.defined == ("f",)
    assert found.text > 0
    with pytest.raises(ExportError, match="object files cannot be exported yet"):
        read_object(b"MZ\x90\x00 something else")


def test_a_library_call_left_in_the_code_fails_the_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "declare void @puts()\ndefine void @f() {\n  call void @puts()\n  ret void\n}\n"
    code = object_code(text, host(), jit=False)
    monkeypatch.setattr("chainrule.package.exporting.object_code", lambda *_, **__: code)

    with pytest.raises(ExportError, match="undefined  puts"):
        export(tripled, args=(cr.spec("n"),), path=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@needs_gcc
def test_the_report_is_true_and_reads_as_a_table(tmp_path: Path) -> None:
    report = export(tripled, args=(cr.spec("n"),), path=tmp_path, debug=True)
    written = {str(f.relative_to(tmp_path)): f for f in tmp_path.rglob("*") if f.is_file()}

    assert {name: f.stat().st_size for name, f in written.items()} == dict(report.files)
    digests = json.loads((tmp_path / "manifest.json").read_text())["files"]
    assert digests == {
        name: f"sha256:{hashlib.sha256(f.read_bytes()).hexdigest()}"
        for name, f in written.items() if name != "manifest.json"
    }  # fmt: skip
    sizes = read_object((tmp_path / "tripled.o").read_bytes())
    assert (report.text, report.constants, report.data) == (sizes.text, sizes.constants, 0)
    assert "define" in written["tripled.ll"].read_text()
    assert report.notes == ()
    lines = str(report).splitlines()
    assert lines[0].startswith("tripled for ")
    assert any(line.split()[:1] == ["libtripled.so"] for line in lines)


@needs_gcc
def test_the_same_function_gives_the_same_files(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        export(tripled, args=(cr.spec("n"),), path=tmp_path / folder, selftest=2)
    files = [f.relative_to(tmp_path / "a") for f in (tmp_path / "a").rglob("*") if f.is_file()]

    assert len(files) > 5
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_without_a_c_compiler_the_rest_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    report = export(tripled, args=(cr.spec("n"),), path=tmp_path)

    assert "no C compiler found" in str(report)
    assert {"tripled.o", "tripled.h"} <= set(report.files)
    assert "libtripled.so" not in report.files


def test_the_numerics_are_those_of_the_jitted_function(tmp_path: Path) -> None:
    def mode(fn: Any, **options: Any) -> Any:
        export(fn, args=(cr.spec("n"),), path=tmp_path, name="f", **options)
        return json.loads((tmp_path / "manifest.json").read_text())["numerics"]

    strict = cr.jit(tripled, numerics="strict")
    assert mode(tripled) == "fast"
    assert mode(strict) == "strict"
    assert mode(strict, numerics="reproducible") == "reproducible"


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="the files cannot be written"):
        export(tripled, args=(cr.spec("n"),), path=tmp_path / "file")


def test_names_of_paths_are_distinct_identifiers() -> None:
    paths = ["a b", "a_b", "int", "", "0/W", "ä", "x/*", "_x", "a b_2"]

    assert c_names(paths, "r") == [
        "a_b",
        "a_b_2",
        "int_",
        "r",
        "r_0_W",
        "r_2",
        "x",
        "x_2",
        "a_b_2_2",
    ]


def test_extents_and_strings_read_in_c_as_they_do_here() -> None:
    n = ("dim", 0)
    rest = c_extent(("mod", n, ("mul", ("const", 2), n)), ["n"])
    assert rest == "((n % (2 * n) + (2 * n)) % (2 * n))"
    assert c_extent(("floordiv", n, ("const", 3)), ["n"]) == "((n / 3) - (n % 3 < 0))"
    assert c_extent(("max", ("add", n, ("const", -1)), ("const", 0)), ["n"]) == (
        "((n + (-1)) > 0 ? (n + (-1)) : 0)"
    )
    assert c_string('a "b"\\\n??/') == '"a \\"b\\"\\\\\\n\\?\\?/"'
