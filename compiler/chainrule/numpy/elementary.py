"""Elementwise functions that are written with a few ops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.errors import OutOfRangeError, explain
from chainrule.frontend.array import Array
from chainrule.frontend.dispatch import array_function, newer
from chainrule.frontend.locate import user_line
from chainrule.frontend.operands import (
    Operand,
    as_operand,
    cast,
    graph_of,
    node_of,
)
from chainrule.frontend.options import refuse_out
from chainrule.ir.graph import Node, constant_value
from chainrule.ir.types import BOOL, F16, F64, I64
from chainrule.numpy.pointwise import aligned, named_like, pointwise

__all__ = [
    "abs",
    "absolute",
    "cbrt",
    "ceil",
    "conj",
    "conjugate",
    "deg2rad",
    "degrees",
    "divmod",
    "exp2",
    "fabs",
    "fix",
    "float_power",
    "floor",
    "imag",
    "log2",
    "log10",
    "logaddexp2",
    "modf",
    "positive",
    "pow",
    "power",
    "rad2deg",
    "radians",
    "real",
    "reciprocal",
    "rint",
    "round",
    "sinc",
    "square",
    "trunc",
]  # fmt: skip


def one(x: Any, ufunc: np.ufunc) -> tuple[Node, bool]:
    """Return the operand in the dtype the ufunc computes in."""
    nodes, weak, _ = aligned((x,), ufunc)
    return nodes[0], weak


def has_minus(x: Node) -> Node:
    """Tell where a float's sign is minus, that of -0.0 included; not of NaN."""
    return (x < 0) | (x.equals(0) & (1 / x < 0))


def _absolute(x: Any, /) -> Array:
    node, weak = one(x, np.absolute)
    if node.dtype.kind in ("bool", "uint"):
        return Array(node, weak)
    return Array(node.graph.call("abs", node), weak)


abs = absolute = named_like(array_function(np.absolute)(_absolute), np.absolute)


def _positive(x: Any, /) -> Array:
    return Array(*one(x, np.positive))


positive = named_like(array_function(np.positive)(_positive), np.positive)


def _rounding(name: str, ufunc: np.ufunc) -> Any:
    def rounded(x: Any, /) -> Array:
        node, weak = one(x, ufunc)
        return Array(node.graph.call(name, node) if node.dtype.is_float else node, weak)

    return named_like(array_function(ufunc)(rounded), ufunc)


floor = _rounding("floor", np.floor)


ceil = _rounding("ceil", np.ceil)


trunc = _rounding("trunc", np.trunc)


rint = _rounding("rint", np.rint)


@array_function(newer("fix"))
def fix(x: Any) -> Array:
    """Round towards 0, as `numpy.fix`, which newer versions of NumPy advise against: `trunc`."""
    return _through(trunc, x)


def _through(function: Any, *args: Any) -> Array:
    result: Array = function(*args)
    return result


@array_function(np.round, np.around)
def round(a: Any, decimals: int = 0, out: Any = None) -> Any:
    """Round to a number of decimals, halves to even, as `numpy.round`."""
    refuse_out(np.round, out)
    operand = as_operand(a)
    node = node_of(operand, graph_of([operand]))
    if node.dtype is BOOL and decimals == 0:
        return Array(cast(node, F16))  # as NumPy has it
    if not node.dtype.is_float:
        if decimals < 0:
            return (
                _through(rint, Array(node) / 10**-decimals).astype(node.dtype.numpy) * 10**-decimals
            )
        return Array(node)
    scaled = Array(node) * 10.0**decimals if decimals else Array(node)
    nearest = Array(node.graph.call("rint", scaled.node))
    return nearest / 10.0**decimals if decimals else nearest


@array_function(np.power)
def power(a: Any, b: Any, /) -> Array:
    """Return a**b elementwise, as `numpy.power`; 0**0 is 1.

    Raises:
        OutOfRangeError: An integer to a negative integer power, which is not an integer; if the
            exponent is not known yet, when the compiled function is called.  A ValueError, too.
    """
    result = pointwise("pow", np.power, a, b)
    if result.node.dtype.kind == "int":
        _check_exponent(as_operand(b), result.node.args[1])
    return result


def _check_exponent(given: Operand, exponent: Node) -> None:
    """Verify that no exponent of integers is negative: now if they are known, else at the call."""
    known = given if isinstance(given, int | np.ndarray) else constant_value(exponent)
    what = "integers to a negative integer power are not integers"
    if known is not None:
        least = int(np.min(known, initial=0))
        if least < 0:
            raise OutOfRangeError(
                explain(what, f"exponent  {least}", f"at  {user_line()}",
                        hint="use a float exponent or x.astype(float)")
            )  # fmt: skip
        return
    source = exponent
    while source.op.name in ("broadcast", "reshape", "cast"):
        source = source.args[0]
    if source.dtype.kind == "int" and source.op.name not in ("iota", "extent"):
        graph, axes = exponent.graph, tuple(range(exponent.type.rank))
        negative = exponent < 0
        count = graph.call("sum", graph.call("cast", negative, dtype=I64), axes=axes)
        graph.check(count > 0 if axes else negative, f"{what}, at {user_line()}")


pow = power


@array_function(np.float_power)
def float_power(a: Any, b: Any, /) -> Array:
    """Return a**b computed in float64, as `numpy.float_power`."""
    return pointwise("pow", np.float_power, a, b)


@array_function(np.square)
def square(x: Any, /) -> Array:
    """Return x * x, as `numpy.square`."""
    node, weak = one(x, np.square)
    return Array(node * node, weak)


@array_function(np.reciprocal)
def reciprocal(x: Any, /) -> Array:
    """Return 1 / x of floats, as `numpy.reciprocal`."""
    node, weak = one(x, np.reciprocal)
    if not node.dtype.is_float:
        numerator = node.graph.full_like(node, 1)
        return Array(node.graph.call("floor_divide", numerator, node), weak)
    return Array(1 / node, weak)


@array_function(np.exp2)
def exp2(x: Any, /) -> Array:
    """Return 2**x, as `numpy.exp2`."""
    node, weak = one(x, np.exp2)
    return Array(node.graph.call("pow", node.graph.full_like(node, 2.0), node), weak)


@array_function(np.log2)
def log2(x: Any, /) -> Array:
    """Return the logarithm to base 2, as `numpy.log2`; exact at powers of 2."""
    node, weak = one(x, np.log2)
    return Array(node.graph.call("log2", node), weak)


@array_function(np.log10)
def log10(x: Any, /) -> Array:
    """Return the logarithm to base 10, as `numpy.log10`; exact at powers of 10."""
    node, weak = one(x, np.log10)
    return Array(node.graph.call("log10", node), weak)


@array_function(np.logaddexp2)
def logaddexp2(a: Any, b: Any, /) -> Array:
    """Return log2(2**a + 2**b), as `numpy.logaddexp2`."""
    nodes, weak, _ = aligned((a, b), np.logaddexp2)
    two = math.log(2)
    return Array(nodes[0].graph.call("logaddexp", *(n * two for n in nodes)) * (1 / two), weak)


@array_function(np.cbrt)
def cbrt(x: Any, /) -> Array:
    """Return the real cube root, as `numpy.cbrt`; the slope at 0 is inf."""
    node, weak = one(x, np.cbrt)
    return Array(node.graph.call("cbrt", node), weak)


@array_function(np.deg2rad, np.radians)
def deg2rad(x: Any, /) -> Array:
    """Convert degrees to radians, as `numpy.deg2rad`."""
    node, weak = one(x, np.deg2rad)
    return Array(node * (math.pi / 180), weak)


@array_function(np.rad2deg, np.degrees)
def rad2deg(x: Any, /) -> Array:
    """Convert radians to degrees, as `numpy.rad2deg`."""
    node, weak = one(x, np.rad2deg)
    return Array(node * (180 / math.pi), weak)


radians, degrees = deg2rad, rad2deg


@array_function(np.fabs)
def fabs(x: Any, /) -> Array:
    """Return the absolute value as a float, as `numpy.fabs`."""
    node, weak = one(x, np.fabs)
    return Array(node.graph.call("abs", node), weak)


@array_function(np.divmod)
def divmod(a: Any, b: Any, /) -> tuple[Array, Array]:
    """Return the quotient rounded down and the remainder, as `numpy.divmod`."""
    return (
        pointwise("floor_divide", np.floor_divide, a, b),
        pointwise("remainder", np.remainder, a, b),
    )


@array_function(np.modf)
def modf(x: Any, /) -> tuple[Array, Array]:
    """Return the part after the point and the part before it, as `numpy.modf`."""
    node, _ = one(x, np.modf)
    whole = node.graph.call("trunc", node)
    endless = node.graph.call("abs", node).equals(math.inf)
    return Array(node.graph.select(endless, 0.0, node - whole)), Array(whole)


@array_function(np.real)
def real(val: Any) -> Any:
    """Return the array: there are no complex numbers."""
    return val


@array_function(np.conjugate, np.conj)
def conjugate(x: Any, /) -> Any:
    """Return x: there are no complex numbers."""
    return x


conj = conjugate


@array_function(np.imag)
def imag(val: Any) -> Array:
    """Return zeros: there are no complex numbers."""
    return Array(val.node.graph.full_like(val.node, 0))


@array_function(np.sinc)
def sinc(x: Any) -> Array:
    """Return sin(πx)/(πx), 1 at 0, as `numpy.sinc`; every derivative is right at and near 0."""
    operand = as_operand(x)
    node = node_of(operand, graph_of([operand]))
    # Unlike sine's, NumPy's sinc of whole numbers and truth values is float64.
    return Array(node.graph.call("sinc", node if node.dtype.is_float else cast(node, F64), order=0))
