"""What of a forward part to keep for the backward part, and what to compute again: by cost.

Each forward value that the backward part needs is either kept (written once, read once) or computed
again from others that are available.  The cheapest choice is a minimum cut between what exists only
in the forward part and what the backward part reads: through a node, at the cost of keeping it;
into a node, at the cost of computing it again.  (Project selection; as in Jain et al. 2020,
"Checkmate", without its order of execution, and in PyTorch's min-cut partitioner.)
"""  # fmt: skip

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from chainrule.ir.graph import Node
from chainrule.ir.op import Kind
from chainrule.ir.types import BUNDLE
from chainrule.ir.walk import depends_on, topological
from chainrule.ops.control import counted_names
from chainrule.ops.cost import flops_of, typical

__all__ = ["residuals"]

TRAFFIC: Final = 2
"Times a kept value passes through memory: written, and read again."
AT_HAND: Final = 1 / 8
"What keeping a value costs that will be there in all likelihood, of what others cost."
COMPOSITE_FLOPS: Final = 20
"Operations an element of what is yet to be expanded: an exponential or so."


def residuals(
    targets: Sequence[Node], late: Iterable[Node], available: Iterable[Node], *,
    at_hand: Iterable[Node] = (), memory: float = 1.0,
) -> list[Node]:  # fmt: skip
    """Return the nodes to keep so that `targets` can be computed later.

    Args:
        targets: What is computed later.
        late: What is known only then: what depends on it is not asked about.
        available: Inputs that are there later too, at no cost; other inputs are kept or not needed.
        at_hand: Inputs that are there later too, but should be done without if little else is
            kept for them: they may be large, or about to be overwritten.
        memory: Operations that a byte is worth.

    Returns:
        Nodes that do not depend on `late`, in the order of their making.
    """
    nodes = topological(targets)
    tainted = depends_on(nodes, late)
    early = [n for n in nodes if n not in tainted]
    wanted = {x for n in nodes if n in tainted for x in n.args if x not in tainted}
    wanted |= {n for n in targets if n not in tainted}
    near = set(at_hand)
    # What has a size of its own is not kept: it is there.
    free = {*available, *(n for n in near if _keeping(n) == math.inf)}
    cut = _Cut()
    for n in early:
        if n in free or _is_free(n):
            continue
        share = AT_HAND if n in near else 1.0
        cut.edge((n, 0), (n, 1), _keeping(n) * memory * share)
        cut.edge("source", (n, 0), _computing(n))
        for x in n.args:
            cut.edge((x, 1), (n, 0), math.inf)
        if n in wanted:
            cut.edge((n, 1), "sink", math.inf)
    side = cut.source_side()
    return [n for n in early if (n, 0) in side and (n, 1) not in side]


def _is_free(node: Node) -> bool:
    return node.op.kind is Kind.SOURCE and node.op.name != "input"


def _size(node: Node) -> int:
    return typical(node.type.size)


def _keeping(node: Node) -> float:
    """Return the bytes that keeping a node moves; what has a size of its own cannot be kept."""
    if node.dtype is BUNDLE or any(counted_names(e) for e in node.shape):
        return math.inf
    return TRAFFIC * max(_size(node), 1) * node.dtype.nbytes


def _computing(node: Node) -> float:
    """Return the operations of computing a node from its arguments."""
    if node.op.name in ("input", "callback"):
        return math.inf
    if node.op.kind is Kind.COMPOSITE:
        return COMPOSITE_FLOPS * max(_size(node.args[0]), 1)
    return float(typical(flops_of(node)))


class _Cut:
    """A minimum cut, by shortest augmenting paths (Dinitz 1970: levels, then blocking flows)."""

    def __init__(self) -> None:
        self.left: dict[object, dict[object, float]] = {}

    def edge(self, a: object, b: object, capacity: float) -> None:
        """Let `capacity` flow from `a` to `b`."""
        out = self.left.setdefault(a, {})
        out[b] = out.get(b, 0.0) + capacity
        self.left.setdefault(b, {}).setdefault(a, 0.0)

    def source_side(self) -> set[object]:
        """Return the vertices that the source still reaches when nothing more can flow."""
        while True:
            levels = self._levels()
            if "sink" not in levels:
                return set(levels)
            self._block(levels)

    def _levels(self) -> dict[object, int]:
        levels: dict[object, int] = {"source": 0}
        waiting: deque[object] = deque(["source"] if "source" in self.left else [])
        while waiting:
            a = waiting.popleft()
            for b, room in self.left[a].items():
                if room > 0 and b not in levels:
                    levels[b] = levels[a] + 1
                    waiting.append(b)
        return levels

    def _block(self, levels: dict[object, int]) -> None:
        """Push flow along shortest paths until none of them has room."""
        ways = {a: list(self.left[a]) for a in levels}
        path: list[object] = ["source"]
        while path:
            a = path[-1]
            if a == "sink":
                steps = list(pairwise(path))
                room = min(self.left[x][y] for x, y in steps)
                assert room < math.inf, "what is needed later can be kept or computed again"
                for x, y in steps:
                    self.left[x][y] -= room
                    self.left[y][x] += room
                full = next(i for i, (x, y) in enumerate(steps) if self.left[x][y] <= 0)
                del path[full + 1 :]
                continue
            while ways[a]:
                b = ways[a][-1]
                if self.left[a][b] > 0 and levels.get(b) == levels[a] + 1:
                    path.append(b)
                    break
                ways[a].pop()
            else:
                path.pop()
                if path:
                    ways[path[-1]].pop()
