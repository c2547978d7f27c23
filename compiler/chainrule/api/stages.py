"""The stages of a compilation, for those who want to see or drive them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from chainrule.api.limit import within_recursion_limit
from chainrule.errors import StructureError, UnsupportedError, explain
from chainrule.frontend.signature import donation_pairs
from chainrule.frontend.trace import Traced
from chainrule.frontend.trace import trace as trace_function
from chainrule.ir.dims import Extent, Shape, evaluate_extent, show_extent, size_of
from chainrule.ir.program import Program
from chainrule.ir.show import show
from chainrule.link.jit import assembly
from chainrule.loops.ir import show as show_kernel
from chainrule.loops.lower import Choose, Foreign, Launch, Repeat, Returns, Run, StripLoop
from chainrule.numerics import numerics_called
from chainrule.ops.cost import flops
from chainrule.optimize import optimize
from chainrule.options import Options
from chainrule.pipeline import Lowered, lower_program

__all__ = ["CompiledFunction", "Cost", "LoweredFunction", "Memory", "TracedFunction", "trace"]


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: what a call allocates, what it reads, what it returns, what is part of the code."""

    arena: int
    inputs: int
    outputs: int
    constants: int


@dataclass(frozen=True, slots=True)
class Cost:
    """The work of one call: floating-point operations, bytes of arguments and results, kernels."""

    flops: int
    bytes: int
    kernels: int


class CompiledFunction:
    """Native code for one signature, and what it costs.

    `memory` and `cost` are those of a call with every named dim at the given number (1 unless
    said otherwise by `at`).
    """

    def __init__(self, traced: Traced, lowered: Lowered, dims: dict[str, int]) -> None:
        self.traced, self.lowered, self.dims = traced, lowered, dims
        self.code = lowered.load()

    def at(self, **dims: int) -> CompiledFunction:
        """Return the same code, counted at other extents."""
        return CompiledFunction(self.traced, self.lowered, {**self.dims, **dims})

    @property
    def memory(self) -> Memory:
        """Bytes in all, known before any call."""
        program = self.lowered.optimized
        data = [n for n in program.nodes if n.op.name == "data"]

        def nbytes(nodes: Sequence[Any]) -> int:
            return sum(self._number(size_of(n.shape)) * n.dtype.nbytes for n in nodes)

        return Memory(
            self._number(self.lowered.arena), nbytes(program.inputs), nbytes(program.outputs),
            nbytes(data),
        )  # fmt: skip

    @property
    def cost(self) -> Cost:
        """Work of one call."""
        memory = self.memory
        work = flops(self.lowered.optimized.nodes, self.dims)
        return Cost(work, memory.inputs + memory.outputs, self.lowered.kernels)

    def _number(self, extent: Extent) -> int:
        return evaluate_extent(extent, self.dims)


class LoweredFunction:
    """A function on its way to code; every stage can be printed."""

    def __init__(
        self, traced: Traced, lowered: Lowered | None, shapes: Sequence[Shape] = (), *,
        options: Options | None = None,
    ) -> None:  # fmt: skip
        """Lower a traced program, unless that is done; `shapes` are those of actual arguments."""
        if lowered is None:
            options = (options or Options()).called_with(traced.numbers(shapes))
            pairs = donation_pairs(traced, options.donated)
            traced = replace(traced, program=replace(traced.program, donated=pairs))
            lowered = lower_program(traced.program, options)
        self.traced, self.lowered = traced, lowered
        self._dims = traced.numbers(shapes)

    def as_text(self, stage: Literal["expr", "loops", "llvm", "asm"]) -> str:
        """Return one stage as text: expressions, loops, LLVM IR, or assembly of the host."""
        match stage:
            case "expr":
                return show(self.lowered.optimized)
            case "loops":
                return show_runs(self.lowered.runs)
            case "llvm":
                return self.lowered.module.text()
            case "asm":
                return assembly(self.lowered.module.text(), self.lowered.target)
        raise UnsupportedError(
            explain(f"there is no stage {stage!r}", "stages  expr, loops, llvm, asm")
        )

    def compile(self, **dims: int) -> CompiledFunction:
        """Generate the code.

        Memory and cost are counted with named dims as the arguments of `lower` had them, or as
        given here; 1 where neither says.
        """
        known = {**dict.fromkeys(self.traced.program.dims, 1), **self._dims, **dims}
        return CompiledFunction(self.traced, self.lowered, known)


def show_runs(runs: Sequence[Run]) -> str:
    """Print kernels in the order in which they run, each once."""
    seen: dict[str, int] = {}
    lines: list[str] = []

    def launch(one: Launch, indent: str) -> None:
        text = show_kernel(one.kernel)
        number = seen.setdefault(text, len(seen))
        places = ", ".join(str(p) for p in one.places)
        lines.append(f"{indent}run k{number} on {places}")

    def all_of(several: Sequence[Run], indent: str) -> None:
        for run in several:
            match run:
                case Launch():
                    launch(run, indent)
                case Returns():
                    lines.append(f"{indent}return {run.code} if {run.place}")
                case StripLoop():
                    lines.append(f"{indent}for each strip of {run.rows} of {run.dim}")
                    all_of(run.body, indent + "  ")
                case Repeat():
                    all_of(run.before, indent)
                    if run.test is None:
                        lines.append(f"{indent}repeat {show_extent(run.loop.length)} times")
                    else:
                        lines.append(f"{indent}while {run.go}")
                        all_of(run.test.runs, indent + "  test ")
                    all_of(run.body.runs, indent + "  ")
                case Foreign():
                    lines.append(f"{indent}call back {run.step.node.attributes['function']}")
                case Choose():
                    all_of(run.index, indent)
                    for i, branch in enumerate(run.branches):
                        lines.append(f"{indent}in case {i}" if run.chosen else f"{indent}apart")
                        all_of(branch.runs, indent + "  ")

    all_of(runs, "")
    kernels = [f"k{number}: {text}" for text, number in seen.items()]
    return "\n".join([*lines, "", *kernels])


class TracedFunction:
    """A traced program, before anything is optimised.

    >>> import numpy as np, chainrule as cr
    >>> program = cr.trace(lambda x: x * x, cr.spec(("n",)))
    >>> print(program.show().splitlines()[2].strip())
    %1 = mul(%0, %0)  : f64[n]
    """

    def __init__(self, traced: Traced) -> None:
        self.traced = traced

    @property
    def program(self) -> Program:
        """The program itself."""
        return self.traced.program

    def show(self, *, origins: bool = False) -> str:
        """Return the program as text, with source lines if asked for."""
        return show(self.traced.program, origins=origins)

    def latex(self) -> str:
        """Return the first result as a formula."""
        from chainrule.inspect import formula

        program = self.traced.program
        if not program.outputs:
            raise StructureError(
                explain(f"{program.name} returns no array", hint="there is no formula")
            )
        return formula(
            program.outputs[0], names=dict(zip(program.inputs, program.paths, strict=True))
        ).latex()

    def optimize(self, *, numerics: str = "fast") -> TracedFunction:
        """Return the program after the rewrite rules."""
        program = self.traced.program
        if program.results or program.inputs:
            program = optimize(program, numerics_called(numerics))
        return TracedFunction(replace(self.traced, program=program))

    def lower(self, target: str = "host", *, numerics: str = "fast") -> LoweredFunction:
        """Return loops and LLVM IR for a target."""
        if target != "host":
            raise UnsupportedError(explain(f"no code for {target} yet", "targets  host"))
        return LoweredFunction(self.traced, None, options=Options(numerics_called(numerics)))


def trace(fn: Callable[..., Any], *args: Any, **options: Any) -> TracedFunction:
    """Trace a function on arrays or specs and return its program.

    Args:
        fn: A function of pytrees of arrays.
        args: Arrays, numbers or `spec(...)`.
        options: `dims`, `static_argnames`, `kwargs`, `name` as for `jit`.
    """
    if "numerics" in options:
        options["numerics"] = numerics_called(options["numerics"])
    with within_recursion_limit(fn):
        return TracedFunction(trace_function(fn, *args, **options))
