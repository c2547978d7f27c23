"""The slow path's checks: right, or an error that names argument, expected and got."""

from __future__ import annotations

import array
import math
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from chainrule_runtime.abi import DTYPES, Extent, Leaf, Signature
from chainrule_runtime.arguments import check_apart, conform, conform_all
from chainrule_runtime.errors import AliasError, DTypeError, ShapeError, StructureError

N: Extent = ("dim", 0)
MATRIX = Leaf("params['W']", "float32", (2, 3))
GOOD = np.arange(6, dtype=np.float32).reshape(2, 3)


def scalar(dtype: str) -> Leaf:
    return Leaf("s", dtype, ())


def is_plain(a: np.ndarray, leaf: Leaf) -> bool:
    return (
        type(a) is np.ndarray and a.dtype == np.dtype(leaf.dtype) and a.dtype.isnative
        and a.flags.c_contiguous and a.flags.aligned
    )  # fmt: skip


class Sub(np.ndarray):
    pass


class WithArray:
    def __init__(self, a: Any) -> None:
        self.a = a

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        if isinstance(self.a, Exception):
            raise self.a
        return self.a


class WithDlpack:
    def __init__(self, a: Any) -> None:
        self.a = a

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self.a.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> Any:
        return self.a.__dlpack_device__()


def misaligned() -> np.ndarray:
    a = np.zeros(25, np.uint8)[1:].view(np.float32).reshape(2, 3)
    a[...] = GOOD
    return a


def locked() -> np.ndarray:
    a = GOOD.copy()
    a.flags.writeable = False
    return a


def two_by_three() -> Any:
    return memoryview(array.array("f", GOOD.ravel().tolist())).cast("B").cast("f", [2, 3])


SAME: dict[str, Any] = {
    "itself": GOOD,
    "strided": np.repeat(GOOD, 2, axis=0)[::2],
    "reversed": GOOD[::-1].copy()[::-1],
    "fortran": np.asfortranarray(GOOD),
    "misaligned": misaligned(),
    "big endian": GOOD.astype(">f4"),
    "read-only": locked(),
    "subclass": GOOD.view(Sub),
    "matrix": GOOD.view(np.matrix),
    "unmasked": np.ma.masked_array(GOOD),
    "nothing masked": np.ma.masked_array(GOOD, mask=np.zeros((2, 3), bool)),
    "__array__": WithArray(GOOD),
    "__dlpack__": WithDlpack(GOOD),
    "buffer": two_by_three(),
}


@pytest.mark.parametrize("value", SAME.values(), ids=SAME)
def test_the_same_numbers_in_any_form(value: Any) -> None:
    a = conform(value, MATRIX, {})
    assert is_plain(a, MATRIX)
    assert a.shape == (2, 3)
    assert (a == GOOD).all()


def test_usable_memory_is_not_copied() -> None:
    assert conform(GOOD, MATRIX, {}) is GOOD
    for name in ("read-only", "subclass", "matrix", "__array__", "__dlpack__"):
        a = conform(SAME[name], MATRIX, {})
        assert np.shares_memory(a, getattr(SAME[name], "a", SAME[name]))
    zero = np.zeros((), np.float32)
    assert conform(zero, scalar("float32"), {}).shape == ()


def generator() -> Any:
    yield 1.0


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "float64": (GOOD.astype(np.float64), DTypeError, "float64"),
    "float16": (GOOD.astype(np.float16), DTypeError, "float16"),
    "int32": (GOOD.astype(np.int32), DTypeError, "int32"),
    "bool": (GOOD > 1, DTypeError, "bool"),
    "complex": (GOOD.astype(np.complex64), DTypeError, "complex64"),
    "object": (GOOD.astype(object), DTypeError, "object"),
    "text": (GOOD.astype("U4"), DTypeError, "<U"),
    "void": (np.zeros((2, 3), "V4"), DTypeError, "V4"),
    "record": (np.zeros((2, 3), [("a", "f4")]), DTypeError, "'a'"),
    "date": (np.zeros((2, 3), "M8[s]"), DTypeError, "datetime64"),
    "masked": (np.ma.masked_array(GOOD, mask=GOOD > 2), DTypeError, "masked"),
    "NumPy scalar": (np.float64(1), DTypeError, "float64"),
    "sparse": (scipy.sparse.csr_matrix(GOOD), StructureError, "csr_matrix"),
    "None": (None, StructureError, "None"),
    "generator": (generator(), StructureError, "generator"),
    "list": (GOOD.tolist(), StructureError, "list"),
    "tuple": ((1.0,), StructureError, "tuple"),
    "dict": ({}, StructureError, "dict"),
    "str": ("abc", StructureError, "str"),
    "bytes": (b"abcd", StructureError, "bytes"),
    "object()": (object(), StructureError, "object"),
    "class": (np.ndarray, StructureError, "type"),
    "module": (np, StructureError, "module"),
    "function": (len, StructureError, "builtin_function"),
    "refusing": (WithArray(RuntimeError("on a device")), DTypeError, "on a device"),
    "array of objects": (WithArray(GOOD.astype(object)), DTypeError, "object"),
    "transposed": (GOOD.T, ShapeError, "(3, 2)"),
    "rank 1": (GOOD[0], ShapeError, "(3,)"),
    "rank 3": (GOOD[None], ShapeError, "(1, 2, 3)"),
    "number": (1.0, ShapeError, "()"),
    "float32 scalar": (np.float32(1), ShapeError, "()"),
}


@pytest.mark.parametrize(("value", "error", "got"), WRONG.values(), ids=WRONG)
def test_anything_else_is_refused_by_name(value: Any, error: type[Exception], got: str) -> None:
    with pytest.raises(error) as caught:
        conform(value, MATRIX, {})
    message = str(caught.value)
    assert "params['W']" in message
    assert "expected  (2, 3)" in message or "expected  float32" in message
    assert got in message


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [0, 1, True, 1.0, 255, 256, -1, 2**31, 2**63, 0.5, 1j])
def test_python_numbers_take_the_dtype_if_they_fit(dtype: str, value: complex) -> None:
    kind = np.dtype(dtype).kind
    if isinstance(value, complex):
        fits = False
    elif isinstance(value, float):
        fits = kind == "f"
    elif kind == "b":
        fits = isinstance(value, bool)
    elif kind == "f":
        fits = value <= float(np.finfo(dtype).max)
    else:
        fits = np.iinfo(dtype).min <= value <= np.iinfo(dtype).max
    if not fits:
        with pytest.raises(DTypeError, match=rf"argument s .*\n  expected  {dtype}\n"):
            conform(value, scalar(dtype), {})
        return
    a = conform(value, scalar(dtype), {})
    assert is_plain(a, scalar(dtype))
    assert a.shape == ()
    assert a == value


def test_floats_round_but_do_not_overflow() -> None:
    assert conform(0.1, scalar("float32"), {}) == np.float32(0.1)
    assert conform(math.inf, scalar("float32"), {}) == math.inf
    assert np.isnan(conform(math.nan, scalar("float32"), {}))
    assert conform(1e300, scalar("float64"), {}) == 1e300
    for value in (1e300, 10**300, -(10**400)):
        with pytest.raises(DTypeError, match="does not fit"):
            conform(value, scalar("float32"), {})
    with pytest.raises(DTypeError, match="does not fit"):
        conform(10**400, scalar("float64"), {})


def test_numpy_scalars_keep_their_dtype() -> None:
    assert conform(np.float32(2), scalar("float32"), {}) == 2
    for value in (np.float64(2), np.int64(2), np.bool_(1)):
        with pytest.raises(DTypeError):
            conform(value, scalar("float32"), {})


def test_other_names_of_a_dtype_are_the_same_dtype() -> None:
    a = np.arange(3, dtype=np.longlong)
    assert conform(a, Leaf("x", "int64", (3,)), {}) is a


def test_dims_are_bound_by_the_first_argument_and_named() -> None:
    dims: dict[int, int] = {}
    conform(np.zeros((4, 8), np.float32), Leaf("x", "float32", (N, 8)), dims, names=("batch",))
    assert dims == {0: 4}
    conform(np.zeros(9, np.float32), Leaf("z", "float32", (("add", ("mul", 2, N), 1),)), dims)
    with pytest.raises(ShapeError) as caught:
        conform(np.zeros(5, np.float32), Leaf("y", "float32", (N,)), dims, names=("batch",))
    assert str(caught.value) == (
        "argument y has the wrong shape\n  expected  (batch,) with batch = 4\n  got       (5,)"
    )
    with pytest.raises(ShapeError, match=r"expected  \(n, n\)\n  got       \(2, 3\)"):
        conform(GOOD, Leaf("x", "float32", (N, N)), {}, names=("n",))
    assert dims == {0: 4}


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (locked(), "read-only"), (np.asfortranarray(GOOD), "Fortran order"),
        (misaligned(), "aligned"), (GOOD.astype(">f4"), "byte order"), (1.0, "float"),
        (None, "None"), ([1.0], "list"), (np.ma.masked_array(GOOD), "MaskedArray"),
        (WithArray(GOOD), "WithArray"),
    ],
)  # fmt: skip
def test_donated_arrays_must_be_usable_as_they_are(value: Any, got: str) -> None:
    with pytest.raises(AliasError, match=r"params\['W'\]") as caught:
        conform(value, MATRIX, {}, donated=True)
    assert got in str(caught.value)


def donating() -> Signature:
    leaves = tuple(Leaf(name, "float32", (4,)) for name in ("p", "g"))
    return Signature("f", leaves, ("tuple", (0, 1)), leaves[:1], 0, donated=((0, 0),))


def test_donated_arrays_must_be_alone() -> None:
    memory = np.zeros(12, np.float32)
    conform_all([memory[:4], memory[4:8]], donating())
    conform_all([memory[:4], memory[:8:2].astype(">f4")], donating())  # converted, hence apart
    for other in (memory[:4], memory[3:7], memory[::-1][8:]):
        value = other if other.flags.c_contiguous else other[::-1]
        with pytest.raises(AliasError, match="donated argument p shares memory with argument g"):
            conform_all([memory[:4], value], donating())
    with pytest.raises(StructureError, match="wrong number"):
        conform_all([memory[:4]], donating())


def test_interleaved_and_empty_arrays_share_nothing() -> None:
    memory = np.zeros(12, np.float32)
    check_apart([(memory[::2], "out")], [(memory[1::2], "x")])
    check_apart([(memory[3:3], "out")], [(memory, "x")])
    check_apart([], [(memory, "x"), (memory, "y")])
    with pytest.raises(AliasError, match="out shares memory with x"):
        check_apart([(memory[::2], "out")], [(memory[::3], "x")])
    with pytest.raises(AliasError, match="shares memory with"):
        check_apart([(memory[:2], "out"), (memory[1:3], "out2")], [])
