"""What an op is: one record that says everything the stages need to know of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from chainrule.ir.dims import Extent

if TYPE_CHECKING:
    from chainrule.ir.graph import Node
    from chainrule.ir.types import Type

__all__ = ["Arithmetic", "Kind", "Native", "Notation", "Op", "OpTable", "Requirement", "Special",
           "VectorMath"]  # fmt: skip


class Kind(Enum):
    """How an op's result depends on its arguments; what the scheduler needs to know."""

    SOURCE = auto()
    "no arguments: inputs, constants, counters"
    POINTWISE = auto()
    "element i of the result from element i of each argument, all of one shape"
    VIEW = auto()
    "each element of the result is one element of the argument: an index map"
    WRITE = auto()
    "arguments are laid into parts of the result: concatenation, placing into zeros"
    REDUCE = auto()
    "axes are combined away"
    CUMULATE = auto()
    "a running combination along one axis"
    CONTRACT = auto()
    "sums of products over shared axes"
    GATHER = auto()
    "elements picked by an integer argument"
    SCATTER = auto()
    "elements added at places given by an integer argument"
    UPDATE = auto()
    "an array with part of it changed: in place where nothing else reads what was there"
    FACTOR = auto()
    "matrices factored, or triangular systems solved: rows that need all the rows before them"
    CONTROL = auto()
    "bodies that run as the program does: loops, branches, calls; several values in a bundle"
    ITEM = auto()
    "one of the values of a bundle"
    COMPOSITE = auto()
    "expanded into other ops before scheduling, after differentiation"


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """A few machine instructions; the emitter's table picks them by name and element type."""

    name: str


@dataclass(frozen=True, slots=True)
class VectorMath:
    """A function of our vector mathematics, with its error budget in units in the last place."""

    name: str
    ulp32: float
    ulp64: float


@dataclass(frozen=True, slots=True)
class Special:
    """Emitted by a stage of its own (reductions, contractions, moves)."""


Native: TypeAlias = Arithmetic | VectorMath | Special


@dataclass(frozen=True, slots=True)
class Notation:
    """How people write the op: a text and a LaTeX template, and how tightly it binds.

    Templates hold `{0}`, `{1}`, ... for the arguments.  `precedence` is that of the outermost
    sign: 1 for sums, 2 for products, 3 for powers, 4 for what needs no brackets.
    """

    text: str
    latex: str
    precedence: int = 4


class Requirement(NamedTuple):
    """An extent that must not be negative for an op to run, and what is wrong where it is."""

    extent: Extent
    what: str


Attrs: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Op:
    """One operation of the expression graph.

    Attributes:
        name: Unique in the table.
        kind: How results depend on arguments.
        params: Names of its static attributes, in the order nodes hold them.
        defaults: What attributes are that are not given.
        infer: Type of the result from the types of the arguments and the attributes.
        value: What it means, in NumPy; the oracle of compiled code.  A bundle is a mapping.
        slopes: For pointwise ops: the partial derivative for each argument (`None` for zero).
        pull: For the others: cotangents of the arguments from that of the result.
        push: For the others: tangent of the result from those of the arguments (`None`: zero).
        batch: For what is not pointwise: the same op with a new leading axis on some arguments.
        expand: For composites, and where the machine has no such instruction: the definition.
        written: How formulas show it, in other ops; by default by its own notation.
        native: How machine code computes it.
        notation: How people write it.
        sympy: The SymPy expression it means, in `x`, `y`, `z`; judge of its slopes.
        domain: An interval in which it is smooth, for tests.
        flops: Floating-point operations an element (transcendentals count their polynomials).
        needs: What must not be negative for it to run, apart from the extents of its result, from
            the types of the arguments and the attributes.
        commutative: Arguments may be swapped.
        linear: The result is linear in its arguments, which move without arithmetic.
        apart: For what is not pointwise: for each argument, which axis of the result goes with
            which of its axes, such that what has one index in the result depends on what has that
            index in the argument and on nothing else of it.
        beside: An op of the same arguments that shares nearly all of its work with this one: where
            that is computed, this one is too.
    """

    name: str
    kind: Kind
    params: tuple[str, ...]
    infer: Callable[..., Type]
    value: Callable[..., Any]
    native: Native
    slopes: Callable[..., Sequence[Node | float | None]] | None = None
    pull: Callable[..., Sequence[Node | None]] | None = None
    push: Callable[..., Node | None] | None = None
    batch: Callable[..., Node] | None = None
    expand: Callable[..., Node] | None = None
    notation: Notation | None = None
    sympy: str | None = None
    domain: tuple[float, float] = (0.2, 0.9)
    needs: Callable[..., Iterable[Requirement]] | None = None
    flops: int = 1
    commutative: bool = False
    linear: bool = False
    defaults: Attrs = field(default_factory=dict)
    apart: Callable[..., Sequence[Mapping[int, int]]] | None = None
    written: Callable[..., Node] | None = None
    beside: str = ""

    def __repr__(self) -> str:
        return self.name

    def shown(self, attrs: tuple[Any, ...]) -> dict[str, Any]:
        """Return the attributes of a node, by name, that are not what they usually are."""
        given = zip(self.params, attrs, strict=True)
        return {k: v for k, v in given if k not in self.defaults or v != self.defaults[k]}

    def __call__(self, *args: Node | float, **attributes: Any) -> Node:
        """Apply the op in the graph of its arguments; numbers take the type of the first node."""
        like = next(a for a in args if not isinstance(a, int | float))
        nodes = [like.graph.full_like(like, a) if isinstance(a, int | float) else a for a in args]
        return like.graph.call(self.name, *nodes, **attributes)


OpTable: TypeAlias = Mapping[str, Op]
