"""Memory taken over: values made in the memory of an argument, since nothing reads that any more.

An update changes part of its first argument, a loop its carries.  Where every other reader of the
argument can run before, the result is made in its very memory, and only what changes is written.
So a chain of updates is one array.  Whoever reads the argument is made to run before the update and
to keep what it made, so that nothing is computed from the argument again afterwards.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from chainrule.ir.body import bodies_of
from chainrule.ir.graph import Node
from chainrule.ir.op import Kind
from chainrule.ir.program import Program
from chainrule.ir.walk import reached, users
from chainrule.ops.control import Loop
from chainrule.schedule.donation import memory_read, taken_over
from chainrule.schedule.steps import Control, Copy, Nest, Single

__all__ = ["Reuse", "broken", "homes_of", "planned_reuse"]

LOOKED_AT: Final = 32
"Values that are followed to see whether an operand is computed from an array."


@dataclass(slots=True)
class Reuse:
    """What is made in which memory, and what that asks of the order.

    Attributes:
        within: Values and the argument in whose memory each is made.
        before: What runs before an update or a loop, since it reads what that overwrites.
        pinned: Values that are kept in memory: computing them again would read what is gone.
    """

    within: dict[Node, Node] = field(default_factory=dict)
    before: dict[Node, list[Node]] = field(default_factory=dict)
    pinned: set[Node] = field(default_factory=set)


def planned_reuse(program: Program) -> Reuse:
    """Return which values are made in the memory of an argument.

    Linear in the nodes, but for updates that are written before what reads the old values: for each
    such reader, what it depends on is looked at.
    """
    found = _Search(program)
    if found.takers:
        found.run()
    return found.reuse


class _Search:
    def __init__(self, program: Program) -> None:
        nodes = program.nodes
        self.program = program
        self.takers = list(_takers(nodes))
        self.reuse = Reuse()
        if not self.takers:
            return
        self.early = reached([c.failed for c in program.checks])
        self.users: Mapping[Node, Sequence[Node]] = users(nodes)
        self.results = set(program.results)
        self.doomed = {x: o for o, x in taken_over(program).items()}
        self.taken: dict[Node, Node] = {}
        self.backward = False

    def run(self) -> None:
        lent = {_base(x) for _, x in self.takers}
        for node, _ in self.takers:
            if node.op.kind is Kind.UPDATE:
                self._pin_operands(node, lent)
        for node, x in self.takers:
            readers = self._readers(node, x)
            if readers is not None:
                self.reuse.within[node] = x
                self.reuse.before.setdefault(_step_of(node), []).extend(readers)
                self.taken[x] = node
        self._release_inputs()
        kept = {*self.reuse.within.values(), *(r for rs in self.reuse.before.values() for r in rs)}
        self.reuse.pinned |= {x for x in kept if x.op.kind is Kind.POINTWISE}

    def _pin_operands(self, node: Node, lent: set[Node]) -> None:
        """Have what is written, and where, made beforehand if it may come from memory lent on."""
        for operand in node.args[1:]:
            if self._reads(operand, lent):
                self.reuse.pinned.add(operand)

    def _reads(self, operand: Node, lent: set[Node]) -> bool:
        """Tell whether an operand may be computed in place from memory that is lent on."""
        seen: set[Node] = set()
        waiting = [operand]
        while waiting:
            one = waiting.pop()
            if one in lent or len(seen) > LOOKED_AT:
                return operand.op.kind in (Kind.VIEW, Kind.POINTWISE)
            if one not in seen and one.op.kind in (Kind.VIEW, Kind.POINTWISE):
                seen.add(one)
                waiting.extend(one.args)
        return False

    def _readers(self, node: Node, x: Node) -> list[Node] | None:
        """Return who else reads `x`, all before `node`; None if `node` cannot take over `x`."""
        if not self._may_be_overwritten(node, x):
            return None
        owner = _step_of(node)
        readers: dict[Node, None] = {}
        waiting = [x]
        while waiting:
            one = waiting.pop()
            for user in self.users[one]:
                if user is owner:
                    if one is not x or list(owner.args).count(x) > 1:
                        return None
                elif user.op.kind is Kind.VIEW and user not in self.reuse.pinned:
                    if user in self.results:
                        return None
                    waiting.append(user)
                else:
                    readers[user] = None
        if owner in self.early and not self.early.issuperset(readers):
            return None
        if any(self._depends(r, owner) for r in readers):
            return None
        self.backward = self.backward or any(r.id > owner.id for r in readers)
        return list(readers)

    def _may_be_overwritten(self, node: Node, x: Node) -> bool:
        if x in self.taken or x.type != node.type:
            return False
        if x.op.kind is Kind.SOURCE:
            # No input is written before the checks have passed.
            return x in self.doomed and _step_of(node) not in self.early
        return x.op.kind is not Kind.VIEW and x not in self.results

    def _depends(self, reader: Node, node: Node) -> bool:
        """Tell whether `reader` needs `node`, by its arguments or by the order asked for so far."""
        if reader.id < node.id and not self.backward:
            return False
        seen: set[Node] = set()
        waiting = [reader]
        while waiting:
            one = waiting.pop()
            if one is node:
                return True
            if one in seen or (one.id < node.id and not self.backward):
                continue
            seen.add(one)
            waiting.extend(one.args)
            waiting.extend(self.reuse.before.get(one, ()))
        return False

    def _release_inputs(self) -> None:
        """Leave an input alone that is overwritten by something else in the end."""
        for x, result in self.doomed.items():
            if x not in self.taken:
                continue
            last = self.taken[x]
            while last in self.taken:
                last = self.taken[last]
            if self.program.outputs[result] is not last:
                # What was asked of the order does no harm.
                del self.reuse.within[self.taken.pop(x)]


def _takers(nodes: Sequence[Node]) -> Iterator[tuple[Node, Node]]:
    """Yield the values that may be made in the memory of an argument, and that argument."""
    for n in nodes:
        at = 0 if n.op.kind is Kind.UPDATE else _taken_argument(n)
        if at is not None:
            yield n, _step_of(n).args[at]


def _taken_argument(item: Node) -> int | None:
    """Return which argument of a loop, a branch or a call one of its values can overwrite."""
    if item.op.kind is not Kind.ITEM or item.args[0].op.name == "callback":
        return None
    step, index = item.args[0], item.attrs[0]
    if step.op.name == "loop":
        return index if 0 <= index < Loop.of(step).count else None
    bodies = list(bodies_of(step))
    first = len(step.args) - len(bodies[0].inputs)
    for body in bodies:
        begin = _beginning(body.outputs[index])
        if begin in body.inputs and begin.type == item.type:
            return first + body.inputs.index(begin)
    return None


def _beginning(node: Node) -> Node:
    """Return the array that a value is, with parts of it changed."""
    while True:
        at = 0 if node.op.kind is Kind.UPDATE else _taken_argument(node)
        if at is None:
            return node
        node = _step_of(node).args[at]


def _step_of(node: Node) -> Node:
    return node.args[0] if node.op.kind is Kind.ITEM else node


def _base(x: Node) -> Node:
    while x.op.kind is Kind.VIEW:
        x = x.args[0]
    return x


def broken(
    reuse: Reuse, steps: Sequence[Nest | Single | Copy | Control], stored: Collection[Node],
    level: Mapping[Node, int],
) -> list[Node]:  # fmt: skip
    """Return the values that must not be made in the memory they were to take over.

    A step reads what is overwritten no earlier than it is: by copies that the schedule makes on its
    own account.
    """
    if not reuse.within:
        return []
    readers: dict[Node, list[Nest | Single | Copy | Control]] = {}
    wanted = set(reuse.within.values())
    for step in steps:
        for x in memory_read(step, stored, level) & wanted:
            readers.setdefault(x, []).append(step)
    return [
        node for node, x in reuse.within.items()
        if any(
            isinstance(s, Copy) or (node not in s.nodes and s.level >= level[node])
            for s in readers.get(x, ())
        )
    ]  # fmt: skip


def homes_of(within: Mapping[Node, Node], targets: Mapping[Node, int]) -> dict[Node, Node]:
    """Return the node in whose place each value of a chain lives: a result, if one of them is."""
    homes: dict[Node, Node] = {}
    after = {x: node for node, x in within.items()}
    for node in within:
        chain = [node]
        while chain[-1] in within:
            chain.append(within[chain[-1]])
        if chain[-1] in homes:
            continue
        first = chain[-1]
        chain = [first]
        while chain[-1] in after:
            chain.append(after[chain[-1]])
        home = first if first.op.name == "input" else chain[-1] if chain[-1] in targets else first
        homes |= dict.fromkeys(chain, home)
    return homes
