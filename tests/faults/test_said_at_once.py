"""Kind: what cannot be meant is taken, and fails later, elsewhere, in other words or not at all."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.numpy as cnp
from chainrule import nn, optim, random, special
from chainrule.errors import (
    AliasError,
    ChainruleError,
    DTypeError,
    ExportError,
    OutOfRangeError,
    ShapeError,
    StructureError,
    UnsupportedError,
)

X = np.arange(1.0, 4.0)
KEY = random.key(0)
HALF: Any = 0.5
ONE: Any = 1.0
Function = Callable[..., Any]


def product(x: Any, y: Any) -> Any:
    return cnp.sum(x * x * y)


# Kind: which arguments a transformation is about.

ABOUT = (
    cr.grad, cr.value_and_grad, cr.jacfwd, cr.jacrev, cr.jacobian, cr.hessian, cr.hvp,
    cr.sparse_jacobian, cr.sparse_hessian,
)  # fmt: skip
NAMED = ABOUT[:6]


@pytest.mark.parametrize("asked", [(0, 0), (0, -2), (-2, 0), [np.int64(0), 0]])
def test_an_argument_asked_for_twice_has_its_derivative_twice(asked: Any) -> None:
    x, y = X, X + 1
    for found in (cr.grad(product, asked)(x, y), cr.value_and_grad(product, asked)(x, y)[1],
                  cr.jacfwd(product, asked)(x, y), cr.jacrev(product, asked)(x, y),
                  cr.grad(product, argnames=("x", "x"))(x, y),
                  cr.grad(product, argnames=("x", "x"))(x=x, y=y)):  # fmt: skip
        assert len(found) == 2
        for one in found:
            np.testing.assert_allclose(one, 2 * x * y)
    rows = cr.hessian(product, asked)(x, y)
    assert [len(row) for row in rows] == [2, 2]
    for row in rows:
        for block in row:
            np.testing.assert_allclose(block, np.diag(2 * y))


def test_three_of_two_arguments_come_in_the_order_asked_for() -> None:
    first, second, third = cr.grad(product, (1, 0, 1))(X, X + 1)
    np.testing.assert_allclose(first, X**2)
    np.testing.assert_allclose(second, 2 * X * (X + 1))
    np.testing.assert_allclose(third, X**2)


@pytest.mark.parametrize("made", [cr.hvp, cr.sparse_jacobian, cr.sparse_hessian])
def test_twice_is_refused_where_it_has_no_meaning(made: Function) -> None:
    extra = ((X, X),) if made is cr.hvp else ()
    with pytest.raises(StructureError, match="argnums names the argument x twice"):
        made(product, (0, 0))(X, X, *extra)


@pytest.mark.parametrize("made", ABOUT, ids=lambda f: f.__name__)
def test_what_is_no_number_of_an_argument_is_refused_at_once(made: Function) -> None:
    for wrong in ("x", 0.0, (0, "x"), True, (0.5,), np.ones(2)):
        with pytest.raises(StructureError, match="argnums holds numbers"):
            made(product, argnums=wrong)


@pytest.mark.parametrize("made", NAMED, ids=lambda f: f.__name__)
def test_two_kinds_of_choice_are_refused_at_once(made: Function) -> None:
    for number in (0, 1, (0, 1)):
        with pytest.raises(StructureError, match="argnums and argnames both"):
            made(product, argnums=number, argnames="x")
        with pytest.raises(StructureError, match="wrt chooses leaves"):
            made(product, argnums=number, wrt="x")
    with pytest.raises(StructureError, match="argnames holds names"):
        made(product, argnames=3)


def test_settings_of_rules_are_numbers_of_arguments() -> None:
    wrong: tuple[Any, ...] = ("x", -1, 1.0)
    for made in (cr.custom_vjp, cr.custom_jvp):
        for numbers in wrong:
            with pytest.raises(StructureError, match="nondiff_argnums"):
                made(lambda x: x, nondiff_argnums=numbers)


# Kind: a value where a function is meant.

WITH_MORE: dict[str, tuple[Any, ...]] = {
    "jvp": ((1.0,), (1.0,)), "vjp": (1.0,), "linearize": (1.0,), "scan": (0.0, X),
    "minimize": (1.0,), "find_root": (1.0,), "fixed_point": (1.0,), "trace": (1.0,),
    "callback": (X, X),
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["grad", "value_and_grad", "vmap", "jit", "hessian", "jacfwd", "jacrev", "jacobian", "hvp",
     "sparse_jacobian", "sparse_hessian", "checkpoint", "custom_jvp", "custom_vjp", *WITH_MORE],
)  # fmt: skip
def test_a_value_is_no_function(name: str) -> None:
    for value in (3.0, X, "f"):
        with pytest.raises(StructureError, match="takes a function, not a value") as caught:
            getattr(cr, name)(value, *WITH_MORE.get(name, ()))
        assert "pass the function itself" in str(caught.value)


def test_loops_and_branches_take_functions() -> None:
    calls: tuple[Function, ...] = (
        lambda: cr.cond(True, ONE, lambda: 2.0), lambda: cr.switch(0, [ONE]),
        lambda: cr.fori_loop(0, 3, ONE, 0.0), lambda: cr.while_loop(ONE, lambda x: x, 0.0),
        lambda: cr.while_loop(lambda x: x < 1, ONE, 0.0),
    )  # fmt: skip
    for fails in calls:
        with pytest.raises(StructureError, match="takes a function"):
            fails()


# Kind: programs without arrays.


def test_functions_of_nothing_run() -> None:
    for _ in range(2):
        assert cr.jit(lambda: None)() is None
    nothing = cr.jit(lambda x: x)
    values: tuple[Any, ...] = (None, [], (), {"a": None}, None)
    for value in values:
        assert nothing(value) == value
    assert nothing(X).tolist() == X.tolist()
    assert cr.grad(lambda x: 1.0)([]) == []
    assert cr.hessian(lambda x: 1.0)([]) == []
    for made in (cr.jacfwd, cr.jacrev):
        assert made(lambda x: (1.0, None))([]) == ([], None)
    assert cr.vmap(lambda x: None)(X) is None
    assert cr.scan(lambda c, x: (c, None), None, None, length=3) == (None, None)
    assert cr.trace(lambda: None).optimize().lower().compile().memory.arena == 0
    for meaningless in (
        lambda: cr.vmap(lambda x: x)(None), lambda: cr.grad(lambda x: None)(1.0),
        lambda: cr.grad(lambda: 1.0, 1)(None), lambda: cr.sparse_jacobian(lambda x: x)([]),
        lambda: cr.function([], {}), lambda: cr.trace(lambda: None).latex(),
    ):  # fmt: skip
        with pytest.raises(StructureError):
            meaningless()


# Kind: names of arguments.


def scaled(x: Any, w: Any, bias: Any = 1.0) -> Any:
    return x * w + bias


def test_a_misspelt_keyword_is_named_with_what_is_missing() -> None:
    for fn in (cr.jit(scaled), cr.grad(scaled)):
        with pytest.raises(StructureError, match=r"missing .* 'w'(.|\n)*weights=(.|\n)*mean w by"):
            fn(1.0, weights=2.0)
        with pytest.raises(StructureError, match="did you mean bias by bais"):
            fn(1.0, 2.0, bais=3.0)


def test_names_are_looked_up_when_jit_is_called() -> None:
    for option in ("static_argnames", "donate_argnames"):
        for wrong in ("bais", ("x", "bais")):
            with pytest.raises(StructureError, match=r"no parameter bais(.|\n)*did you mean bias"):
                cr.jit(scaled, **{option: wrong})  # type: ignore[call-overload]
            with pytest.raises(StructureError, match="no parameter bais"):
                cr.jit(**{option: wrong})(scaled)  # type: ignore[call-overload]
        with pytest.raises(StructureError, match="holds names"):
            cr.jit(scaled, **{option: 1})  # type: ignore[call-overload]
        cr.jit(lambda **named: named["q"], **{option: "q"})  # type: ignore[call-overload]
    with pytest.raises(StructureError, match="both static and donated"):
        cr.jit(scaled, static_argnames="x", donate_argnames="x")


def test_a_parameter_called_out_is_one() -> None:
    def ordinary(x: Any, out: Any) -> Any:
        return x - out

    def optional(x: Any, out: Any = 5.0) -> Any:
        return x - out

    def keyword(x: Any, *, out: Any) -> Any:
        return x - out

    for fn in (ordinary, optional, keyword):
        compiled = cr.jit(fn)
        for _ in range(3):
            given = X.copy()
            np.testing.assert_array_equal(compiled(2 * X, out=given), X)
            np.testing.assert_array_equal(given, X)
            assert compiled(1.0, out=3.0) == -2
        assert cr.grad(fn)(1.0, out=3.0) == 1
    assert cr.jit(optional)(1.0) == -4
    memory = np.empty(3)
    assert cr.jit(lambda x: x + 1)(X, out=memory) is memory


def test_a_list_of_numbers_is_told_from_an_array() -> None:
    with pytest.raises(ShapeError, match=r"hint: img is a list of numbers.*np.asarray\(img\)"):
        cr.jit(lambda img: img, dims={"img": ("h", "w")})([[1.0, 2.0]])
    with pytest.raises(ShapeError) as caught:
        cr.jit(lambda img: img, dims={"img": ("h", "w")})(X)
    assert "asarray" not in str(caught.value)


# Kind: optimizers take what broadcasts.

RULES = {
    "sgd": optim.sgd(0.1), "momentum": optim.momentum(0.1), "nesterov": optim.nesterov(0.1),
    "rmsprop": optim.rmsprop(0.1), "adagrad": optim.adagrad(0.1), "adam": optim.adam(0.1),
    "adamw": optim.adamw(0.1), "lion": optim.lion(0.1), "clip": optim.clip(1.0),
    "clip_by_global_norm": optim.clip_by_global_norm(1.0),
    "add_decayed_weights": optim.add_decayed_weights(0.1),
    "chain": optim.chain(optim.clip(1.0), optim.adam(0.1)),
}  # fmt: skip


def test_every_optimizer_is_looked_at() -> None:
    made = {
        n for n in optim.__all__
        if inspect.isfunction(getattr(optim, n))
        and inspect.signature(getattr(optim, n)).return_annotation == "Optimizer"
    }  # fmt: skip
    assert made == {*RULES}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("jitted", [False, True])
def test_shapes_of_gradients_are_those_of_parameters(name: str, jitted: bool) -> None:
    opt, params = RULES[name], {"w": np.ones(3), "b": [np.ones(2)]}
    step = cr.jit(opt.apply) if jitted else opt.apply
    for shape in ((2, 3), (1,), (), (3, 1)):
        grads = {"w": np.ones(shape), "b": [np.ones(2)]}
        with pytest.raises(ShapeError, match="grads and params differ in shape at w"):
            step(grads, opt.init(params), params)
    after, _ = step(params, opt.init(params), params)
    assert after["w"].shape == (3,)


@pytest.mark.parametrize("name", RULES)
def test_states_of_others_are_refused(name: str) -> None:
    opt, params = RULES[name], {"w": np.ones(3)}
    for state in (params, None, optim.sgd(0.1).init(params), optim.adam(0.1).init(params)):
        if type(state) is type(opt.init(params)):
            continue
        with pytest.raises(StructureError):
            opt.apply(params, state, params)
        with pytest.raises(StructureError):
            cr.jit(opt.apply)(params, state, params)
    if opt.init(params):
        with pytest.raises(StructureError, match="swapped"):
            opt.apply(params, params, opt.init(params))
    if name not in ("sgd", "clip", "clip_by_global_norm", "add_decayed_weights"):
        with pytest.raises(StructureError, match=r"opt.init\(params\)"):
            opt.apply(params, opt.init({"v": np.ones(3)}), params)
        with pytest.raises(ShapeError, match=r"state\.\w+ and grads differ in shape at w"):
            opt.apply(params, opt.init({"w": np.ones(1)}), params)


def test_an_optimizer_of_the_users_cannot_change_shapes() -> None:
    wide = optim.Optimizer(lambda _: (), lambda g, s, _: ({"w": np.ones((2, 3))}, s))
    with pytest.raises(ShapeError, match="updates and params differ in shape at w"):
        wide.apply({"w": np.ones(3)}, (), {"w": np.ones(3)})


# Kind: searches whose words and verdicts differ.

METHODS = ("lbfgs", "bfgs", "newton-cg")
BOTTOMLESS: dict[str, Function] = {
    "line": lambda x: -x, "rising line": lambda x: x, "parabola": lambda x: -(x**2) - x,
    "exponential": lambda x: -cnp.exp(x), "cubic": lambda x: x**3 + x, "small": lambda x: -1e-3 * x,
}  # fmt: skip


@pytest.mark.share(4)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", BOTTOMLESS)
def test_what_has_no_minimum_is_not_converged_and_said_so(name: str, method: str) -> None:
    for start in (np.float64(1), np.float32(1)):
        found = cr.minimize(BOTTOMLESS[name], start, method=method)
        assert not found.converged
        # In float32 the model itself may overflow before.
        assert "seems to have no minimum" in found.message or start.dtype == np.float32


@pytest.mark.parametrize("method", [*METHODS, "levenberg-marquardt", "gauss-newton"])
def test_a_large_value_does_not_make_a_gradient_small(method: str) -> None:
    squares = method in ("levenberg-marquardt", "gauss-newton")
    found = cr.minimize(lambda x: x - 1e10 if squares else (x - 1e10) ** 2, 0.0, method=method)
    assert found.converged
    assert found.x == pytest.approx(1e10)
    assert "gradient" in found.message


@pytest.mark.parametrize("method", [*METHODS, "levenberg-marquardt", "gauss-newton"])
def test_no_unknowns_are_solved_for_at_once(method: str) -> None:
    squares = method in ("levenberg-marquardt", "gauss-newton")

    def fun(x: Any, a: Any) -> Any:
        return x * a if squares else cnp.sum(x) + a

    found = cr.minimize(fun, np.zeros(0), 2.0, method=method)
    assert found.converged
    assert found.nit == 0
    assert found.x.shape == (0,)
    assert found.fun == (0 if squares else 2)
    assert cr.grad(lambda a: cr.minimize(fun, np.zeros(0), a, method=method).fun)(2.0) == (
        0 if squares else 1
    )
    for solver in ("newton", "newton-krylov"):
        assert cr.find_root(lambda x: x, np.zeros(0), solver=solver).converged
    assert cr.fixed_point(lambda x: x, np.zeros(0)).converged


# Kind: exports that Python cannot import.


@pytest.mark.parametrize(
    "name", ["numpy", "json", "ctypes", "inspect", "pathlib", "typing", "selftest", "ml_dtypes",
             "print", "sin", "class", "lambda"],
)  # fmt: skip
def test_names_of_modules_that_are_needed_are_no_exports(name: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="cannot be the name"):
        cr.export(lambda x: x + 1, args=(cr.spec((3,)),), path=tmp_path, name=name)
    assert not [*tmp_path.iterdir()]
    assert name not in ("numpy", "json") or name in sys.modules


# Kind: random draws of anything.

DRAWS: dict[str, tuple[Any, ...]] = {
    "bernoulli": (0.5, (2,)), "bits": ((2,),), "fold_in": (1,), "normal": ((2,),),
    "permutation": (5,), "randint": ((2,), 0, 5), "split": (2,), "uniform": ((2,),),
    "threefry2x32": (np.zeros(1, np.uint32), np.zeros(1, np.uint32)),
}  # fmt: skip


def test_every_function_that_takes_a_key_is_looked_at() -> None:
    assert {*DRAWS} == {*random.__all__} - {"key"}


@pytest.mark.parametrize("name", DRAWS)
def test_what_is_no_key(name: str) -> None:
    draw = getattr(random, name)
    draw(KEY, *DRAWS[name])
    for wrong in (42, None, "key", [0, 1], np.zeros(2), np.zeros(3, np.uint32), random.split(KEY)):
        with pytest.raises((StructureError, ShapeError), match=f"{name} takes (a|one) key"):
            draw(wrong, *DRAWS[name])
    with pytest.raises(StructureError, match=r"random.key\(42\)"):
        draw(42, *DRAWS[name])
    with pytest.raises(StructureError, match=f"{name} takes a key"):
        cr.jit(lambda k: draw(k, *DRAWS[name]))(3.0)


def test_seeds_are_64_bits() -> None:
    known: tuple[tuple[Any, int], ...] = (
        (0, 0), (2**64 - 1, 2**64 - 1), (-1, 2**64 - 1), (-(2**63), 2**63), (np.array(5), 5),
        (np.int64(-3), 2**64 - 3), (np.uint64(2**64 - 1), 2**64 - 1),
    )  # fmt: skip
    for seed, expected in known:
        assert int(random.key(seed)[0]) * 2**32 + int(random.key(seed)[1]) == expected
    for seed in (2**64, 2**70, -(2**63) - 1):
        with pytest.raises(OutOfRangeError, match="64 bits"):
            random.key(seed)
    others: tuple[Any, ...] = (1.5, "a", None, True, np.float64(1), np.ones(2, int))
    for wrong in others:
        with pytest.raises(DTypeError, match="no integer"):
            random.key(wrong)
    with pytest.raises(StructureError, match="fold_in"):
        cr.jit(random.key)(3)


@pytest.mark.parametrize("name", ["bits", "normal", "uniform", "bernoulli", "randint"])
def test_shapes_of_draws(name: str) -> None:
    def draw(shape: Any) -> Any:
        if name == "bernoulli":
            return random.bernoulli(KEY, 0.5, shape)
        return getattr(random, name)(KEY, shape, *((0, 5) if name == "randint" else ()))

    for shape, expected in ((3, (3,)), ([2, 2], (2, 2)), ((np.int64(2),), (2,)), ((), ())):
        assert draw(shape).shape == expected
    for wrong in ((-3,), (1.5,), "a", (True,), (2, None)):
        with pytest.raises(ShapeError, match=name):
            draw(wrong)


@pytest.mark.parametrize(
    ("draw", "error"),
    [
        (lambda: random.normal(KEY, (3,), np.int32), DTypeError),
        (lambda: random.normal(KEY, (3,), "foo"), DTypeError),
        (lambda: random.uniform(KEY, (3,), np.uint8), DTypeError),
        (lambda: random.uniform(KEY, (3,), minval=3, maxval=1), OutOfRangeError),
        (lambda: random.uniform(KEY, (3,), minval=np.nan), OutOfRangeError),
        (lambda: random.uniform(KEY, (3,), minval="a"), DTypeError),
        (lambda: random.uniform(KEY, (3,), minval=1j), DTypeError),
        (lambda: random.uniform(KEY, (2,), minval=np.zeros(3)), ShapeError),
        (lambda: random.randint(KEY, (3,), 5, 5), OutOfRangeError),
        (lambda: random.randint(KEY, (3,), HALF, 5), DTypeError),
        (lambda: random.randint(KEY, (3,), 0, 300, np.uint8), OutOfRangeError),
        (lambda: random.randint(KEY, (3,), 0, 3, np.float32), DTypeError),
        (lambda: random.bernoulli(KEY, 1.5), OutOfRangeError),
        (lambda: random.bernoulli(KEY, np.ones(3), (2,)), ShapeError),
        (lambda: random.permutation(KEY, -1), ShapeError),
        (lambda: random.permutation(KEY, np.array(3)), ShapeError),
        (lambda: random.permutation(KEY, 2.5), DTypeError),
        (lambda: random.split(KEY, -1), ShapeError),
        (lambda: random.fold_in(KEY, 1.5), DTypeError),
        (lambda: random.fold_in(KEY, np.ones(2, int)), ShapeError),
    ],
)
def test_draws_that_make_no_sense(draw: Function, error: type[Exception]) -> None:
    with pytest.raises(error):
        draw()


# Kind: layers that fail when they are called.


def test_layers_are_refused_when_they_are_made() -> None:
    for made in (nn.glorot_uniform, nn.glorot_normal, nn.he_uniform, nn.he_normal, nn.lecun_normal):
        for shape in ((3,), 3, (-1, 3), (2.5, 3)):
            with pytest.raises(ShapeError):
                made(KEY, shape)  # type: ignore[arg-type]
        with pytest.raises(StructureError):
            made(42, (2, 3))
        for dtype in ("int32", "foo"):
            with pytest.raises(DTypeError):
                made(KEY, (2, 3), dtype)
    for sizes in ((4,), (), 4, (4, -3), (4, 2.5), "ab"):
        with pytest.raises(ShapeError):
            nn.MLP.init(KEY, sizes)  # type: ignore[arg-type]
    wrong: Any = "tanhh"
    for fails in (
        lambda: nn.MLP.init(KEY, (4, 3), activation=wrong), lambda: nn.Activation(wrong),
        lambda: nn.MLP((nn.Dense.init(KEY, 2, 3),), wrong),
    ):  # fmt: skip
        with pytest.raises(StructureError, match=r"did you mean chainrule\.numpy\.tanh"):
            fails()
    for refused in (
        lambda: nn.Dense.init(KEY, 2, 3, weights=wrong), lambda: nn.MLP.init(42, (2, 3)),
        lambda: nn.Sequential((wrong,)), lambda: nn.Sequential(wrong), lambda: nn.MLP(()),
    ):  # fmt: skip
        with pytest.raises(StructureError):
            refused()


# Kind: axes, formats and elements of traced values.

AXES = ("axis", "axes", "axis1", "axis2", "axisa", "axisb", "axisc", "source", "destination")
ARGUMENTS: tuple[tuple[str, ...], ...] = (("x",), ("x", "x"), ("x", "1"), ("[x]",))


def taking_axes() -> list[tuple[str, Function, str]]:
    found: list[tuple[str, Function, str]] = []
    for space in (cnp, cnp.linalg, special, nn):
        for name in dir(space):
            fn = getattr(space, name)
            if name.startswith("_") or not inspect.isfunction(fn):
                continue
            named = [p for p in inspect.signature(fn).parameters if p in AXES]
            found += [(f"{space.__name__}.{name}", fn, p) for p in named]
    return found


@pytest.mark.parametrize(
    ("name", "fn", "option"), taking_axes(), ids=lambda x: getattr(x, "__name__", x)
)
def test_what_is_no_axis(name: str, fn: Function, option: str) -> None:
    """A foreign error is one that is not about how the function is called."""
    del name
    cube = np.arange(24.0).reshape(2, 3, 4)
    told = 0
    for wrong in (1.0, "a", (0, 1.5), object()):
        for names in ARGUMENTS:

            def called(x: Any, names: Any = names, wrong: Any = wrong) -> Any:
                given = [{"x": x, "1": 1, "[x]": [x, x]}[n] for n in names]
                return fn(*given, **{option: wrong})

            try:
                cr.trace(called, cube)
            except ChainruleError:
                told += 1
                break
            except TypeError as error:
                assert "argument" in str(error), error  # noqa: PT017
    assert told


def test_formats_and_flat_elements_of_traced_values() -> None:
    for spec in (".3f", ">10", "d"):
        with pytest.raises(UnsupportedError, match=f"written as a number(.|\n)*format  {spec}"):
            cr.trace(lambda x, spec=spec: format(x, spec), X)
    assert cr.jit(lambda x: x if f"{x}" else 0)(X).tolist() == X.tolist()
    square = np.arange(6.0).reshape(2, 3)
    picks: tuple[Function, ...] = (
        lambda x: x.flat[4], lambda x: x.flat[1:3], lambda x: next(x.flat),
        lambda x: sum(x.flat), lambda x: x.flat[[0, 5]], lambda x: x.sum() * len(x.flat),
    )  # fmt: skip
    for pick in picks:
        np.testing.assert_array_equal(cr.jit(pick)(square), pick(square))


# Kind: which condition an array does not meet, and which question a compilation is for.


def test_what_keeps_an_array_from_being_donated() -> None:
    step = cr.jit(lambda x: x + 1, donate_argnames="x")
    step(np.ones((4, 3)))
    unaligned = np.zeros(4 * 3 * 8 + 1, np.uint8)[1:].view(np.float64).reshape(4, 3)
    fixed = np.ones((4, 3))
    fixed.flags.writeable = False
    for array, text in (
        (np.asfortranarray(np.ones((4, 3))), "Fortran order"),
        (np.ones((8, 3))[::2], "gaps between its elements"),
        (np.ones((4, 3), ">f8"), "foreign byte order"), (unaligned, "not aligned"),
        (fixed, "read-only"),
    ):  # fmt: skip
        with pytest.raises(AliasError, match=text):
            step(array)


def test_a_compilation_for_another_answer_names_the_question() -> None:
    picky = cr.jit(lambda x: cnp.sum(x) if x.shape[0] == 5 else cnp.sum(2 * x), dims={"x": ("n",)})
    assert [float(picky(np.ones(n))) for n in (5, 4, 3, 0, 5)] == [5, 8, 6, 0, 5]
    assert len(picky.compilations) == 2
    assert "whether n == 5" in picky.compilations[1].reason
