"""Messages of loops and branches that are misused, to the letter (but for the line they name)."""

# ruff: noqa: E501  (messages are as long as they are)

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import (
    ChainruleError,
    DTypeError,
    ShapeError,
    StructureError,
    UnsupportedError,
)
from chainrule.frontend.trace import trace

X = np.arange(1.0, 6.0)


def up(v: Any) -> Any:
    return v


def down(v: Any) -> Any:
    return v[1:]


def message_of(fn: Callable[[Any], Any], kind: type[Exception]) -> str:
    with pytest.raises(kind) as caught:
        trace(fn, X)
    lines = str(caught.value).splitlines()
    where = [line for line in lines if line.startswith("  at  ")]
    assert all("test_messages.py:" in line for line in where), "the user's line, not ours"
    return "\n".join(line for line in lines if line not in where)


MESSAGES: dict[str, tuple[Callable[[Any], Any], type[ChainruleError], str]] = {
    "no pair": (lambda x: cr.scan(lambda c, v: c + v, 0.0, x), StructureError, """\
scan: the function must return a pair (carry, y)
  returned  Array
  function  function
hint: return (carry, None) if nothing is to be stacked"""),
    "structure": (lambda x: cr.scan(lambda c, v: ((c, v), None), 0.0, x), StructureError, """\
scan: what is carried nests otherwise after a step
  before  *
  after   (*, *)
  at the top  it has an array, after the step it a tuple of 2"""),
    "shape": (lambda x: cr.scan(lambda c, _: ({"b": c["b"] * x}, None), {"b": 1.0}, x), ShapeError, """\
scan: b comes out of a step with another shape
  before the step  f64[]
  after it         f64[5]
hint: what a loop carries keeps its shape"""),
    "dtype": (lambda x: cr.scan(lambda c, _: (c > 0, None), x[0], x), DTypeError, """\
scan: carry comes out of a step with another dtype
  before the step  f64[]
  after it         bool[]
hint: convert it with .astype(...)"""),
    "lengths": (lambda x: cr.scan(lambda c, _: (c, None), 0.0, {"u": x, "v": x[1:]}), ShapeError, """\
scan: lengths differ
  u  5
  v  4"""),
    "length and xs": (lambda x: cr.scan(lambda c, _: (c, None), 0.0, x, 3), ShapeError, """\
scan: lengths differ
  xs  5
  length  3"""),
    "negative length": (lambda x: cr.scan(lambda c, _: (c, None), x, None, -1), ShapeError, """\
scan: the length is negative: -1"""),
    "no length": (lambda x: cr.scan(lambda c, _: (c, None), x), StructureError, """\
scan: no arrays to go along, and no length
hint: give xs, or the number of steps with length="""),
    "traced length": (lambda x: cr.scan(lambda c, _: (c, None), x, None, x[0].astype(int)), StructureError, """\
scan: the length is no integer
  length  i64[]
hint: an argument that says how many steps is a setting: name it in the static_argnames of jit, or close over it; for a number known only as the program runs, use while_loop"""),
    "no axis": (lambda x: cr.scan(lambda c, _: (c, None), x, x[0]), ShapeError, """\
scan: xs has no axis to go along
  type  f64[]"""),
    "Python if": (lambda x: cr.scan(lambda c, v: (c if v > 0 else v, None), 0.0, x), UnsupportedError, """\
the truth value of a traced array is known only when the compiled function is called
  value  bool[]
hint: choose between arrays with cnp.where(condition, a, b); if it depends on an argument that is a plain Python setting, name that argument in static_argnames"""),
    "condition of several": (lambda x: cr.while_loop(lambda v: v > 0, up, x), ShapeError, """\
while_loop: the condition is not one truth value
  returned  bool[5]"""),
    "condition of numbers": (lambda x: cr.while_loop(lambda v: v.sum(), up, x), DTypeError, """\
while_loop: the condition is no truth value
  returned  f64[]
hint: compare, for instance x > 0"""),
    "structure in while": (lambda x: cr.while_loop(lambda v: v.sum() < 0, lambda v: (v, v), x), StructureError, """\
while_loop: what is carried nests otherwise after a step
  before  *
  after   (*, *)
  at the top  it has an array, after the step it a tuple of 2"""),
    "shape in while": (lambda x: cr.while_loop(lambda v: v.sum() < 0, down, x), ShapeError, """\
while_loop: carry comes out of a step with another shape
  before the step  f64[5]
  after it         f64[4]
hint: what a loop carries keeps its shape"""),
    "max_steps": (lambda x: cr.while_loop(lambda v: v.sum() < 0, up, x, max_steps=-1), StructureError, """\
while_loop: max_steps is no number of steps
  max_steps  -1"""),
    "index in condition": (lambda x: cr.while_loop(lambda i: x[i] < 0, lambda i: i + 1, 0), StructureError, """\
while_loop: the condition picks elements by an index of its own
hint: pick them in the body, and carry them"""),
    "float end": (lambda x: cr.fori_loop(0.0, 5, lambda _i, v: v, x), DTypeError, """\
fori_loop: an end is no integer
  end  0.0"""),
    "traced float end": (lambda x: cr.fori_loop(0, x[0], lambda _i, v: v, x), DTypeError, """\
fori_loop: an end is no integer
  end  Array(f64[])"""),
    "several ends": (lambda x: cr.fori_loop(0, x.astype(int), lambda _i, v: v, x), ShapeError, """\
fori_loop: an end is not one integer
  end  Array(i64[5])"""),
    "structure in fori": (lambda x: cr.fori_loop(0, 3, lambda _i, v: (v, v), x), StructureError, """\
fori_loop: what is carried nests otherwise after a step
  before  *
  after   (*, *)
  at the top  it has an array, after the step it a tuple of 2"""),
    "dtype in fori": (lambda x: cr.fori_loop(0, 3, lambda i, v: (v[0] + 0.5 * i, v[1]), (x[0].astype(int), x)), DTypeError, """\
fori_loop: 0 comes out of a step with another dtype
  before the step  i64[]
  after it         f64[]
hint: convert it with .astype(...)"""),
    "cond on an array": (lambda x: cr.cond(x > 0, up, up, x), ShapeError, """\
cond: the condition is not one truth value
  condition  bool[5]
hint: use cnp.where to choose element by element"""),
    "cond on a number": (lambda x: cr.cond(x[0], up, up, x), DTypeError, """\
cond: the condition is no truth value
  condition  f64[]
hint: compare, for instance x > 0"""),
    "branches of other shapes": (lambda x: cr.cond(x[0] > 0, up, down, x), ShapeError, """\
cond: the branches return different shapes
  down  f64[4]
  up  f64[5]"""),
    "branches of other structures": (lambda x: cr.cond(x[0] > 0, up, lambda v: (v, v), x), StructureError, """\
cond: the branches return different structures
  function  (*, *)
  up  *
  at the top  function has a tuple of 2, up an array"""),
    "branches of other dtypes": (lambda x: cr.cond(x[0] > 0, lambda v: {"a": v > 0}, lambda v: {"a": v}, x), DTypeError, """\
cond: the branches return different dtypes in a
  function  f64[5]
  function  bool[5]
hint: convert one with .astype(...)"""),
    "no branches": (lambda x: cr.switch(x[0].astype(int), [], x), StructureError, """\
switch: there are no branches"""),
    "float index": (lambda x: cr.switch(x[0], [up, up], x), DTypeError, """\
switch: the index is no integer
  index  f64[]"""),
    "several indices": (lambda x: cr.switch(x.astype(int), [up, up], x), ShapeError, """\
switch: the index is not one integer
  index  i64[5]"""),
    "ways of other shapes": (lambda x: cr.switch(x[0].astype(int), [up, up, down], x), ShapeError, """\
switch: the branches return different shapes
  up  f64[5]
  up  f64[5]
  down  f64[4]"""),
}  # fmt: skip


@pytest.mark.parametrize(("fn", "kind", "text"), MESSAGES.values(), ids=MESSAGES)
def test_messages(fn: Callable[[Any], Any], kind: type[ChainruleError], text: str) -> None:
    assert message_of(fn, kind) == text


def keeping(kept: list[Any]) -> Callable[[Any, Any], Any]:
    def step(c: Any, v: Any) -> Any:
        kept.append(v * 2)
        return c, None

    return step


def kept_beyond(x: Any) -> Any:
    kept: list[Any] = []
    cr.scan(keeping(kept), 0.0, x)
    return kept[0] + 1


def kept_into_another_loop(x: Any) -> Any:
    kept: list[Any] = []
    cr.scan(keeping(kept), 0.0, x)
    return cr.scan(lambda c, _: (c + kept[0], None), 0.0, x)[0]


@pytest.mark.parametrize("fn", [kept_beyond, kept_into_another_loop], ids=lambda f: f.__name__)
def test_values_kept_beyond_their_body(fn: Any) -> None:
    message = message_of(fn, StructureError)
    assert message.startswith("the result depends on a value that is no argument: x")
