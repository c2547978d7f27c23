"""Donated memory: outputs that overwrite inputs, and when that may happen.

An output is written straight into the input it takes over only if nobody can read the input's old
values afterwards; otherwise it is made in the arena and copied when everything else is done.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from chainrule.ir.dims import loop_variables, named
from chainrule.ir.graph import Node
from chainrule.ir.op import Kind
from chainrule.ir.program import Program
from chainrule.ir.walk import depends_on, reached, topological
from chainrule.schedule.access import Index, flat_offset, follow
from chainrule.schedule.steps import Checked, Control, Copy, Nest, Single, Step, Strips

__all__ = ["handed_over", "inputs_read", "memory_read", "protected", "returned", "running_totals",
           "taken_over", "unsafe_targets"]  # fmt: skip

Uncut: TypeAlias = Nest | Single | Copy | Checked | Control


def taken_over(program: Program) -> dict[int, Node]:
    """Return, by output, the donated input it overwrites; an input returned as it is is kept."""
    kept = returned(program)
    return {o: program.inputs[i] for i, o in program.donated if o not in kept}


def returned(program: Program) -> set[int]:
    """Return the outputs that are the very inputs whose memory they have."""
    return {o for i, o in program.donated if program.outputs[o] is program.inputs[i]}


def running_totals(program: Program, users: Mapping[Node, Sequence[Node]]) -> dict[Node, Node]:
    """Return what is added to a donated input and to nothing else, and the sum it goes into.

    Such a node need not be made: its terms are added up where the input is.
    """
    found: dict[Node, Node] = {}
    doomed = taken_over(program)
    for i, total in enumerate(program.outputs):
        if i not in doomed or total.op.name != "add" or total in found.values():
            continue
        alone = [x for x in total.args if users[x] == [total] and x not in program.results]
        terms = [x for x in alone if x.op.kind in (Kind.CONTRACT, Kind.SCATTER)]
        if doomed[i] in alone and len(terms) == 1 and not users[total]:
            found[terms[0]] = total
    return found


def handed_over(program: Program, step: Control, targets: Mapping[Node, int]) -> dict[Node, int]:
    """Return the items of a step that can be made in the memory of an argument, and of which.

    An item that overwrites an input takes over the argument that is this input: what a branch gives
    back changed or as it is.  Nothing else of the step may read it.
    """
    found: dict[Node, int] = {}
    if step.node.op.name == "loop":
        return found
    doomed = taken_over(program)
    for item in step.items.values():
        x = doomed.get(targets.get(item, -1))
        if x is None or item.type != x.type:
            continue
        reads = [i for i, a in enumerate(step.args) if a is not None and a.base is x]
        if len(reads) == 1 and step.node.args[reads[0]] is x:
            found[item] = reads[0]
    return found


def protected(program: Program) -> Program:
    """Give outputs that only show donated memory values of their own, made while it is there."""
    doomed = set(taken_over(program).values())
    if not doomed:
        return program
    kept = returned(program)
    shows = depends_on(topological(program.outputs), doomed)
    outputs = [
        _identity(node)
        if node.op.kind in (Kind.VIEW, Kind.SOURCE) and node in shows and i not in kept
        else node
        for i, node in enumerate(program.outputs)
    ]
    return replace(program, outputs=tuple(outputs))


def _identity(x: Node) -> Node:
    if x.dtype.kind == "bool":
        return x.graph.call("bit_or", x, x)
    return x.graph.call("stop_gradient", x)


def unsafe_targets(
    program: Program, steps: Sequence[Uncut], stored: Collection[Node],
    level: Mapping[Node, int], targets: Mapping[Node, int], floor: int,
    homes: Mapping[Node, Node],
) -> list[Node]:  # fmt: skip
    """Return which of the nodes written directly must not be.

    Nothing is written before the checks have passed, that is below level `floor`.  Donated memory
    is overwritten only by a step that comes after all others that read it, and that itself reads
    nothing but the element it is about to write; or by a chain of values that take over one another
    (`homes`), which has been seen to, if it begins with that very input.
    """  # fmt: skip
    doomed = taken_over(program)
    chained = {home for node, home in homes.items() if level.get(node, floor) < floor}
    unsafe = [n for n in targets if level[n] < floor or homes.get(n) in chained]
    overwritten = {n: doomed[result] for n, result in targets.items() if result in doomed}
    unsafe += [n for n, x in overwritten.items() if homes.get(n, x) is not x]
    overwritten = {n: x for n, x in overwritten.items() if n not in homes}
    if not overwritten:
        return list(dict.fromkeys(unsafe))
    writer = {n: step for step in steps for n in step.nodes}
    readers: dict[Node, list[Uncut]] = {x: [] for x in overwritten.values()}
    for step in steps:
        for x in inputs_read(step, stored, level):
            if x in readers:
                readers[x].append(step)
    for node, x in overwritten.items():
        own = writer[node]
        for step in readers[x]:
            if step is own and isinstance(step, Control):
                safe = node in step.handed
            elif step is own and isinstance(step, Single):
                # Nothing else reads what a running total is added to.
                safe = step.total is node
            elif step is own:
                safe = isinstance(step, Nest) and _reads_own_elements(step, x, stored, level)
            else:
                safe = not isinstance(step, Copy) and step.level < own.level
            if not safe:
                unsafe.append(node)
                break
    return list(dict.fromkeys(unsafe))


def inputs_read(step: Step, stored: Collection[Node], level: Mapping[Node, int]) -> set[Node]:
    """Return the inputs a step reads: itself, by views, or by values it computes in place."""
    return {x for x in memory_read(step, stored, level) if x.op.name == "input"}


def memory_read(step: Step, stored: Collection[Node], level: Mapping[Node, int]) -> set[Node]:
    """Return the inputs and the stored values a step reads, by views or what it computes too."""
    if isinstance(step, Strips):
        return set().union(*(memory_read(s, stored, level) for s in step.steps))
    own = set(step.nodes)
    waiting = [step.node] if isinstance(step, Copy) else [x for n in own for x in n.args]
    if isinstance(step, Control):
        waiting = list(step.node.args)
    found: set[Node] = set()
    seen: set[Node] = set()
    while waiting:
        x = waiting.pop()
        if x in seen or x in own:
            continue
        seen.add(x)
        if x.op.name == "input" or (x in stored and level[x] < step.level):
            found.add(x)
        else:
            waiting.extend(x.args)
    return found


def _reads_own_elements(
    nest: Nest, x: Node, stored: Collection[Node], level: Mapping[Node, int]
) -> bool:
    """Tell whether each turn of a nest reads of `x` only the element at its own place."""
    if nest.rows is not None:
        return False

    def in_memory(node: Node) -> bool:
        known = node.op.name in ("input", "data")
        return known or (node in stored and level[node] < nest.level)

    variables = tuple(map(named, loop_variables("i", len(nest.space))))
    here = flat_offset(nest.space, variables)
    waiting: list[tuple[Node, Index]] = []
    for member in nest.members:
        own = iter(variables)
        waiting.append((member, tuple(0 if e == 1 else next(own) for e in member.shape)))
    seen: set[tuple[Node, Index]] = set()
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        base, place = follow(*one, in_memory)
        if not isinstance(place, tuple):
            if base is x and place != here:
                return False
        elif base.op.kind is Kind.POINTWISE:
            waiting.extend((a, place) for a in base.args)
        elif x in reached([base]):
            return False
    return True
