"""One compilation of a function: code for one structure, its dtypes, ranks and fixed extents."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from chainrule.api.calls import MISSED, Direct
from chainrule.emit.builder import Module
from chainrule.emit.entry import LONG, emit_entry
from chainrule.errors import StructureError, explain
from chainrule.frontend.pytree import TreeDef, difference, tree_flatten
from chainrule.frontend.records import records
from chainrule.frontend.signature import abi_extent, donation_pairs, runtime_signature
from chainrule.frontend.trace import Traced
from chainrule.ir.dims import show_extent
from chainrule.ir.graph import Guard
from chainrule.link.cache import Cache
from chainrule.link.jit import cached_code
from chainrule.link.libraries import Loaded, load
from chainrule.ops.cost import total_flops, typical, unbounded
from chainrule.optimize import all_nodes
from chainrule.options import Options
from chainrule.pipeline import Lowered, lower_program
from chainrule_runtime import abi
from chainrule_runtime.abi import Signature, has_custom, record_nodes
from chainrule_runtime.arguments import conform_all
from chainrule_runtime.binding import Binding
from chainrule_runtime.call import call_kernel
from chainrule_runtime.layout import native_calls
from chainrule_runtime.native_callable import attach

__all__ = ["Compilation", "Variant", "compile_variant"]

ENTRY: Final = "chainrule_entry"


@dataclass(frozen=True, slots=True)
class Compilation:
    """What one compilation was and cost.

    Attributes:
        reason: Why it happened.
        signature: The types of the arguments.
        seconds: Time from the call to runnable code.
        stages: Time spent in each stage.
        kernels: Number of different kernels.
    """

    reason: str
    signature: str
    seconds: float
    stages: dict[str, float]
    kernels: int


@dataclass(slots=True, eq=False)
class Variant:
    """Compiled code and how it is called.

    Attributes:
        binding: The native entry, or None where there is none.
        flat: Whether the entry takes and returns the leaves themselves: only Python can take the
            arguments apart, or build the results.
        direct: Calls the entry, and those chained after it.
        inferred: The dims whose names were made up, for extents that changed.
    """

    traced: Traced
    lowered: Lowered
    signature: Signature
    loaded: Loaded
    binding: Binding | None
    flat: bool
    direct: Callable[..., Any]
    inferred: frozenset[str] = frozenset()

    @property
    def messages(self) -> tuple[str, ...]:
        """What the kernel's error codes mean."""
        return tuple(c.message for c in self.traced.program.checks)

    @property
    def guards(self) -> tuple[Guard, ...]:
        """What the code relies on of the extents: of what was traced, and of what became of it."""
        return self.lowered.guards

    def bound(self, cache: Cache | None) -> Variant:
        """Return the same code behind an entry of its own, which may be chained."""
        if self.binding is None:
            return self
        signature = self.signature.flat() if self.flat else self.signature
        binding = _bind(self.traced, self.lowered, signature, self.loaded, cache)
        direct: Callable[..., Any] = Direct()
        attach(direct, binding.entry, binding)
        return replace(self, binding=binding, direct=direct)

    def fits(self, shapes: Sequence[tuple[int, ...]]) -> bool:
        """Tell whether arrays of these shapes (dtypes and structure agree) can be given."""
        dims: dict[str, int] = {}
        for node, shape in zip(self.traced.program.inputs, shapes, strict=True):
            for extent, number in zip(node.shape, shape, strict=True):
                if isinstance(extent, int):
                    if extent != number:
                        return False
                elif extent.is_name and dims.setdefault(str(extent), number) != number:
                    # One name, two numbers: if the name is the user's, an error of the caller's,
                    # told when it is called; if we made it up, another compilation.
                    return str(extent) not in self.inferred
        # What tracing decided for other numbers must not refuse what these would allow.
        known = self.traced.numbers(shapes)
        return all(g.holds(known) for g in self.guards)

    def call(self, leaves: Sequence[Any], out: Any) -> Any:
        """Check and convert the arguments in Python, then run."""
        tree = self.traced.out_tree
        scalars = [isinstance(x, np.generic | bool) for x in leaves]
        if any(scalars):
            leaves = [np.asarray(x) if s else x for x, s in zip(leaves, scalars, strict=True)]
            found = self.run(leaves, out)
            if found is not MISSED:
                return found
        arrays = conform_all(leaves, self.signature)
        weak = self.traced.weak_inputs
        found = self.run([x if w else a for x, a, w in zip(leaves, arrays, weak, strict=True)], out)
        if found is not MISSED:
            return found
        flat = None if out is None else _flat_out(tree, out)
        results = call_kernel(
            self.loaded.addresses[self.lowered.entry], self.signature, arrays, flat,
            messages=self.messages,
        )  # fmt: skip
        return out if out is not None else tree.unflatten(results)

    def run(self, leaves: Sequence[Any], out: Any) -> Any:
        """Run on leaves that are as the native entry wants them; else return `MISSED`."""
        if self.binding is None:
            return MISSED
        tree = self.traced.out_tree
        if not self.flat:
            args = self.traced.in_tree.unflatten(leaves)
            return self.direct(*args) if out is None else self.direct(*args, out=out)
        if out is not None:
            found = self.direct(*leaves, out=tuple(_flat_out(tree, out)))
            return found if found is MISSED else out
        found = self.direct(*leaves)
        return found if found is MISSED else tree.unflatten(found)


def _flat_out(tree: TreeDef, out: Any) -> list[Any]:
    leaves, given = tree_flatten(out)
    if given != tree:
        raise StructureError(
            explain(
                "out= does not have the structure of the result",
                f"result  {tree}",
                f"out  {given}",
                difference(tree, given, "the result", "out"),
            )
        )
    return leaves


def compile_variant(
    traced: Traced, options: Options, *, cache: Cache | None = None,
    inferred: frozenset[str] = frozenset(),
) -> Variant:  # fmt: skip
    """Compile a traced program, with its native entry where one is possible."""
    pairs = donation_pairs(traced, options.donated)
    traced = replace(traced, program=replace(traced.program, donated=pairs))
    lowered = lower_program(traced.program, options)
    began = time.perf_counter()
    if any(n.op.name == "callback" for n in all_nodes(lowered.optimized.results)):
        # The code holds an address of this process.
        cache = None
    loaded = lowered.load(cache)
    lowered.seconds["llvm"] = time.perf_counter() - began
    guards = (*lowered.guards, *_within_budget(lowered, options.memory_budget))
    signature = runtime_signature(traced, lowered.arena, guards)
    binding = None
    began = time.perf_counter()
    flat = _needs_python(signature)
    direct: Callable[..., Any] = Direct()
    if native_calls():
        binding = _bind(traced, lowered, signature.flat() if flat else signature, loaded, cache)
        attach(direct, binding.entry, binding)
    lowered.seconds["entry"] = time.perf_counter() - began
    return Variant(traced, lowered, signature, loaded, binding, flat, direct, inferred)


def _within_budget(lowered: Lowered, budget: int | None) -> tuple[Guard, ...]:
    """Have the entry refuse extents with which the call would need more than the budget."""
    if budget is None or isinstance(lowered.arena, int):
        return ()
    name = lowered.program.name
    text = explain(
        f"{name} needs more memory than its memory_budget for arguments of these extents",
        f"budget  {budget} bytes", f"needs   {show_extent(lowered.arena)} bytes",
    )  # fmt: skip
    return (Guard("ge", budget, lowered.arena, text),)


def _needs_python(signature: Signature) -> bool:
    """Tell whether only Python can take the arguments apart or build the results."""
    return has_custom(signature.input_tree) or has_custom(signature.output_tree)


def _work(lowered: Lowered, signature: Signature) -> bool | abi.Extent:
    """Return the work of a call, as the entry can compute it, or whether it is long."""
    if unbounded(all_nodes(lowered.optimized.results)):
        return True
    total = total_flops(lowered.optimized.nodes)
    if isinstance(total, int):
        return total >= LONG
    names = set(signature.dims)
    if all(isinstance(f, str) and f in names for monomial, _ in total.terms for f in monomial):
        return abi_extent(total, signature.dims)
    return typical(total) >= LONG


def _bind(
    traced: Traced, lowered: Lowered, signature: Signature, loaded: Loaded, cache: Cache | None
) -> Binding:
    module = Module()
    emit_entry(module, signature, None, ENTRY, _work(lowered, signature))
    # The entry runs once a call: generating it fast matters more than its own speed.
    code = cached_code(module.text(), lowered.target, cache, level=0)
    entry = load(code, (ENTRY, f"{ENTRY}_bind"))
    return Binding(
        signature, entry.addresses[ENTRY], entry.addresses[f"{ENTRY}_bind"],
        messages=tuple(c.message for c in traced.program.checks), code=(entry, loaded),
        kernel=loaded.addresses[lowered.entry],
        records=[
            *(records(traced.in_tree, given=True) if record_nodes(signature.input_tree) else ()),
            *(records(traced.out_tree) if record_nodes(signature.output_tree) else ()),
        ],
    )  # fmt: skip
