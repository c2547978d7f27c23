"""Code that functions share which compute the same: programs compared node by node."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Final

from chainrule.api import variant
from chainrule.frontend.trace import Traced
from chainrule.ir.program import Program

__all__ = ["shared_variant", "structure"]

KEPT: Final = 256
"Programs whose code is kept; those not used for longest give way."
_KNOWN: Final[OrderedDict[Hashable, variant.Variant]] = OrderedDict()
_LOCK: Final = threading.Lock()


def structure(program: Program) -> Hashable:
    """Return what two traces of a program have in common; linear in the number of nodes."""
    order = {node: i for i, node in enumerate(program.nodes)}
    inputs = {node: i for i, node in enumerate(program.inputs)}
    nodes = tuple([
        (n.op.name, inputs[n], n.type) if n in inputs
        else (n.op.name, tuple([order[x] for x in n.args]), n.attrs)
        for n in program.nodes
    ])  # fmt: skip
    return (
        program.name, nodes, tuple([x.type for x in program.inputs]),
        tuple([order[y] for y in program.outputs]), program.paths, program.guards,
        tuple([(order[c.failed], c.message) for c in program.checks]),
    )  # fmt: skip


def shared_variant(traced: Traced, **options: Any) -> variant.Variant:
    """Return code for a traced program, made for an equal one before or now."""
    key = (
        structure(traced.program), traced.in_tree, traced.out_tree, traced.weak_inputs,
        options["donated"], options["numerics"], options["inferred"],
    )  # fmt: skip
    with _LOCK:
        found = _KNOWN.get(key)
        if found is not None:
            _KNOWN.move_to_end(key)
            return found
    made = variant.compile_variant(traced, **options)
    with _LOCK:
        _KNOWN[key] = made
        if len(_KNOWN) > KEPT:
            _KNOWN.popitem(last=False)
    return made
