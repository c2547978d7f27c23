"""What the scheduler produces: steps in order of execution, and which nodes live in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple, TypeAlias

from chainrule.ir.dims import Extent, Shape
from chainrule.ir.graph import Node
from chainrule.ir.program import Program

__all__ = ["Checked", "Control", "Copy", "Nest", "Role", "Schedule", "Single", "Step", "Strips",
           "Whole"]  # fmt: skip


class Role(Enum):
    """What a member of a nest is, relative to the nest's rows and columns."""

    FULL = auto()
    "one value for each element of the space"
    ROW = auto()
    "one value a row"
    ROW_REDUCE = auto()
    "a row combined into one value"
    COLUMN_REDUCE = auto()
    "the rows combined, one value a column: added up in memory"
    TOTAL_REDUCE = auto()
    "everything combined into one value, added up in memory"


@dataclass(slots=True, eq=False)
class Nest:
    """Members that share one iteration space and run together.

    Attributes:
        level: Values made at a level may be read from memory only at higher levels.
        space: Extents of the full members, without axes of extent 1.
        rows: The axes of the space that are rows; None while nothing is reduced.
        members: Nodes and their roles, arguments first.
    """

    level: int
    space: Shape
    rows: tuple[int, ...] | None = None
    members: dict[Node, Role] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[int, ...]:
        """The axes that are not rows."""
        return tuple(i for i in range(len(self.space)) if i not in (self.rows or ()))

    @property
    def row_shape(self) -> Shape:
        """Extents of a row member."""
        return tuple(self.space[i] for i in self.rows or ())

    @property
    def nodes(self) -> list[Node]:
        """The members."""
        return list(self.members)


@dataclass(slots=True, eq=False)
class Single:
    """One op with a loop form of its own: contraction, recurrence, scatter, writing into parts.

    Attributes:
        total: The sum of the node and a donated input, in whose memory the node is added up.
        inside: Of an update: whether it is made in the memory of its first argument.
    """

    level: int
    node: Node
    total: Node | None = None
    inside: bool = False

    @property
    def made(self) -> Node:
        """What is in memory afterwards."""
        return self.node if self.total is None else self.total

    @property
    def nodes(self) -> list[Node]:
        """What is made."""
        return [self.made]


@dataclass(slots=True, eq=False)
class Copy:
    """Elements of a node copied to an output of the program that could not be written directly."""

    level: int
    node: Node
    output: int

    @property
    def nodes(self) -> list[Node]:
        """Nothing new is made."""
        return []


@dataclass(slots=True, eq=False)
class Checked:
    """The point at which the program's checks are known; a failed one ends the run."""

    level: int
    nodes: list[Node] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Strips:
    """Steps run strip by strip of the batch.

    Attributes:
        dim: The named dim that is cut.
        rows: Rows of a full strip.
        steps: The steps of one strip, in order.
        summed: Nodes that add up over the strips.
    """

    dim: str
    rows: int
    steps: list[Nest | Single]
    summed: list[Node]

    @property
    def nodes(self) -> list[Node]:
        """Everything made inside."""
        return [n for s in self.steps for n in s.nodes]


class Whole(NamedTuple):
    """A value that lies in memory in one piece: in that of a node, from element `start` on."""

    base: Node
    start: Extent


@dataclass(slots=True, eq=False)
class Control:
    """A loop, switch or call: its bodies are schedules of their own.

    Attributes:
        node: The op; its values are the items.
        items: The items that are used, by index.
        args: Where each argument lies that a body reads as it is; None for what is copied.
        parts: The schedules of the bodies, a loop's test last.
        handed: Items made in the very memory of an argument, which nothing else reads.
    """

    level: int
    node: Node
    items: dict[int, Node]
    args: tuple[Whole | None, ...]
    parts: tuple[Schedule, ...] = ()
    handed: dict[Node, int] = field(default_factory=dict)

    @property
    def nodes(self) -> list[Node]:
        """The values that are made."""
        return list(self.items.values())


Step: TypeAlias = "Nest | Single | Copy | Checked | Strips | Control"


@dataclass(slots=True, eq=False)
class Schedule:
    """A program in order of execution.

    Attributes:
        program: What is computed (composites expanded).
        steps: In order.
        level: At which level each node is made.
        stored: Nodes that live in memory, in order of their making.
        targets: For program outputs written directly: which output each node is.
        overwriting: Those of the targets that take over a donated input, and which.
        homes: For values made in the memory of an argument: where all of them live.
        ordered: Whether a sum adds in the order that its own extents set, whatever runs beside it.
    """

    program: Program
    steps: list[Step]
    level: dict[Node, int]
    stored: dict[Node, None]
    targets: dict[Node, int]
    overwriting: dict[Node, Node] = field(default_factory=dict)
    homes: dict[Node, Node] = field(default_factory=dict)
    ordered: bool = False

    def in_memory(self, node: Node, level: int) -> bool:
        """Tell whether `node` can be loaded by a step at `level`."""
        if node.op.name in ("input", "data"):
            return True
        return node in self.stored and self.level[node] < level
