"""Code that functions share which compute the same: programs compared node by node."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from chainrule.api import variant
from chainrule.frontend.trace import Traced
from chainrule.ir.body import Body
from chainrule.ir.dims import Dim, Extent, named, substitute_extent
from chainrule.ir.graph import Node
from chainrule.ir.program import Program
from chainrule.ir.types import Type
from chainrule.ir.walk import topological
from chainrule.link.cache import Cache
from chainrule.ops.control import counted_names
from chainrule.options import Options
from chainrule_runtime.forks import hold_over_forks

__all__ = ["lend", "structure"]

KEPT: Final = 64
"Programs whose code is kept; those not used for longest give way."
LARGE: Final = 1 << 20
"Bytes of captured arrays above which a program is not kept beyond the function it is for."
_KNOWN: Final[OrderedDict[Hashable, tuple[variant.Variant, bool]]] = OrderedDict()
"Code by program, and whether its entry is another's to chain."
_LOCK: Final = hold_over_forks(3, "the table of shared code", threading.RLock())


def structure(program: Program) -> Hashable:
    """Return what two traces of a program have in common; linear in the number of nodes."""
    names: dict[str, Extent] = {}
    order, nodes = _listed(program.inputs, program.results, names)
    return (
        program.name, nodes, tuple([x.type for x in program.inputs]),
        tuple([order[y] for y in program.outputs]), program.paths, program.guards,
        tuple([(order[c.failed], c.message) for c in program.checks]),
    )  # fmt: skip


def _listed(
    inputs: Sequence[Node], results: Sequence[Node], names: dict[str, Extent]
) -> tuple[dict[Node, int], Hashable]:
    """Return the places of all nodes in their order, and what they are in terms of places."""
    found = topological((*inputs, *results))
    order = {node: i for i, node in enumerate(found)}
    given = {node: i for i, node in enumerate(inputs)}
    nodes = tuple([
        (n.op.name, given[n], n.type) if n in given
        else (n.op.name, tuple([order[x] for x in n.args]),
              tuple([_plain(value, names) for value in n.attrs]))
        for n in found
    ])  # fmt: skip
    return order, nodes


def _plain(value: Any, names: dict[str, Extent]) -> Hashable:
    """Return an attribute without what each trace makes anew: nodes, and dims that loops bind."""
    match value:
        case Body():
            order, nodes = _listed(value.inputs, value.outputs, names)
            return nodes, tuple([order[y] for y in value.outputs])
        case Dim():
            for name in sorted(counted_names(value)):
                names.setdefault(name, named(f"steps {len(names)}"))
            return substitute_extent(value, names)
        case Type():
            return value.dtype, _plain(value.shape, names)
        case tuple():
            return tuple([_plain(v, names) for v in value])
    return cast("Hashable", value)


def lend(
    traced: Traced, options: Options, *, chained: bool, cache: Cache | None,
    inferred: frozenset[str],
) -> tuple[variant.Variant, bool]:  # fmt: skip
    """Return code for a traced program, and whether it is lent: then it must not be chained.

    It is lent if an equal program was compiled before.  Whoever will chain the code (`chained`)
    keeps what is compiled now, and others are lent the same behind another entry.
    """
    data = [n for n in traced.program.nodes if n.op.name == "data"]
    if sum(len(n.attributes["bits"]) for n in data) > LARGE:
        return variant.compile_variant(traced, options, cache=cache, inferred=inferred), False
    key = (
        structure(traced.program),
        traced.in_tree,
        traced.out_tree,
        traced.weak_inputs,
        options,
        inferred,
    )
    with _LOCK:
        known = _KNOWN.get(key)
        if known is not None:
            _KNOWN.move_to_end(key)
    if known is None:
        made = variant.compile_variant(traced, options, cache=cache, inferred=inferred)
        _keep(key, (made, chained))
        return made, False
    found, owned = known
    if owned:
        found = found.bound(cache)
        _keep(key, (found, False))
    # What its entry refuses includes what a memory budget adds.
    program = replace(traced.program, guards=found.traced.program.guards)
    return replace(found, traced=replace(traced, program=program)), True


def _keep(key: Hashable, entry: tuple[variant.Variant, bool]) -> None:
    with _LOCK:
        _KNOWN[key] = entry
        if len(_KNOWN) > KEPT:
            _KNOWN.popitem(last=False)
