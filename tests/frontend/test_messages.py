"""Every message of the front end, to the letter (but for the line it names)."""

# ruff: noqa: E501, PLW0108, C416  (messages are as long as they are; a user writes such lambdas)

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule.numpy as cnp
from chainrule.errors import (
    ChainruleError,
    DTypeError,
    ShapeError,
    StructureError,
    UnsupportedError,
)
from chainrule.frontend.trace import spec, trace
from chainrule.transform import grad, hvp, jvp, value_and_grad, vjp, vmap

X = np.zeros((3, 4))
V = np.zeros(4)
N = np.zeros(3, np.int32)
NUMBERS: Any = (1.0, 1.0)


def message_of(call: Callable[[], Any], kind: type[Exception]) -> str:
    with pytest.raises(kind) as caught:
        call()
    lines = str(caught.value).splitlines()
    where = [line for line in lines if line.startswith("  at  ")]
    assert all("test_messages.py:" in line for line in where), "the user's line, not ours"
    return "\n".join(line for line in lines if line not in where)


def in_trace(fn: Callable[..., Any], *args: Any, **options: Any) -> Callable[[], Any]:
    return lambda: trace(fn, *args, **options)


def branch(x: Any) -> Any:
    if x.sum() > 0:
        return x
    return -x


MESSAGES: list[tuple[Callable[[], Any], type[ChainruleError], str]] = [
    (in_trace(branch, X), UnsupportedError, """\
the truth value of a traced array is known only when the compiled function is called
  value  bool[]
hint: choose between arrays with cnp.where(condition, a, b); if it depends on an argument that is \
a plain Python setting, name that argument in static_argnames"""),
    (in_trace(lambda x: float(x[0, 0]), X), UnsupportedError, """\
a traced array cannot become a Python float: its value is known only when the compiled function is called
  value  f64[]
hint: use it as an array: traced values take part in arithmetic as they are, \
and chainrule.numpy has the functions of math"""),
    (in_trace(lambda x: int(x[0, 0]), X), UnsupportedError, """\
a traced array cannot become a Python int: its value is known only when the compiled function is called
  value  f64[]
hint: convert with .astype(int); if it depends on an argument that is a plain Python setting, name \
that argument in static_argnames"""),
    (in_trace(lambda n: list(range(n)), 3), UnsupportedError, """\
a traced array cannot become a Python integer: its value is known only when the compiled function is called
  value  i64[]  n
hint: index plain arrays with cnp.asarray(x)[i] or cnp.take(x, i); if it depends on an argument \
that is a plain Python setting, name that argument in static_argnames"""),
    (in_trace(lambda x: np.array([x, x]), X), UnsupportedError, """\
a traced value has no elements yet, so NumPy cannot make an array of it
  value  f64[3, 4]  x
hint: use the functions of chainrule.numpy on it: cnp.take(constant, index) picks elements of a plain array, cnp.stack([...]) joins values"""),
    (in_trace(lambda x: [r for r in x], X, dims={"x": ("n", 4)}), UnsupportedError, """\
a Python loop over an axis of extent n, which is known only when the compiled function is called
  value  f64[n, 4]  x
hint: work on the whole axis with array functions or cr.vmap, or give the extent as a number in dims="""),
    (in_trace(lambda x: len(x), X, dims={"x": ("n", 4)}), UnsupportedError, """\
len() of an axis of extent n, which is known only when the compiled function is called
  value  f64[n, 4]  x
hint: use x.shape[0] in arithmetic, or give the extent as a number in dims="""),
    (in_trace(lambda x: range(x.shape[0]), X, dims={"x": ("n", 4)}), UnsupportedError, """\
cannot use as a Python number the extent n, which is known only when the compiled function is called
hint: compute with the extent itself; functions of chainrule.numpy take it, cr.fori_loop and cr.scan loop over it; or give the extent as a number in dims="""),
    (in_trace(lambda x, y: x + y, X, np.zeros(5)), ShapeError, """\
operands do not broadcast: axis 1 is 4 vs 5
  operand 0  f64[3, 4]  x
  operand 1  f64[5]  y
hint: extents must be equal, or 1; insert an axis with expand_dims"""),
    (in_trace(lambda x, y: x * y, X, N.astype(float), dims={"x": ("batch", 4), "y": ("n",)}), ShapeError, """\
operands do not broadcast: axis 1 is 4 vs n
  operand 0  f64[batch, 4]  x
  operand 1  f64[n]  y
hint: name both extents alike in dims= if they are equal at every call"""),
    (in_trace(lambda x, y: x @ y, X, np.zeros((3, 2))), ShapeError, """\
matmul: axis 1 of the first operand is 4, axis 0 of the second is 3
  operand 0  f64[3, 4]  x
  operand 1  f64[3, 2]  y
hint: the extents that are summed over must be equal"""),
    (in_trace(lambda x: x @ 2.0, X), ShapeError, """\
matmul: the second operand has no axes
  operand 0  f64[3, 4]  x
  operand 1  f64[]
hint: multiply by numbers with *"""),
    (in_trace(lambda x: x.sum(axis=2), X), ShapeError, """\
axis 2 does not exist: the array has 2 axes
hint: axes count from 0, or from -1 backwards"""),
    (in_trace(lambda x: x.reshape(5, 3), X), ShapeError, """\
cannot reshape: the number of elements differs
  from  f64[3, 4]  x: 12 elements
  to    [5, 3]: 15 elements"""),
    (in_trace(lambda x: x.max(axis=0), np.zeros((0, 2))), ShapeError, """\
max of no elements
  operand  f64[0, 2]  x
hint: the extreme of an empty axis is not defined"""),
    (in_trace(lambda x: x[x > 0], X), UnsupportedError, """\
a mask as an index makes an array whose shape depends on values
  mask  bool[3, 4]
hint: keep the shape with cnp.where(mask, x, 0), then reduce; x.at[mask].set(0) changes elements"""),
    (in_trace(lambda x, n: x[:n], X, 2), UnsupportedError, """\
a slice bound that is a traced value makes an unknown shape
  bound  i64[]  n
hint: take a window of known length: cnp.take(x, start + cnp.arange(n))"""),
    (in_trace(lambda x: x[x], X), DTypeError, """\
indices are integers, slices, None, ... or arrays of integers
  index  f64[3, 4]  x
hint: convert with .astype(int)"""),
    (in_trace(lambda x: cnp.sort(x), X), UnsupportedError, """\
sort of a traced value needs sorting, which is not available
hint: sort outside the compiled function"""),
    (in_trace(lambda x: np.fft.fft(x), X), UnsupportedError, """\
fft is not available for traced values
hint: write it with the functions of chainrule.numpy, or compute it outside the traced function"""),
    (in_trace(lambda x: cnp.nonzero(x), X), UnsupportedError, """\
nonzero of a traced value has a result whose shape depends on values
hint: choose with cnp.where(condition, a, b), which keeps the shape"""),
    (in_trace(lambda a, b: a + b, np.zeros(2, np.uint8), np.zeros(0, np.int32)), ShapeError, """\
operands do not broadcast: axis 0 is 2 vs 0
  operand 0  u8[2]  a
  operand 1  i32[0]  b
hint: extents must be equal, or 1; insert an axis with expand_dims"""),
    (in_trace(lambda a: a % a, np.zeros(2, bool)), DTypeError, """\
remainder of bool, bool is not supported
  NumPy computes it in int8
hint: convert an operand with .astype(...) first"""),
    (in_trace(lambda a: a + 300, np.zeros(2, np.uint8)), DTypeError, """\
the Python integer 300 is out of bounds for uint8
  bounds  0 to 255
hint: convert the array to a wider dtype first"""),
    (in_trace(lambda a: -a, np.zeros(2, bool)), DTypeError, """\
negative of bool is not supported
  The numpy boolean negative, the `-` operator, is not supported, use the `~` operator or the \
logical_not function instead.
hint: convert an operand with .astype(...) first"""),
    (in_trace(lambda x: x, np.zeros(2, complex)), DTypeError, """\
x: arrays of dtype complex128 are not supported
  supported  float32, float64, int32, int64, uint8, uint32, bool, float16, bfloat16
hint: work on the real and the imaginary parts as two arrays, x.real and x.imag"""),
    (in_trace(lambda x: x, {"a": ["text"]}), StructureError, """\
x/a/0 is not an array
  type  str
  value  'text'
hint: arguments are pytrees of arrays and numbers; name settings in static_argnames"""),
    (in_trace(lambda x: {"a": x, "b": "text"}, X), StructureError, """\
the function returns something that is not an array: b
  type  str
  value  'text'
hint: return arrays and numbers, nested in tuples, lists, dicts or dataclasses"""),
    (in_trace(lambda x: x, X, dims={"y": (3,)}), StructureError, """\
dims: there is no argument y
  arguments  x
hint: keys of dims are names of arguments or paths of leaves, as params/W1"""),
    (in_trace(lambda x: x, X, dims={"x": ("n",)}), ShapeError, """\
dims: x has 2 axes, not 1
  shape  (3, 4)
  dims  ('n',)"""),
    (in_trace(lambda x: x, X, dims={"x": ("n", "n")}), ShapeError, """\
dims: n stands for two numbers
  x axis 0  3
  x axis 1  4
hint: give extents that differ names that differ"""),
    (in_trace(lambda x: x, X, dims={"x": (5, "n")}), ShapeError, """\
dims: axis 0 of x is 3, not 5
  shape  (3, 4)"""),
    (in_trace(lambda x: x, X, X), StructureError, """\
the arguments do not fit function: too many positional arguments
  signature  function(x)"""),
    (in_trace(lambda x: x, X, static_argnames=("mode",)), StructureError, """\
static_argnames: function has no parameter mode
  parameters  x"""),
    (in_trace(lambda x: cnp.einsum("ij,jk", x), X), StructureError, """\
einsum: 2 groups of letters for 1 operands
  subscripts  ij,jk
hint: for example 'ij,jk->ik': one letter an axis, one group an operand"""),
    (in_trace(lambda x: cnp.einsum("ij,ik->jk", x, np.zeros((2, 2))), X), ShapeError, """\
einsum: i is 3 and 2
  subscripts  ij,ik->jk
  operand 0  f64[3, 4]  x
  operand 1  f64[2, 2]
hint: a letter stands for one extent"""),
    (in_trace(lambda x: cnp.concatenate([x, np.zeros((2, 2))]), X), ShapeError, """\
concatenate along axis 0: the other extents differ
  operand 0  f64[3, 4]  x
  operand 1  f64[2, 2]"""),
    (in_trace(lambda x: x.at[[0, 0]].multiply(2.0), X), UnsupportedError, """\
.at[...].multiply at indices that may be equal
hint: use .add, or one index at a time"""),
    (in_trace(lambda x: x.__setitem__(0, 1.0), X), UnsupportedError, """\
traced arrays cannot be changed in place
  value  f64[3, 4]  x
hint: write x = x.at[index].set(value), or .add(value)"""),
    (lambda: grad(lambda x: x)(X), ShapeError, """\
gradient: the function must return one number
  returned  f64[3, 4]
hint: reduce it with cnp.sum or cnp.mean, or use jacrev for all derivatives"""),
    (lambda: grad(lambda x: (x, x))(1.0), StructureError, """\
gradient: the function must return one number
  returned  (*, *)
hint: return the loss alone, or a pair (loss, auxiliary results) with has_aux=True"""),
    (lambda: grad(lambda x: x > 0)(1.0), DTypeError, """\
gradient: the function must return a floating-point number
  returned  bool[]"""),
    (lambda: grad(lambda p: p["n"].sum())({"n": N, "w": X}), DTypeError, """\
gradient with respect to p/n, which is not floating point
  dtype  int32
hint: convert it with .astype(float), or choose other arguments with argnums"""),
    (lambda: grad(lambda x: x)(3), DTypeError, """\
gradient with respect to x, which is not floating point
  dtype  int64
hint: convert it with .astype(float), or choose other arguments with argnums"""),
    (lambda: grad(lambda x: x, argnums=1)(3.0), StructureError, """\
argnums: function is given 1 positional arguments
  argnums  1
hint: arguments count from 0; name keyword arguments with argnames"""),
    (lambda: value_and_grad(lambda x: x, has_aux=True)(3.0), StructureError, """\
has_aux: the function must return a pair (value, auxiliary results)
  returned  Array"""),
    (lambda: jvp(lambda x: x, (1.0,), (X,)), ShapeError, """\
the tangent of x has another shape than the argument
  argument  f64[]
  tangent  f64[3, 4]"""),
    (lambda: jvp(lambda x: x, *NUMBERS), StructureError, """\
jvp: primals and tangents are tuples of arguments
  primals  float
  tangents  float
hint: write jvp(f, (x,), (v,))"""),
    (lambda: vjp(lambda x: x, V)[1](X), ShapeError, """\
a cotangent has another shape than its result
  result  f64[4]
  cotangent  f64[3, 4]"""),
    (lambda: vmap(lambda a, b: a + b)(X, V), ShapeError, """\
vmap: the arguments hold different numbers of examples
  a  3 on axis 0
  b  4 on axis 0
hint: the mapped axes have one extent; in_axes=None passes an argument whole"""),
    (lambda: vmap(lambda a: a, in_axes=None)(X), StructureError, """\
vmap: no argument is mapped
  in_axes  None
hint: in_axes names the axis of examples of at least one argument"""),
    (lambda: vmap(lambda a: a, in_axes=2)(X), ShapeError, """\
vmap: a has no axis 2
  argument  f64[3, 4]  a
hint: in_axes names the axis of examples; None passes an argument whole"""),
    (lambda: vmap(lambda a: a, out_axes=None)(X), ShapeError, """\
vmap: the result has out_axes=None and depends on the example
  result  f64[3, 4]
hint: reduce it, or give it an axis in out_axes"""),
    (lambda: hvp(lambda x: x)(1.0), StructureError, """\
the arguments do not fit hvp(function): missing a required argument: 'v'
  signature  hvp(function)(x, v)"""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "kind", "text"), MESSAGES, ids=[m[2].splitlines()[0] for m in MESSAGES]
)
def test_message(call: Callable[[], Any], kind: type[Exception], text: str) -> None:
    assert message_of(call, kind) == text


def test_the_line_is_shown() -> None:
    with pytest.raises(UnsupportedError, match=r"at  test_messages\.py:\d+  if x\.sum\(\) > 0:"):
        trace(branch, X)


def test_a_known_index_out_of_range_raises_while_tracing() -> None:
    with pytest.raises(IndexError, match="index 3 is out of range for axis 0 of extent 3"):
        trace(lambda x: x[3], X)
    with pytest.raises(IndexError, match="index out of range for axis 1 of extent 4"):
        trace(lambda x: x[:, [0, 4]], X)
    with pytest.raises(IndexError, match="3 indices for an array of 2 axes"):
        trace(lambda x: x[0, 0, 0], X)


def test_an_unknown_index_out_of_range_raises_when_called() -> None:
    program = trace(lambda x, i: x[i], X, spec((2,), np.int32))
    assert program.run(X, np.array([0, -3], np.int32)).shape == (2, 4)
    for bad in (3, -4):
        with pytest.raises(
            IndexError, match="index out of range for axis 0 of extent 3, at test_messages"
        ):
            program.run(X, np.array([0, bad], np.int32))


def test_a_guard_speaks_of_the_extent() -> None:
    program = trace(lambda x: x[2:], X, dims={"x": ("n", 4)})
    assert program.run(np.zeros((2, 4))).shape == (0, 4)
    with pytest.raises(ShapeError, match="a slice bound of 2 is beyond an axis of n\n  n  1"):
        program.run(np.zeros((1, 4)))


def test_a_value_kept_from_another_call() -> None:
    kept: list[Any] = []

    def keeps(x: Any) -> Any:
        kept.append(x)
        return x

    trace(keeps, X)
    with pytest.raises(
        StructureError, match="the result depends on a value that is no argument: x"
    ):
        trace(lambda y: y + kept[0], X)
    inner: list[Any] = []

    def keeps_inside(a: Any) -> Any:
        inner.append(a)
        return a

    with pytest.raises(StructureError, match="no argument: a"):
        trace(lambda y: grad(keeps_inside)(y) + inner[0], 1.0)
