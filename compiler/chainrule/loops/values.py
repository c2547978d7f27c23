"""Values inside loops: naming each once, in the outermost loop that it does not depend on."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

from chainrule.ir.dims import Extent, larger, named, names_of, substitute_extent
from chainrule.ir.graph import Node, constant_value
from chainrule.ir.op import Kind, Op
from chainrule.ir.types import BOOL, I64, DType
from chainrule.loops.ir import (
    Assign,
    Buffer,
    Combine,
    Compute,
    Expression,
    For,
    Load,
    Number,
    Position,
    Statement,
    Store,
    Update,
)
from chainrule.schedule.access import Index, follow

__all__ = ["Kept", "Place", "Scratch", "Values", "nbytes_of"]


@dataclass(frozen=True, slots=True)
class Scratch:
    """Memory that one kernel needs for itself."""

    serial: int
    dtype: DType
    size: Extent


@dataclass(frozen=True, slots=True)
class Kept:
    """Memory that a loop, a branch or a call needs for itself, told apart by `what` it is for."""

    node: Node
    what: str
    dtype: DType
    size: Extent


Place = Node | Scratch | Kept | int
"What a buffer stands for: a stored node, other memory, or an output of the program by number."


def nbytes_of(place: Node | Scratch | Kept) -> Extent:
    """Return the bytes that a place takes."""
    size = place.type.size if isinstance(place, Node) else place.size
    return size * place.dtype.nbytes


@dataclass(slots=True)
class _Scope:
    """The statements directly inside one loop (or the kernel), and what varies there."""

    variables: frozenset[str]
    statements: list[Statement] = field(default_factory=list)
    known: dict[Hashable, str] = field(default_factory=dict)


class Values:
    """Emits the statements of one kernel; the place to ask for the value of a node's element."""

    def __init__(self, in_memory: Callable[[Node], bool], strip: str | None = None) -> None:
        """`strip` names the dim that stands for a strip's rows here, not for the whole batch."""
        self.in_memory = in_memory
        self.strip = strip
        self.scopes: list[_Scope] = [_Scope(frozenset())]
        self.buffers: dict[Place, Buffer] = {}
        self._depends: dict[str, frozenset[str]] = {}
        self._dtypes: dict[str, DType] = {}
        self._count = 0

    # Names and statements

    def name(self, hint: str = "v") -> str:
        """Return a fresh name."""
        self._count += 1
        return f"{hint}{self._count}"

    def _value_name(self, dtype: DType) -> str:
        # What may stand in an extent has a name that no dim has.
        return self.name("v." if dtype is I64 else "v")

    def buffer(self, place: Place, dtype: DType) -> Buffer:
        """Return the kernel's parameter for a piece of memory."""
        return self.buffers.setdefault(place, Buffer(f"b{len(self.buffers)}", dtype))

    def dtype(self, name: str) -> DType:
        """Return the element type of a named value."""
        return self._dtypes[name]

    def emit(self, statement: Statement) -> None:
        """Append a statement to the innermost open loop."""
        self.scopes[-1].statements.append(statement)

    def declare(self, name: str, dtype: DType) -> None:
        """Make an accumulator's name usable as a value of the innermost open loop."""
        self._dtypes[name] = dtype
        self._depends[name] = self.scopes[-1].variables

    def vary(self, accumulator: str) -> None:
        """Treat an accumulator as changing with the loop just opened, which reads it as it runs."""
        self._depends[accumulator] = self.scopes[-1].variables

    def open(self, variable: str) -> None:
        """Enter a loop."""
        self.scopes.append(_Scope(self.scopes[-1].variables | {variable}))

    def close(self, variable: str, extent: Extent, *, vector: bool, down: bool = False) -> None:
        """Leave a loop; one whose body came out empty is dropped."""
        body = tuple(self.scopes.pop().statements)
        if body:
            self.emit(For(variable, extent, "vector" if vector else "serial", body, down))

    def assign(self, dtype: DType, value: Expression, depends: frozenset[str]) -> str:
        """Name a value, in the outermost loop where all it depends on is there."""
        scope = next(s for s in self.scopes if depends <= s.variables)
        # Numbers by their text: 0.0 and -0.0 are equal, and so are 1, 1.0 and True.
        key = (dtype, repr(value) if isinstance(value, Number) else value)
        known = scope.known.get(key)
        if known is not None:
            return known
        name = self._value_name(dtype)
        scope.statements.append(Assign(name, dtype, value))
        scope.known[key] = name
        self._dtypes[name] = dtype
        self._depends[name] = depends
        return name

    def _varying(self, extent: Extent) -> frozenset[str]:
        """Return the loop variables that an extent depends on, through values too."""
        found: set[str] = set()
        for n in names_of(extent):
            found |= self._depends.get(n, frozenset([n]))
        return frozenset(found & self.scopes[-1].variables)

    # Expressions

    def load(self, place: Place, dtype: DType, offset: Extent) -> str:
        """Name an element of memory."""
        buffer = self.buffer(place, dtype)
        return self.assign(dtype, Load(buffer, offset), self._varying(offset))

    def fetch(self, place: Place, dtype: DType, offset: Extent) -> str:
        """Name an element of memory that the kernel itself writes: loaded here, each time anew."""
        name = self._value_name(dtype)
        self.emit(Assign(name, dtype, Load(self.buffer(place, dtype), offset)))
        self.declare(name, dtype)
        return name

    def number(self, value: float | bool, dtype: DType) -> str:
        """Name a constant."""
        return self.assign(dtype, Number(value), frozenset())

    def position(self, extent: Extent) -> str:
        """Name an extent as a value of dtype i64."""
        return self.assign(I64, Position(extent), self._varying(extent))

    def compute(
        self, op: Op, args: Sequence[str], dtype: DType, attrs: tuple[object, ...] = ()
    ) -> str:
        """Name the result of a pointwise op."""
        depends = frozenset[str]().union(*(self._depends[a] for a in args))
        return self.assign(dtype, Compute(op, tuple(args), attrs, self._dtypes[args[0]]), depends)

    def store(
        self, place: Place, dtype: DType, offset: Extent, value: str, combine: Combine | None = None
    ) -> None:
        """Write a value, in the innermost open loop."""
        self.emit(Store(self.buffer(place, dtype), offset, value, combine))

    def update(self, accumulator: str, value: str, *, ordered: bool = False) -> None:
        """Combine a value into an accumulator, in the innermost open loop."""
        self.emit(Update(accumulator, value, ordered))

    # Nodes

    def value(
        self, node: Node, index: Index, local: Callable[[Node, Index], str | None] | None = None
    ) -> str:
        """Name element `index` of `node`: loaded, or computed from what is in memory.

        `local(node, index)` may answer for nodes the caller holds as values.  Iterative, as
        chains of inlined values may be long.
        """
        # Two visits a node: first its arguments are asked for, then it is computed.
        done: dict[tuple[Node, Index], str] = {}
        waiting: list[tuple[Node, Index]] = [(node, index)]
        while waiting:
            one, at = waiting.pop()
            key = (one, at)
            if key in done:
                continue
            if local is not None:
                own = local(one, at)
                if own is not None:
                    done[key] = own
                    continue
            base, place = follow(one, at, self.in_memory)
            if not isinstance(place, tuple) or self.in_memory(base):
                done[key] = self.load(
                    base, base.dtype, place if not isinstance(place, tuple) else 0
                )
                continue
            if base is not one or place != at:
                inner = (base, place)
                if inner in done:
                    done[key] = done[inner]
                else:
                    waiting += [(one, at), (base, place)]
                continue
            wanted = self._arguments(one, at, done)
            missing = [w for w in wanted if w not in done]
            if missing:
                waiting += [(one, at), *missing]
                continue
            done[key] = self._computed(one, at, done)
        return done[node, index]

    def _arguments(
        self, node: Node, index: Index, done: dict[tuple[Node, Index], str]
    ) -> list[tuple[Node, Index]]:
        if node.op.kind is Kind.SOURCE:
            return []
        if node.op.kind is not Kind.GATHER:
            assert node.op.kind is Kind.POINTWISE, f"{node} cannot be computed in place"
            return [(x, index) for x in node.args]
        x, places = node.args
        (batch,) = node.attrs
        if x.shape[batch] == 0:
            return []
        rank = places.type.rank
        of_places = (places, index[:rank])
        if of_places not in done:
            return [of_places]
        picked = named(self.clamped(done[of_places], x.shape[batch], node))
        return [of_places, (x, (*index[:batch], picked, *index[rank:]))]

    def clamped(self, index: str, extent: Extent, node: Node) -> str:
        """Wrap a negative index and keep it inside, so that no load leaves the array."""
        ops = node.graph.ops
        wide = index
        if self._dtypes[index] is not I64:
            wide = self.compute(ops["cast"], [index], I64, (I64, True))
        size, zero = self.position(extent), self.number(0, I64)
        negative = self.compute(ops["less"], [wide, zero], BOOL)
        wrapped = self.compute(ops["add"], [wide, size], I64)
        chosen = self.compute(ops["select"], [negative, wrapped, wide], I64)
        # Of an axis that may be empty no element exists: the place of the first is the least wrong.
        top = self.position(extent - 1 if isinstance(extent, int) else larger(extent - 1, 0))
        return self.compute(ops["clip"], [chosen, zero, top], I64)

    def _computed(self, node: Node, index: Index, done: dict[tuple[Node, Index], str]) -> str:
        match node.op.name:
            case "constant":
                number = constant_value(node)
                assert number is not None, "a constant has a value"
                return self.number(number, node.dtype)
            case "extent":
                (extent,) = node.attrs
                whole = {self.strip: named(f"{self.strip}.whole")} if self.strip else {}
                return self.position(substitute_extent(extent, whole))
            case "iota":
                wide = self.position(index[0])
                if node.dtype is I64:
                    return wide
                return self.compute(node.graph.ops["cast"], [wide], node.dtype, (node.dtype, True))
            case "gather" if node.args[0].shape[node.attrs[0]] == 0:
                # There is no nearest place to take: 0, as the op's meaning has it.
                return self.number(0, node.dtype)
            case "gather":
                (of_x,) = [w for w in self._arguments(node, index, done) if w[0] is node.args[0]]
                return done[of_x]
            case _:
                args = [done[x, index] for x in node.args]
                return self.compute(node.op, args, node.dtype, node.attrs)
