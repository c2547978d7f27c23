"""From a traced program to what the runtime knows of it: leaves, nesting, dims, donations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainrule.frontend.trace import Traced
from chainrule.ir.binding import solutions
from chainrule.ir.dims import Extent
from chainrule.ir.graph import Guard
from chainrule_runtime import abi

__all__ = ["abi_extent", "donation_pairs", "runtime_signature"]


def abi_extent(extent: Extent, dims: Sequence[str]) -> abi.Extent:
    """Return an extent in the runtime's notation."""
    if isinstance(extent, int):
        return extent
    total: abi.Extent | None = None
    # In the order in which `show_extent` prints them: numbers last.
    for monomial, coefficient in sorted(extent.terms, key=lambda t: (-len(t[0]), str(t[0]))):
        product: abi.Extent = ("const", coefficient)
        for i, f in enumerate(monomial):
            if isinstance(f, str):
                factor: abi.Extent = ("dim", dims.index(f))
            else:
                factor = (f.kind, _expression(f.left, dims), _expression(f.right, dims))
            product = factor if i == 0 and coefficient == 1 else ("mul", product, factor)
        total = product if total is None else ("add", total, product)
    assert total is not None, "a polynomial has a term"
    return total


def _expression(extent: Extent, dims: Sequence[str]) -> Any:
    return ("const", extent) if isinstance(extent, int) else abi_extent(extent, dims)


def runtime_signature(traced: Traced, arena: Extent, guards: Sequence[Guard]) -> abi.Signature:
    """Describe a compiled program to the runtime."""
    program = traced.program
    dims = program.dims

    def leaf(path: str, node: Any, weak: bool = False) -> abi.Leaf:
        shape = tuple(abi_extent(e, dims) for e in node.shape)
        return abi.Leaf(path, node.dtype.numpy.name, shape, weak)

    return abi.Signature(
        name=program.name,
        inputs=tuple(map(leaf, program.paths, program.inputs, traced.weak_inputs)),
        input_tree=traced.in_tree.to_runtime(),
        outputs=tuple(map(leaf, program.output_paths, program.outputs)),
        output_tree=traced.out_tree.to_runtime(),
        dims=dims,
        guards=tuple(
            abi.Guard(g.kind, abi_extent(g.left, dims), abi_extent(g.right, dims), g.text)
            for g in guards
        ),
        donated=program.donated,
        arena=abi_extent(arena, dims),
        solved=tuple(
            abi.Solved(
                dims.index(s.name), s.weights, abi_extent(s.rest, dims), abi_extent(s.divisor, dims)
            )
            for s in solutions([node.shape for node in program.inputs])
        ),
    )


def donation_pairs(traced: Traced, donated: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Pair each donated input leaf with the output that takes over its memory.

    An output of the same type is taken, by preference one at the same place of its tree
    (`params/W1` and `0/W1`).  Leaves without a partner are not written to.
    """
    program = traced.program
    free = list(range(len(program.outputs)))
    pairs = []
    for i, (path, node) in enumerate(zip(program.paths, program.inputs, strict=True)):
        # A number has no memory to take over.
        if path.split("/")[0] not in donated or traced.weak_inputs[i]:
            continue
        same = [o for o in free if program.outputs[o].type == node.type]
        if not same:
            continue
        tail = path.partition("/")[2]
        by_place = [o for o in same if program.output_paths[o].partition("/")[2] == tail]
        chosen = (by_place or same)[0]
        free.remove(chosen)
        pairs.append((i, chosen))
    return tuple(pairs)
