"""How the pages print what has no text form of its own."""

import re
from collections.abc import Container, Sequence

from chainrule.emit.machine import AVX2
from chainrule.ir.dims import evaluate_extent, show_extent
from chainrule.ir.graph import Node
from chainrule.link.target import Target
from chainrule.pipeline import Lowered
from chainrule.plan.arena import plan_arena
from chainrule.schedule.steps import Copy, Nest, Role, Schedule, Single, Step, Strips

HASWELL = Target("haswell", "x86_64-unknown-linux-gnu", "haswell", "", AVX2)
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
    return lines


def arena(lowered: Lowered) -> str:
    """Return the plan of scratch memory, one buffer a line, by offset."""
    offsets, _ = plan_arena(lowered.schedule, lowered.runs)
    lines = [f"{'at':>6}  what"]
    for place, at in sorted(offsets.items(), key=lambda item: (item[1], str(item[0]))):
        lines.append(f"{show_extent(at):>6}  {str(place).partition(' ')[2]}")
    return "\n".join([*lines, f"{show_extent(lowered.arena):>6}  bytes in all"])


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
