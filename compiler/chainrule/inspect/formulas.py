"""A node as a formula: what gets a name of its own, and the lines that define it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from chainrule.inspect import latex, mathml, text
from chainrule.inspect.names import input_names, part_names
from chainrule.inspect.notation import (
    Applied,
    Name,
    Number,
    Power,
    Product,
    Transposed,
    Tree,
    names_in,
)
from chainrule.inspect.notation import leaves as leaves_of
from chainrule.inspect.place import Placed, aligned
from chainrule.inspect.sources import Files, assigned_names
from chainrule.inspect.tidy import tidied
from chainrule.inspect.translate import translate
from chainrule.ir.graph import Node
from chainrule.ir.types import Array
from chainrule.ir.walk import topological, users

__all__ = ["Definition", "Formula", "formula"]

SMALL: Final = 9
"A formula of up to this many names, numbers and functions is read in one piece."
LARGE: Final = 24
"A part with more than this many is defined on a line of its own."
LAYER: Final = 5
"In a formula that is not small, a layer's cotangent with this many is defined on its own."
SHARED: Final = 3
"A part used more than once with at least this many is defined once."
ROUNDS: Final = 8
"How often the choice of parts is revised, at most."
SEEN_THROUGH: Final = frozenset({"broadcast", "reshape", "cast", "neg", "transpose"})


class Definition(NamedTuple):
    """A part with a name: `h = tanh(x W₁ + b₁)`."""

    name: str
    tree: Tree


@dataclass(frozen=True, slots=True)
class Formula:
    """An expression in the notation people use, and the definitions of its parts.

    Attributes:
        tree: The expression.
        definitions: Its parts, in the order in which a reader meets them.
        inputs: The names that inputs have in it, by node.
        constants: Arrays that the program carries, by the names they have in it.
        subject: What stands before the equals sign, if anything.
    """

    tree: Tree
    definitions: tuple[Definition, ...]
    inputs: Mapping[Node, str]
    constants: Mapping[str, Array] = field(default_factory=dict)
    subject: Tree | None = None

    def text(self) -> str:
        """Return Unicode text, one line for the formula and one for each definition."""
        return text.formula_text(self.subject, self.tree, self.definitions)

    def latex(self) -> str:
        """Return LaTeX for a display; with definitions, an `aligned` environment."""
        return latex.formula_latex(self.subject, self.tree, self.definitions)

    def mathml(self) -> str:
        """Return a `math` element in presentation MathML."""
        return mathml.formula_mathml(self.subject, self.tree, self.definitions)

    def __str__(self) -> str:
        return self.text()


def formula(
    node: Node,
    *,
    names: Mapping[Node, str] | None = None,
    files: Files | None = None,
    subject: Tree | None = None,
) -> Formula:
    """Return a node as a formula.

    Parts that are used twice and are long, and the cotangents of layers, are defined below it.  The
    time is linear in the nodes that `node` depends on.

    Args:
        node: Any expression.
        names: Names for inputs and parts, instead of those known from their origins.
        files: Where to read the user's own variable names.
        subject: What stands before the equals sign.

    >>> from chainrule.ir import graph, types
    >>> from chainrule.ops import OPS
    >>> g = graph.Graph(OPS)
    >>> x = g.input("x", types.Type(types.F64, (4, 3)))
    >>> w = g.input("w", types.Type(types.F64, (3,)))
    >>> product = g.call("contract", x, w, batch=((), ()), summed=((1,), (0,)))
    >>> print(formula(g.call("tanh", product)))
    tanh(x w)
    """  # fmt: skip
    (root,), new = tidied([node])
    given = {new[n]: name for n, name in (names or {}).items() if n in new}
    nodes = topological([root])
    inputs = input_names(nodes, given)
    user = {**assigned_names(nodes, files or Files.of()), **given}
    parts = _Parts(nodes, root, inputs, user)
    tree, definitions = parts.named()
    known = {old: inputs[n] for old, n in new.items() if n in inputs and old.op.name == "input"}
    constants = {
        name: n.op.value(**n.attributes) for n, name in inputs.items() if n.op.name == "data"
    }
    return Formula(tree, definitions, known, constants, subject)


class _Parts:
    """Decides which nodes are defined on lines of their own."""

    def __init__(
        self, nodes: Sequence[Node], root: Node, inputs: Mapping[Node, str],
        user: Mapping[Node, str],
    ) -> None:  # fmt: skip
        self.nodes = nodes
        self.root = root
        self.inputs = inputs
        self.user = user
        self.cotangents = _cotangents(nodes)
        self.uses = _uses(nodes)
        self.layers = _layers(nodes, self.cotangents)
        self.plain: set[Node] = set()
        "nodes that turned out not to be worth a name"

    def named(self) -> tuple[Tree, tuple[Definition, ...]]:
        """Return the root's tree and the definitions that it needs."""
        layered = False
        for _ in range(ROUNDS):
            chosen = self._chosen(layered=layered)
            names = self._names(chosen)
            found = self._translated(chosen, names)
            useless = self._useless(chosen, found, names)
            self.plain |= useless
            if useless:
                continue
            if layered or leaves_of(found[self.root].tree) <= SMALL:
                break
            layered = True
        trees = {names[n]: found[n].tree for n in chosen}
        tree = _spread(found[self.root], self.root)
        return tree, tuple(Definition(n, trees[n]) for n in _met(tree, trees))

    def _names(self, chosen: set[Node]) -> dict[Node, str]:
        taken = set(self.inputs.values())
        return part_names(sorted(chosen, key=lambda n: n.id), set(self.layers), self.user, taken)

    def _translated(self, chosen: set[Node], names: Mapping[Node, str]) -> dict[Node, Placed]:
        """Translate every node; chosen ones are then referred to by name."""
        found: dict[Node, Placed] = {}
        shown: dict[Node, Placed] = {}
        for node in self.nodes:
            args = [shown.get(a) or found[a] for a in node.args]
            found[node] = self._one(node, args)
            if node in chosen:
                shown[node] = _reference(found[node], names[node])
        return found

    def _one(self, node: Node, args: Sequence[Placed]) -> Placed:
        if node in self.inputs:
            rank = node.type.rank
            return Placed(Name(self.inputs[node], rank), tuple(range(rank)))
        return translate(node, args)

    def _chosen(self, *, layered: bool) -> set[Node]:
        """Walk once, naming parts as they turn out long enough."""
        chosen: set[Node] = set()
        found: dict[Node, Placed] = {}
        deep: set[Node] = set()
        for node in self.nodes:
            value = self._one(node, [found[a] for a in node.args])
            inner = node.op.name == "contract" and node in self.cotangents
            if inner or any(a in deep for a in node.args):
                deep.add(node)
            if node is not self.root and node not in self.plain and node.op.kind.name != "SOURCE":
                size = leaves_of(value.tree)
                layer = {"layered": layered, "deep": node in deep}
                if not _is_simple(value.tree) and self._deserves(node, size, **layer):
                    chosen.add(node)
                    deep.discard(node)
                    value = _reference(value, f"#{node.id}")
            found[node] = value
        return chosen

    def _deserves(self, node: Node, size: int, *, layered: bool, deep: bool) -> bool:
        if node.op.name in SEEN_THROUGH:
            return size > LARGE
        if size > LARGE or (node.op.name == "softmax" and size > 2):
            return True
        if layered and node in self.layers:
            outermost = self.layers[node] == 0
            if size >= (SMALL + 1 if outermost else LAYER) or (deep and not outermost):
                return True
        return size >= SHARED and self.uses[node] > 1

    def _useless(
        self, chosen: set[Node], found: Mapping[Node, Placed], names: Mapping[Node, str]
    ) -> set[Node]:
        """Return the parts that were named for being shared and turn out not to be."""
        counts = Counter(names_in(found[self.root].tree))
        for node in chosen:
            counts.update(names_in(found[node].tree))
        return {
            n for n in chosen
            if _is_simple(found[n].tree)
            or (counts[names[n]] < 2 and n not in self.layers and n.op.name != "softmax"
                and leaves_of(found[n].tree) <= LARGE // 2)
        }  # fmt: skip


def _reference(value: Placed, name: str) -> Placed:
    return Placed(Name(name, value.tree.rank), value.axes)


def _spread(value: Placed, node: Node) -> Tree:
    """Return the root's tree so that it broadcasts to the node's shape."""
    return aligned(value, range(node.type.rank))


def _is_simple(tree: Tree) -> bool:
    """Tell whether a tree is too short for a name, however often it occurs."""
    match tree:
        case Name() | Number():
            return True
        case Transposed(body) | Power(body, Number()):
            return _is_simple(body)
        case Applied(_, (argument,), rank):
            return isinstance(argument, Name) or rank == 0
        case Product(_, factors, over):
            # One short array, scaled.
            arrays = [f for f in (*factors, *over) if f.rank]
            return len(arrays) == 1 and all(map(_is_simple, (*factors, *over)))
    return False


def _met(tree: Tree, trees: Mapping[str, Tree]) -> list[str]:
    """Return the defined names in the order in which a reader meets them."""
    order: dict[str, None] = {}
    waiting = [tree]
    while waiting:
        for name in names_in(waiting.pop(0)):
            if name in trees and name not in order:
                order[name] = None
                waiting.append(trees[name])
    return list(order)


def _base(node: Node) -> Node:
    while node.op.name in SEEN_THROUGH:
        node = node.args[0]
    return node


def _uses(nodes: Sequence[Node]) -> Counter[Node]:
    """Count by how many nodes each one is used, looking through what leaves no trace."""
    found: Counter[Node] = Counter()
    for node in nodes:
        if node.op.name not in SEEN_THROUGH:
            found.update({_base(a) for a in node.args})
    return found


def _cotangents(nodes: Sequence[Node]) -> set[Node]:
    """Return what the chain rule made."""
    return {
        n for n in nodes
        if any(o.rule.startswith("pull") for o in n.graph.origins.get(n, ()))
        and not any(o.line and not o.rule for o in n.graph.origins.get(n, ()))
    }  # fmt: skip


def _layers(nodes: Sequence[Node], cotangents: set[Node]) -> dict[Node, int]:
    """Return the cotangents that enter contractions, and how many sums follow on those."""
    follow: dict[Node, int] = {}
    known = users(nodes)
    for node in reversed(nodes):
        above = [follow[u] + (u.op.name in ("contract", "sum")) for u in known[node]]
        follow[node] = max(above, default=0)
    found: dict[Node, int] = {}
    for node in nodes:
        if node.op.name == "contract" and node in cotangents:
            for argument in node.args:
                base = _base(argument)
                if base in cotangents and base.op.kind.name != "SOURCE":
                    found[base] = max(found.get(base, 0), follow[node])
    return found
