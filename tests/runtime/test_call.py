"""Calling a kernel through ctypes, with nothing native around it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from chainrule_runtime.abi import Extent, Guard, Leaf, Signature
from chainrule_runtime.call import call_kernel
from chainrule_runtime.errors import (
    AliasError,
    ChainruleError,
    DTypeError,
    ShapeError,
    StructureError,
)  # fmt: skip

N: Extent = ("dim", 0)
SIGNATURE = Signature(
    "f", (Leaf("x", "float64", (N, 2)), Leaf("z", "float64", (("mul", 2, N),))),
    ("tuple", (0, 1)), (Leaf("y", "float64", (N, 2)), Leaf("s", "float64", ())),
    ("tuple", (0, 1)), ("n",), (Guard("ge", 8, N, "n <= 8"),), (), ("mul", 16, N),
)  # fmt: skip
_TYPE = ctypes.CFUNCTYPE(
    ctypes.c_int64, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_void_p),
    ctypes.c_void_p, ctypes.POINTER(ctypes.c_int64),
)  # fmt: skip


def kernel_of(code: int = 0) -> tuple[int, Any, dict[str, Any]]:
    """Return a kernel that computes y = x + 1, s = n, and returns a code."""
    seen: dict[str, Any] = {}

    def kernel(inputs: Any, outputs: Any, arena: int | None, dims: Any) -> int:
        n = dims[0]
        seen.update(n=n, arena=arena or 0)
        x = (ctypes.c_double * (2 * n)).from_address(inputs[0] or 8)
        y = (ctypes.c_double * (2 * n)).from_address(outputs[0] or 8)
        for i in range(2 * n):
            y[i] = x[i] + 1
        ctypes.c_double.from_address(outputs[1]).value = n
        return code

    made = _TYPE(kernel)
    return ctypes.cast(made, ctypes.c_void_p).value or 0, made, seen


def args(n: int) -> list[np.ndarray]:
    return [np.arange(2.0 * n).reshape(n, 2), np.zeros(2 * n)]


def test_results_dims_and_arena() -> None:
    address, _keep, seen = kernel_of()
    for n in (3, 0, 8):
        y, s = call_kernel(address, SIGNATURE, args(n))
        assert y.shape == (n, 2)
        assert (y == args(n)[0] + 1).all()
        assert s == n
        assert seen["n"] == n
        assert seen["arena"] % 64 == 0
        assert bool(seen["arena"]) == bool(n)


@pytest.mark.parametrize("kind", ["plain", "strided", "fortran", "big endian"])
def test_out_of_any_layout_is_written(kind: str) -> None:
    address, _keep, _ = kernel_of()
    layouts = {
        "plain": np.zeros((3, 2)), "strided": np.zeros((6, 2))[::2],
        "fortran": np.zeros((3, 2), order="F"), "big endian": np.zeros((3, 2), ">f8"),
    }  # fmt: skip
    y = layouts[kind]
    s = np.zeros(())
    results = call_kernel(address, SIGNATURE, args(3), [y, s])
    assert results[0] is y
    assert results[1] is s
    assert (y == args(3)[0] + 1).all()
    assert s == 3


def locked() -> np.ndarray:
    y = np.zeros((3, 2))
    y.flags.writeable = False
    return y


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda _x: [np.zeros((3, 2))], StructureError, "wrong number"),
        (lambda _x: [None, np.zeros(())], StructureError, "out= array y is not a NumPy array"),
        (lambda _x: [np.zeros((3, 2), "f4"), np.zeros(())], DTypeError, "float32"),
        (lambda _x: [np.zeros((2, 3)), np.zeros(())], ShapeError, r"out= array y .*\n.*n = 3"),
        (lambda _x: [np.zeros((3, 2)), np.zeros(1)], ShapeError, r"got       \(1,\)"),
        (lambda _x: [locked(), np.zeros(())], AliasError, "read-only"),
        (lambda x: [x[0], np.zeros(())], AliasError, "out= array y shares memory with argument x"),
        (lambda x: [np.zeros((3, 2)), x[1][:1].reshape(())], AliasError, "argument z"),
        (lambda x: [x[0][::-1], np.zeros(())], AliasError, "shares memory"),
    ],
)
def test_out_is_checked(
    make: Callable[[list[np.ndarray]], list[Any]], error: type[Exception], message: str
) -> None:
    address, _keep, seen = kernel_of()
    x = args(3)
    with pytest.raises(error, match=message):
        call_kernel(address, SIGNATURE, x, make(x))
    assert not seen


def test_results_must_be_apart_from_each_other() -> None:
    address, _keep, seen = kernel_of()
    y = np.zeros((3, 2))
    with pytest.raises(AliasError, match="out= array y shares memory with out= array s"):
        call_kernel(address, SIGNATURE, args(3), [y, y[2, 1:].reshape(())])
    assert not seen


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _x: np.zeros((2, 3)), "out= has the wrong shape\n"),
        (lambda _x: np.zeros((3, 2), "f4"), "out= has the wrong element type\n"),
        (lambda _x: locked(), "out= is read-only"),
        (lambda x: x, "out= shares memory with argument x\n"),
    ],
)
def test_a_lone_result_has_no_name(make: Callable[[np.ndarray], np.ndarray], message: str) -> None:
    address, _keep, seen = kernel_of()
    lone = replace(SIGNATURE, outputs=(Leaf("", "float64", (N, 2)),), output_tree=0)
    given = args(3)
    with pytest.raises(ChainruleError, match=f"^{message}"):
        call_kernel(address, lone, given, [make(given[0])])
    assert not seen


def test_shapes_and_guards_are_checked() -> None:
    address, _keep, seen = kernel_of()
    with pytest.raises(ShapeError, match=r"argument z .*\n  expected  \(2 \* n,\) with n = 3"):
        call_kernel(address, SIGNATURE, [args(3)[0], np.zeros(5)])
    with pytest.raises(
        ShapeError, match=r"problem   n <= 8\n  required  8 >= n\n  got       n = 9"
    ):
        call_kernel(address, SIGNATURE, args(9))
    with pytest.raises(StructureError, match="wrong number"):
        call_kernel(address, SIGNATURE, args(3)[:1])
    assert not seen


def test_error_codes_raise() -> None:
    address, _keep, _ = kernel_of(2)
    with pytest.raises(ChainruleError, match=r"f\(\) failed while it ran\n  second"):
        call_kernel(address, SIGNATURE, args(1), messages=("first", "second"))
    with pytest.raises(ChainruleError, match="error code 2"):
        call_kernel(address, SIGNATURE, args(1))


def test_donated_inputs_are_their_results() -> None:
    leaf = Leaf("x", "float64", (N, 2))
    signature = Signature("f", (leaf,), ("tuple", (0,)), (leaf, Leaf("s", "float64", ())),
                          ("tuple", (0, 1)), ("n",), donated=((0, 0),))  # fmt: skip
    address, _keep, _ = kernel_of()
    x = np.zeros((2, 2))
    assert call_kernel(address, signature, [x])[0] is x
    assert (x == 1).all()
    assert call_kernel(address, signature, [x], [x, np.zeros(())])[0] is x
    assert (x == 2).all()
    with pytest.raises(AliasError, match="donated"):
        call_kernel(address, signature, [x], [x.copy(), np.zeros(())])


def test_sizes_that_do_not_fit_raise() -> None:
    address, _keep, seen = kernel_of()
    leaf = Leaf("x", "uint8", (N, 0))

    def signature(extent: Extent, arena: Extent = 0) -> Signature:
        return Signature("f", (leaf,), ("tuple", (0,)), (Leaf("y", "float64", (extent,)),), 0,
                         ("n",), arena=arena)  # fmt: skip

    huge = [np.empty((2**61, 0), np.uint8)]
    for extent in (N, ("mul", N, N), ("add", N, N)):
        with pytest.raises(MemoryError):
            call_kernel(address, signature(extent), huge)
    with pytest.raises(MemoryError):
        call_kernel(address, signature(1, ("mul", N, N)), huge)
    with pytest.raises(MemoryError):
        call_kernel(address, signature(1, N), huge)
    with pytest.raises(ShapeError, match="negative extent"):
        call_kernel(address, signature(("sub", 3, N)), huge)
    assert not seen
