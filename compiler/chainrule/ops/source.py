"""Ops without arguments: inputs, constants, counters, run-time extents."""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np

from chainrule.ir.op import Kind, Notation, Op, Special
from chainrule.ir.types import I64, Array, DType, Type
from chainrule.ops._declare import declare

__all__ = ["constant", "data", "extent", "input_", "iota"]


def _no_value(**_attributes: Any) -> Array:
    raise AssertionError("the evaluator gives inputs their values")


def _constant_value(*, dtype: DType, bits: bytes) -> Array:
    if dtype.is_float:
        return np.asarray(struct.unpack("<d", bits)[0], dtype=dtype.numpy)
    return np.asarray(int.from_bytes(bits, "little", signed=True), dtype=dtype.numpy)


input_: Final[Op] = declare(
    Op("input", Kind.SOURCE, ("name", "type", "serial"), lambda **given: given["type"],
       _no_value, Special(), flops=0)
)  # fmt: skip
constant: Final[Op] = declare(
    Op("constant", Kind.SOURCE, ("dtype", "bits"), lambda *, dtype, bits: Type(dtype, ()),
       _constant_value, Special(), flops=0)
)  # fmt: skip
data: Final[Op] = declare(
    Op("data", Kind.SOURCE, ("dtype", "shape", "bits"),
       lambda *, dtype, shape, bits: Type(dtype, shape),
       lambda *, dtype, shape, bits: np.frombuffer(bits, dtype=dtype.numpy).reshape(shape),
       Special(), flops=0)
)  # fmt: skip
iota: Final[Op] = declare(
    Op("iota", Kind.SOURCE, ("length", "dtype"), lambda *, length, dtype: Type(dtype, (length,)),
       lambda *, length, dtype: np.arange(length, dtype=dtype.numpy), Special(), flops=0,
       notation=Notation("iota", r"\iota"))
)  # fmt: skip
extent: Final[Op] = declare(
    Op("extent", Kind.SOURCE, ("extent",), lambda *, extent: Type(I64, ()),
       lambda *, extent: np.asarray(extent, dtype=np.int64), Special(), flops=0,
       notation=Notation("{extent}", "{extent}"))
)  # fmt: skip
