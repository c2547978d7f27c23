"""How the pages print what has no text form of its own."""

import re
from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from typing import Any

from chainrule.api.stages import trace
from chainrule.emit.machine import AVX2
from chainrule.ir.dims import Extent, evaluate_extent, show_extent
from chainrule.ir.graph import Node
from chainrule.link.target import Target
from chainrule.loops.values import Kept
from chainrule.ops.control import Loop
from chainrule.ops.cost import flops, typical
from chainrule.options import Options
from chainrule.pipeline import Lowered, lower_program
from chainrule.plan.arena import Arena, plan_arena
from chainrule.schedule.steps import Control, Copy, Nest, Role, Schedule, Single, Step, Strips

HASWELL = Options(target=Target("haswell", "x86_64-unknown-linux-gnu", "haswell", "", AVX2))
"A fixed processor, so that the pages print the same on every machine: vectors of four float64."

AFTER = {
    Role.ROW_REDUCE: " (along each row)",
    Role.COLUMN_REDUCE: " (over the rows)",
    Role.TOTAL_REDUCE: " (over everything)",
}


def in_words(schedule: Schedule) -> str:
    """Return a schedule as sentences, one step a line."""
    return "\n".join(_sentences(schedule.steps, schedule.stored, ""))


def _sentences(steps: Sequence[Step], stored: Container[Node], indent: str) -> list[str]:
    lines = []
    for step in steps:
        match step:
            case Strips():
                lines.append(f"{indent}for each strip of {step.rows} rows of {step.dim}:")
                lines += _sentences(step.steps, stored, indent + "  ")
            case Nest():
                space = " x ".join(map(show_extent, step.space)) or "one number"
                # What nobody reads here is a member only in case somebody did.
                wanted = {a for n in step.members for a in n.args}
                ops = [
                    n.op.name + AFTER.get(role, "")
                    for n, role in step.members.items()
                    if n in wanted or n in stored or role in AFTER
                ]
                if ops:
                    lines.append(f"{indent}one loop over {space}: {', '.join(ops)}")
            case Single():
                lines.append(f"{indent}{step.node.op.name} -> {step.node.type}")
            case Copy():
                lines.append(f"{indent}copy into result {step.output}")
            case Control():
                for head, body in zip(_heads(step.node), step.parts, strict=True):
                    lines.append(f"{indent}{head}:")
                    lines += _sentences(body.steps, body.stored, indent + "  ")
    return lines


def _heads(node: Node) -> list[str]:
    """Say when each body of a loop, switch or call runs."""
    match node.op.name:
        case "loop" if node.attributes["test"] is not None:
            return ["repeat", "as long as"]
        case "loop":
            back = ", from the last to the first" if node.attributes["reverse"] else ""
            return [f"repeat {show_extent(Loop.of(node).length)} times{back}"]
        case "switch":
            return [f"in case {i}" for i in range(len(node.attributes["branches"]))]
        case _:
            return ["apart"]


def arena(lowered: Lowered) -> str:
    """Return the plan of scratch memory, one buffer a line, by offset; bodies' plans indented."""
    lines = [f"{'at':>6}  what"]
    lines += _buffers(plan_arena(lowered.schedule, lowered.runs), 0, "")
    return "\n".join([*lines, f"{show_extent(lowered.arena):>6}  bytes in all"])


def _buffers(plan: Arena, start: Extent, indent: str) -> list[str]:
    lines = []
    bodies = {part.inside: arena for part, arena in plan.inside.items()}
    for place, at in sorted(
        plan.offsets.items(), key=lambda item: (typical(item[1]), str(item[0]))
    ):
        what = _kept(place.what) if isinstance(place, Kept) else str(place).partition(" ")[2]
        lines.append(f"{show_extent(start + at):>6}  {indent}{what}")
        if place in bodies:
            lines += _buffers(bodies[place], start + at, indent + "  ")
    return lines


def _kept(what: str) -> str:
    if what.isdecimal():
        return f"carry {what}"
    return what.replace("inside", "body") if what.startswith("inside") else what


def kernel(lowered: Lowered, name: str, block: str) -> str:
    """Return one basic block of a kernel's LLVM IR."""
    text = lowered.module.text()
    body = text[text.index(f"define internal void @{lowered.entry}.{name}(") :].partition("\n}\n")[
        0
    ]
    return re.split(r"\n(?=[\w.]+:\n)", body[body.index(f"\n{block}:") + 1 :])[0]


def arena_bytes(lowered: Lowered, **dims: int) -> int:
    """Return the size of the arena at given extents."""
    return evaluate_extent(lowered.arena, dims)


def counts(
    fn: Callable[..., Any], *args: Any, memory_budget: int | None = None, **dims: int
) -> tuple[int, int]:
    """Return the operations of a call and the bytes of its arena, on the fixed processor."""
    program = trace(fn, *args).program
    options = replace(HASWELL, memory_budget=memory_budget).called_with(dims)
    lowered = lower_program(program, options)
    return flops(lowered.optimized.nodes, dims), arena_bytes(lowered, **dims)
