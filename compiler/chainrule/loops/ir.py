"""The loop IR: the second and last one.

    kernel    = name(buffers; extents) { statement* }
    statement = name := expression                       one value (a lane each in vector loops)
              | buffer[offset] = name                    store
              | buffer[offset] combine= name             add to memory (or max, min, product, last)
              | accumulator name of combine              starts at the combination's neutral value
              | update accumulator with name
              | for variable < extent, kind { statement* }
              | tile                                     a register-tiled contraction
    expression = load buffer[offset] | op(name*) | number | position offset
    kind      = serial | vector

Offsets count elements and are extents: polynomials over loop variables, named dims, and values of
dtype i64 (for picked elements).  A vector loop runs a vector register's worth of turns at once;
what does not depend on its variable stays scalar.  Accumulators updated in a vector loop have a
value a lane, combined when the loop ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from chainrule.ir.dims import Extent, names_of, show_extent
from chainrule.ir.op import Op
from chainrule.ir.types import I64, DType

__all__ = ["Accumulator", "Assign", "Buffer", "Combine", "Compute", "Expression", "For", "Kernel",
           "Load", "Number", "Operand", "Position", "Statement", "Store", "Tile", "Update",
           "check", "show", "statements"]  # fmt: skip

Combine: TypeAlias = Literal["sum", "prod", "max", "min", "last"]


@dataclass(frozen=True, slots=True)
class Buffer:
    """A kernel's view of some memory: elements of one type, row after row."""

    name: str
    dtype: DType


@dataclass(frozen=True, slots=True)
class Load:
    """An element of a buffer."""

    buffer: Buffer
    offset: Extent


@dataclass(frozen=True, slots=True)
class Compute:
    """A pointwise op on named values."""

    op: Op
    args: tuple[str, ...]
    attrs: tuple[Any, ...]
    takes: DType


@dataclass(frozen=True, slots=True)
class Number:
    """A constant."""

    value: float | int | bool


@dataclass(frozen=True, slots=True)
class Position:
    """An extent as a value: a loop's position, a run-time size."""

    extent: Extent


Expression: TypeAlias = Load | Compute | Number | Position


@dataclass(frozen=True, slots=True)
class Assign:
    """Name a value; every name is assigned once."""

    name: str
    dtype: DType
    value: Expression


@dataclass(frozen=True, slots=True)
class Store:
    """Write a value to memory, or combine it with what is there."""

    buffer: Buffer
    offset: Extent
    value: str
    combine: Combine | None = None


@dataclass(frozen=True, slots=True)
class Accumulator:
    """Declare a running combination; its name is a value after the loops that update it."""

    name: str
    dtype: DType
    combine: Combine


@dataclass(frozen=True, slots=True)
class Update:
    """Combine a value into an accumulator; if `ordered`, loop by loop as they are nested."""

    name: str
    value: str
    ordered: bool = False


@dataclass(frozen=True, slots=True)
class For:
    """Run the body for 0 <= variable < extent (downwards if `down`)."""

    variable: str
    extent: Extent
    kind: Literal["serial", "vector"]
    body: tuple[Statement, ...]
    down: bool = False


@dataclass(frozen=True, slots=True)
class Operand:
    """A matrix in memory: buffer, first element, and strides in elements."""

    buffer: Buffer
    offset: Extent
    strides: tuple[Extent, Extent]


@dataclass(frozen=True, slots=True)
class Tile:
    """out[m, n] = (or +=) sum over k of a[m, k] * b[k, n], by register-tiled code.

    `accumulate` may be an extent: the sum is added where that is not 0 (at every strip but the
    first).
    In a strict tile each element is one chain of additions, k ascending.
    """

    a: Operand
    b: Operand
    out: Operand
    m: Extent
    n: Extent
    k: Extent
    accumulate: bool | Extent
    strict: bool = False


Statement: TypeAlias = Assign | Store | Accumulator | Update | For | Tile


@dataclass(frozen=True, slots=True)
class Kernel:
    """A function over buffers and extents.

    Kernels that print equally are equal: names inside are numbered in order of appearance, so
    repeated structure compiles once.
    """

    buffers: tuple[Buffer, ...]
    extents: tuple[str, ...]
    body: tuple[Statement, ...]


def statements(body: tuple[Statement, ...]) -> Iterator[Statement]:
    """Yield every statement, those inside loops included."""
    for s in body:
        yield s
        if isinstance(s, For):
            yield from statements(s.body)


def show(kernel: Kernel) -> str:
    """Print a kernel; equal kernels print equally."""
    buffers = ", ".join(f"{b.name}: {b.dtype}" for b in kernel.buffers)
    lines = [f"kernel({buffers}; {', '.join(kernel.extents)})"]
    _show(kernel.body, "  ", lines)
    return "\n".join(lines) + "\n"


def _show(body: tuple[Statement, ...], indent: str, lines: list[str]) -> None:
    for s in body:
        match s:
            case Assign(name, dtype, value):
                lines.append(f"{indent}{name}: {dtype} := {_expression(value)}")
            case Store(buffer, offset, value, combine):
                sign = f"{combine}=" if combine else "="
                lines.append(f"{indent}{buffer.name}[{show_extent(offset)}] {sign} {value}")
            case Accumulator(name, dtype, combine):
                lines.append(f"{indent}accumulator {name}: {dtype} of {combine}")
            case Update(name, value):
                lines.append(f"{indent}update {name} with {value}")
            case For(variable, extent, kind, inner, down):
                way = ", down" if down else ""
                lines.append(f"{indent}for {variable} < {show_extent(extent)}, {kind}{way}")
                _show(inner, indent + "  ", lines)
            case Tile():
                open_ = not isinstance(s.accumulate, bool)
                sign = "=" if s.accumulate is False else "+="
                when = f" if {show_extent(s.accumulate)}" if open_ else ""
                sizes = " x ".join(show_extent(e) for e in (s.m, s.n, s.k))
                lines.append(
                    f"{indent}tile {_operand(s.out)} {sign} {_operand(s.a)} @ {_operand(s.b)}"
                    f"  ({sizes}){when}"
                )


def _operand(o: Operand) -> str:
    offset = f"{show_extent(o.offset)} + " if o.offset != 0 else ""
    return f"{o.buffer.name}[{offset}{show_extent(o.strides[0])}, {show_extent(o.strides[1])}]"


def _expression(value: Expression) -> str:
    match value:
        case Load(buffer, offset):
            return f"{buffer.name}[{show_extent(offset)}]"
        case Compute(op, args, attrs, _):
            extra = "".join(f", {a}" for a in op.shown(attrs).values())
            return f"{op.name}({', '.join(args)}{extra})"
        case Number(number):
            return repr(number)
        case Position(extent):
            return f"position {show_extent(extent)}"


def check(kernel: Kernel) -> None:
    """Raise AssertionError unless a kernel is legal.

    Legal: names are assigned once and before use, in an enclosing loop; offsets mention only loop
    variables in scope, the kernel's extents and i64 values; names of variables and i64 values hold
    a dot, so that no dim is called the same; vector loops contain no vector loop; buffers belong to
    the kernel.
    """
    _check(kernel.body, set(kernel.extents), {}, {}, set(kernel.buffers), in_vector=False)


def _check(
    body: tuple[Statement, ...], variables: set[str], values: dict[str, DType],
    accumulators: dict[str, DType], buffers: set[Buffer], *, in_vector: bool,
) -> None:  # fmt: skip
    values, accumulators = dict(values), dict(accumulators)

    def offset_ok(offset: Extent) -> None:
        for name in names_of(offset):
            known = name in variables or (name in values and values[name].name == "i64")
            assert known, f"the offset {show_extent(offset)} mentions {name}"

    for s in body:
        match s:
            case Assign(name, dtype, value):
                assert name not in values, f"{name} is assigned twice"
                if isinstance(value, Load):
                    assert value.buffer in buffers, f"{value.buffer.name} is not a parameter"
                    assert value.buffer.dtype is dtype, f"{name} is not {value.buffer.dtype}"
                    offset_ok(value.offset)
                elif isinstance(value, Compute):
                    for a in value.args:
                        assert a in values or a in accumulators, (
                            f"{a} is used before it is assigned"
                        )
                elif isinstance(value, Position):
                    offset_ok(value.extent)
                assert dtype is not I64 or "." in name, f"a dim may be called {name}"
                values[name] = dtype
            case Store(buffer, offset, value):
                assert buffer in buffers, f"{buffer.name} is not a parameter"
                known = values.get(value) or accumulators.get(value)
                assert known is buffer.dtype, f"{value} cannot be stored in {buffer.name}"
                offset_ok(offset)
            case Accumulator(name, dtype):
                accumulators[name] = dtype
            case Update(name, value):
                assert name in accumulators, f"{name} is not an accumulator"
                assert value in values or value in accumulators, f"{value} is not assigned"
            case For(variable, extent, kind, inner):
                offset_ok(extent)
                assert "." in variable, f"a dim may be called {variable}"
                assert not (in_vector and kind == "vector"), "a vector loop inside a vector loop"
                _check(inner, variables | {variable}, values, accumulators, buffers,
                       in_vector=in_vector or kind == "vector")  # fmt: skip
            case Tile():
                for operand in (s.a, s.b, s.out):
                    assert operand.buffer in buffers, f"{operand.buffer.name} is not a parameter"
                    offset_ok(operand.offset)
