"""Arrays of 16 bits as users meet them: promotion, calls, results, layers, exports, messages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule import nn, random
from chainrule.frontend.pytree import tree_leaves

pytest.importorskip("ml_dtypes")

BF16 = np.dtype(cnp.bfloat16)
HALVES = [np.dtype(np.float16), BF16]
X = np.linspace(-2, 2, 12).reshape(3, 4)


@pytest.mark.parametrize("half", HALVES, ids=str)
@pytest.mark.parametrize(
    ("other", "common"),
    [
        (1, None), (2.5, None), (True, None), (np.uint8, None), (np.bool_, None),
        (np.float32, np.float32), (np.float64, np.float64), (np.int32, np.float64),
        (np.int64, np.float64), (np.uint32, np.float64),
    ],
)  # fmt: skip
def test_promotion(half: Any, other: Any, common: Any) -> None:
    y = other if isinstance(other, int | float) else np.ones(4, other)
    x = X.astype(half)
    results = cr.jit(lambda x, y: (x * y, cnp.where(x > 0, x, y), y * x))(x, y)
    assert {r.dtype for r in results} == {np.dtype(common or half)}
    assert cr.jit(lambda x: cnp.concatenate([x, x[:1]]))(x).dtype == half


def test_one_half_with_the_other_makes_float32() -> None:
    a, b = X.astype(np.float16), X.astype(BF16)
    results = cr.jit(lambda a, b: (a + b, cnp.concatenate([a, b]), cnp.maximum(b, a)))(a, b)
    assert {r.dtype for r in results} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(results[0], a.astype(np.float32) + b.astype(np.float32))


def test_what_numpy_computes_in_float16_of_small_integers() -> None:
    found = cr.jit(np.sqrt)(np.arange(250, dtype=np.uint8))
    expected = np.sqrt(np.arange(250, dtype=np.uint8))
    assert found.dtype == expected.dtype == np.float16
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("half", HALVES, ids=str)
def test_conversions_by_name(half: Any) -> None:
    @cr.jit
    def f(x: Any) -> Any:
        y = x.astype(half.name)
        return y, y.astype("float32"), y.astype(int), cnp.zeros((2, 2), half.name) + y[0, 0]

    x = X.astype(np.float32)
    y, wide, whole, zeros = f(x)
    assert [a.dtype for a in (y, zeros)] == [half, half]
    np.testing.assert_array_equal(y, x.astype(half))
    np.testing.assert_array_equal(wide, x.astype(half).astype(np.float32))
    np.testing.assert_array_equal(whole, np.trunc(wide).astype(np.int64))


@pytest.mark.parametrize("half", HALVES, ids=str)
def test_specs_and_named_dims(half: Any) -> None:
    assert cr.spec(("n", 4), half.name) == cr.spec(("n", 4), half)
    compiled = cr.jit(lambda x: cnp.tanh(x) * 2, dims={"x": ("n", 4)})
    for n in (0, 1, 15, 16, 33):
        x = np.linspace(-2, 2, 4 * n).reshape(n, 4).astype(half)
        expected = (np.tanh(x.astype(np.float32)) * 2).astype(half).astype(np.float32)
        found = compiled(x).astype(np.float32)
        np.testing.assert_allclose(found, expected, rtol=2.0**-7, atol=0)


@pytest.mark.parametrize("half", HALVES, ids=str)
def test_the_native_entry_takes_and_makes_them(half: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    f = cr.jit(lambda x, y: {"sum": x + y, "first": x[0]})
    x = X.astype(half)
    f(x, x)
    monkeypatch.setattr(type(f), "_call_slowly", None)
    found = f(x, x)
    assert found["sum"].dtype is np.dtype(half.name)
    np.testing.assert_array_equal(found["first"], x[0])
    out = {"sum": np.empty_like(x), "first": np.empty_like(x[0])}
    assert f(x, x, out=out)["sum"] is out["sum"]


@pytest.mark.parametrize("half", HALVES, ids=str)
def test_other_dtypes_compile_anew_and_layouts_are_copied(half: Any) -> None:
    f = cr.jit(lambda x: x * 3)
    for x in (X.astype(half), X.astype(np.float32), X.astype(half).T, X.astype(half)[::2]):
        found = f(x)
        assert found.dtype == x.dtype
        wide = (x.astype(np.float32) * 3).astype(x.dtype)
        np.testing.assert_array_equal(found, wide)


@pytest.mark.parametrize("half", HALVES, ids=str)
def test_donated_arrays_are_updated_in_place(half: Any) -> None:
    f = cr.jit(lambda w, g: w - 0.5 * g, donate_argnames=("w",))
    w, g = X.astype(half), np.ones_like(X).astype(half)
    expected = (X.astype(half).astype(np.float32) - 0.5).astype(half)
    assert f(w, g) is w
    np.testing.assert_array_equal(w, expected)


def test_arrays_from_elsewhere() -> None:
    jnp = pytest.importorskip("jax.numpy")
    found = cr.jit(lambda x: x * 2)(jnp.ones(3, jnp.bfloat16))
    assert found.dtype == BF16


@pytest.mark.parametrize("half", HALVES, ids=str)
def test_averages_do_not_overflow(half: Any) -> None:
    x = np.full(100_000, 100.0).astype(half)
    mean, var, std, nanmean = cr.jit(lambda x: (x.mean(), x.var(), x.std(), cnp.nanmean(x)))(x)
    assert [a.dtype for a in (mean, var, std, nanmean)] == [half] * 4
    assert [float(a) for a in (mean, var, std, nanmean)] == [100, 0, 0, 100]
    big = cr.jit(cnp.nan_to_num)(np.array([np.inf, -np.inf, np.nan]).astype(half))
    assert np.isfinite(big.astype(np.float32)).all()
    assert float(big[0]) == -float(big[1])
    with np.errstate(all="ignore"):
        assert np.isinf((big[:1].astype(np.float64) * 1.01).astype(half)).all()


@pytest.mark.parametrize("half", HALVES, ids=str)
def test_random_numbers(half: Any) -> None:
    key = random.key(0)
    draw = cr.jit(
        lambda key: (random.uniform(key, (5000,), half), random.normal(key, (5000,), half))
    )
    u, n = draw(key)
    assert u.dtype == n.dtype == half
    assert (u.astype(np.float32) < 1).all()
    assert (u.astype(np.float32) >= 0).all()
    assert abs(u.astype(np.float32).mean() - 0.5) < 0.02
    assert abs(n.astype(np.float32).std() - 1) < 0.05
    np.testing.assert_array_equal(u, random.uniform(key, (5000,), half))


@pytest.mark.parametrize("half", HALVES, ids=str)
def test_layers(half: Any) -> None:
    model = nn.MLP.init(random.key(0), (4, 8, 2), dtype=half)
    assert {leaf.dtype for leaf in tree_leaves(model)} == {half}
    found = cr.jit(lambda model, x: nn.softmax(model(x)))(model, X.astype(half))
    assert found.dtype == half
    np.testing.assert_allclose(found.astype(np.float32).sum(axis=1), 1, atol=0.01)


@pytest.mark.parametrize("half", HALVES, ids=str)
def test_gathers_and_scatters(half: Any) -> None:
    table, index = X.astype(half), np.array([2, 0, 2, -1])

    def f(table: Any) -> Any:
        return cnp.sum(table[index] * 0.125)

    found = cr.jit(lambda t: (t[index], cr.grad(f)(t)))(table)
    np.testing.assert_array_equal(found[0], table[index])
    expected = np.zeros_like(X)
    np.add.at(expected, index, 0.125)
    np.testing.assert_array_equal(found[1].astype(np.float64), expected)


@pytest.mark.parametrize("half", HALVES, ids=str)
def test_exported_packages(half: Any, tmp_path: Path) -> None:
    x = X.astype(half)
    cr.export(
        lambda x: (x * 2, cnp.sum(x)), args=(x,), name="twice", path=tmp_path / "package",
        selftest=3,
    )  # fmt: skip
    header = next(Path(tmp_path).rglob("*.h")).read_text("utf-8")
    assert "const uint16_t *x;" in header
    assert half.name in header
    np.savez(tmp_path / "x.npz", x=x.view(np.uint16))
    code = (
        f"import sys, numpy as np; sys.path.insert(0, {str(tmp_path / 'package')!r})\n"
        + ("import ml_dtypes\n" if half == BF16 else "")
        + f"import twice; x = np.load({str(tmp_path / 'x.npz')!r})['x'].view({half.name!r})\n"
        "assert twice.selftest() == 3\n"
        "y, total = twice.twice(x)\n"
        "assert y.dtype == x.dtype and (y == x * 2).all() and float(total) == 0\n"
        "assert 'chainrule' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env={})


def test_exported_packages_refuse_other_dtypes(tmp_path: Path) -> None:
    cr.export(lambda x: x + 1, args=(cr.spec(3, "bfloat16"),), name="more", path=tmp_path)
    code = (
        "import sys, numpy as np; sys.path.insert(0, '.'); import more\n"
        "try: more.more(np.ones(3, np.float32))\n"
        "except more.ChainruleError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=tmp_path, env={}, capture_output=True,
        text=True,
    )  # fmt: skip
    assert "expected  bfloat16" in done.stdout


def run_without_ml_dtypes(code: str) -> str:
    blocked = "import sys; sys.modules['ml_dtypes'] = None\nimport chainrule as cr\n"
    done = subprocess.run(
        [sys.executable, "-c", blocked + code], check=False, capture_output=True, text=True
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "use",
    [
        "cr.spec((2,), 'bfloat16')",
        "import chainrule.numpy as cnp; cnp.bfloat16",
        "import numpy as np; cr.jit(lambda x: x.astype('bfloat16'))(np.ones(3))",
    ],
)
def test_what_is_missing_is_named(use: str) -> None:
    assert "pip install 'chainrule[bf16]'" in run_without_ml_dtypes(use)


def test_float16_needs_nothing() -> None:
    code = (
        "import numpy as np\n"
        "print(cr.jit(lambda x: x * 2)(np.ones(3, np.float16)).dtype, sys.modules['ml_dtypes'])"
    )
    assert run_without_ml_dtypes(code) == "float16 None\n"


def test_importing_leaves_ml_dtypes_alone() -> None:
    code = (
        "import sys, numpy as np, chainrule as cr\n"
        "cr.jit(cr.grad(lambda x: (x * x).sum()))(np.ones(3))\n"
        "raise SystemExit('ml_dtypes' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
