from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
from tests.package.c_program import needs_gcc
from tests.package.test_c import batches, first, make_step

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.package import export

pytestmark = needs_gcc

# Python without its site: neither an installed chainrule nor an editable one can be imported.
ALONE = """
import sys
sys.path[:0] = [{numpy!r}, {folder!r}]
sys.modules.update(dict.fromkeys(("chainrule", "chainrule_runtime", "llvmlite", "sympy")))
import numpy as np
from digits_step import digits_step, selftest
assert selftest() == 3

with np.load("given.npz") as given:
    leaves = [given[f"leaf{{i}}"] for i in range(13)]
    batches = [(given[f"x{{i}}"], given[f"y{{i}}"]) for i in range(4)]
names = ("W1", "W2", "b1", "b2")
params, mean, square = (dict(zip(names, leaves[i : i + 4])) for i in (0, 5, 9))
state = {{"count": leaves[4], "mean": mean, "square": square}}
losses = []
for x, y in batches:
    new, state, loss = digits_step(params, state, x=x, y=y)
    assert all(new[k] is params[k] for k in names) and state.count is leaves[4]
    losses.append(loss)
np.savez("got.npz", *losses, *leaves)
try:
    digits_step(params, state, x[:, :5], y)
except ValueError as error:
    print(error)
for name in ("chainrule", "chainrule_runtime"):
    try:
        __import__(name)
    except ImportError:
        continue
    raise SystemExit(f"{{name}} was imported")
"""


def imported(folder: Path, name: str) -> ModuleType:
    """Import the module of an export under a name of its own, as part of a package."""
    package = f"exported_{folder.name}_{name}"
    spec = importlib.util.spec_from_file_location(
        package, folder / f"{name}.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[package] = module
    spec.loader.exec_module(module)
    return module


def test_the_loader_trains_to_the_bits_of_the_jit_where_chainrule_is_missing(
    tmp_path: Path,
) -> None:
    step, (params, state) = make_step(), first()
    export(step, args=(params, state, *batches()[0]), path=tmp_path / "out", selftest=3)
    given = {f"leaf{i}": a for i, a in enumerate(cr.tree_leaves((params, state)))}
    for i, (x, y) in enumerate(batches()):
        given |= {f"x{i}": x, f"y{i}": y}
    np.savez(tmp_path / "given.npz", **given)
    code = ALONE.format(numpy=str(Path(np.__file__).parents[1]), folder=str(tmp_path / "out"))

    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        capture_output=True, text=True, check=False, cwd=tmp_path, env={},
    )  # fmt: skip

    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [
        "argument x has the wrong shape", "  expected  (batch, 12)", "  got       (70, 5)",
    ]  # fmt: skip
    losses = []
    for x, y in batches():
        params, state, value = step(params, state, x, y)
        losses.append(value)
    with np.load(tmp_path / "got.npz") as got:
        for i, expected in enumerate([*losses, *cr.tree_leaves((params, state))]):
            assert got[f"arr_{i}"].tobytes() == np.asarray(expected).tobytes()


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclass
class Model:
    weight: Any
    parts: Any


def test_arguments_and_results_nest_as_in_the_function(tmp_path: Path) -> None:
    def mix(model: Model, *rest: Any) -> Any:
        total = model.weight @ model.parts.left + rest[0]
        return Model(total, Pair(None, [total, {2: rest[0], 3: model.parts.right}]))

    w, left, right, extra = np.eye(3) * 2, np.ones(3), np.array(True), np.array(0.5)
    export(mix, args=(Model(w, Pair(left, right)), extra), path=tmp_path)
    mix_ = imported(tmp_path, "mix").mix

    for model in (
        Model(w, Pair(left, right)), (w, (left, right)),
        {"weight": w, "parts": {"left": left, "right": right}},
    ):  # fmt: skip
        result = mix_(model, 0.5)
        assert type(result).__name__ == "Model"
        assert result.weight.tolist() == [2.5, 2.5, 2.5]
        none, (again, inner) = result.parts
        assert none is None
        assert again.tolist() == [2.5, 2.5, 2.5]
        assert {k: v.item() for k, v in inner.items()} == {2: 0.5, 3: True}
    again = mix_({"weight": w, "parts": (left, right)}, 0.5, out=result)
    assert again is result


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({"w": 1.0},), "got the wrong arguments"),
        (({"v": 1.0}, (1.0, 2.0)), "params has another structure"),
        (({"w": 1.0}, (1.0,)), "expected  a tuple of 2"),
        (({"w": 1.0}, [1.0, 2.0]), "got       a list of 2"),
        ((3.0, (1.0, 2.0)), "got       a float"),
        (({"w": "1"}, (1.0, 2.0)), "argument params/w is not an array"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, arguments: Any, message: str) -> None:
    @cr.jit(static_argnames="mode")
    def fitted(params: Any, mode: str, pair: Any) -> Any:
        return params["w"] * pair[0] + pair[1] if mode == "line" else params["w"]

    export(fitted, args=({"w": 1.0}, "line", (1.0, 2.0)), path=tmp_path)
    module = imported(tmp_path, "fitted")

    assert module.fitted({"w": 3.0}, pair=(2.0, 1.0)) == 7.0
    with pytest.raises(module.ChainruleError) as error:
        module.fitted(*arguments)
    assert message in str(error.value)


def test_errors_of_the_kernel_reach_python(tmp_path: Path) -> None:
    export(lambda t, i: t[i], args=(np.zeros(3), cr.spec("k", "i8")), path=tmp_path, name="rows")
    module = imported(tmp_path, "rows")

    assert module.rows(np.arange(3.0), np.array([2, -1])).tolist() == [2.0, 2.0]
    with pytest.raises(module.ChainruleError, match=r"rows\(\) failed while it ran"):
        module.rows(np.arange(3.0), np.array([3]))


def test_a_gradient_is_exported_like_any_function(tmp_path: Path) -> None:
    slope = cr.value_and_grad(lambda x, scale: cnp.sum(cnp.sin(x * scale)))
    x = np.linspace(0.0, 1.0, 5)
    report = export(slope, args=(cr.spec("n"), 2.0), path=tmp_path, name="slope", selftest=4)
    module = imported(tmp_path, "slope")

    assert module.selftest() == 4
    assert module.slope.arena_bytes(n=5) == report.arena_bytes(n=5)
    for got, expected in zip(module.slope(x, 2.0), slope(x, 2.0), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-14)


@dataclass
class Line:
    slope: Any

    @cr.jit
    def at(self, x: Any) -> Any:
        return self.slope * x


def test_a_method_takes_its_object_as_an_argument(tmp_path: Path) -> None:
    line = Line(np.array(2.0))
    export(line.at, args=(cr.spec("n"),), path=tmp_path, name="line")

    assert imported(tmp_path, "line").line(Line(np.array(3.0)), np.ones(2)).tolist() == [3.0, 3.0]


def test_a_self_test_sees_a_wrong_bit(tmp_path: Path) -> None:
    export(lambda x: x * 3.0, args=(cr.spec("n"),), path=tmp_path, name="triple", selftest=2)
    module, path = imported(tmp_path, "triple"), tmp_path / "triple_selftest.npz"
    with np.load(path) as data:
        samples = dict(data)
    samples["1.out.0"] = np.nextafter(samples["1.out.0"], 9)
    np.savez(path, **samples)

    with pytest.raises(module.ChainruleError, match="sample  1"):
        module.selftest()
    path.unlink()
    with pytest.raises(module.ChainruleError, match="exported without samples"):
        module.selftest()


def test_a_processor_without_the_features_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(lambda x: x * 3.0, args=(cr.spec("n"),), path=tmp_path, name="triple")
    module = imported(tmp_path, "triple")
    loader = sys.modules[type(module.triple).__module__]
    needs = module.triple.manifest["target"]["needs"]
    old = tmp_path / "cpuinfo"
    old.write_text(f"flags\t\t: fpu {' '.join(needs[1:])}\n")
    monkeypatch.setattr(loader, "CPUINFO", old)

    with pytest.raises(module.ChainruleError, match=f"without {needs[0]}"):
        type(module.triple)(tmp_path, "triple")
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(module.ChainruleError, match="this machine  riscv64"):
        type(module.triple)(tmp_path, "triple")


def test_the_manifest_in_the_library_is_that_of_the_file(tmp_path: Path) -> None:
    export(lambda x: x * 3.0, args=(cr.spec("n"),), path=tmp_path, name="triple")
    module = imported(tmp_path, "triple")
    written = json.loads((tmp_path / "manifest.json").read_text())

    assert {k: written[k] for k in module.triple.manifest} == module.triple.manifest
    assert set(written) - set(module.triple.manifest) == {"sizes", "files"}
    assert str(tmp_path) not in json.dumps(written)


def test_a_later_export_replaces_an_earlier_one_in_use(tmp_path: Path) -> None:
    modules = []
    for factor in (2.0, 3.0):
        export(lambda x, f=factor: x * f, args=(cr.spec("n"),), path=tmp_path, name="scaled")
        modules.append(imported(tmp_path, "scaled").scaled)

    assert [f(np.ones(1)).item() for f in modules] == [2.0, 3.0]
