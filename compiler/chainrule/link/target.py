"""Processors that code can be made for, and what LLVM calls them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import llvmlite.binding as llvm

from chainrule.emit.machine import AVX2, AVX512, BASELINE, NEON, Machine
from chainrule.errors import CompileError, explain

__all__ = ["Target", "host", "llvm_version", "target_machine"]


@dataclass(frozen=True, slots=True)
class Target:
    """A processor: LLVM's triple, name and features, and the machine the emitter writes for."""

    name: str
    triple: str
    cpu: str
    features: str
    machine: Machine


@cache
def _initialize() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()


@cache
def host() -> Target:
    """Return the processor this process runs on."""
    _initialize()
    features = llvm.get_host_cpu_features()
    has = {name for name, on in features.items() if on}
    triple = llvm.get_process_triple()
    if {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= has:
        machine = AVX512
    elif {"avx2", "fma", "f16c"} <= has:
        machine = AVX2
    elif triple.startswith(("aarch64", "arm64")):
        machine = NEON
    else:
        machine = BASELINE
    return Target("host", triple, llvm.get_host_cpu_name(), features.flatten(), machine)


def llvm_version() -> str:
    """Return the version of the code generator."""
    return ".".join(map(str, llvm.llvm_version_info))


def target_machine(target: Target, *, jit: bool, level: int = 2) -> Any:
    """Return LLVM's code generator for a target.

    Raises:
        CompileError: This LLVM does not know the target.
    """
    _initialize()
    try:
        found = llvm.Target.from_triple(target.triple)
    except RuntimeError as error:
        raise CompileError(explain(f"no code generator for {target.triple}", str(error))) from None
    # The small code model with position-independent code: the default is the large one, and static
    # code with constants aborts the process when loaded far away.
    return found.create_target_machine(
        cpu=target.cpu, features=target.features, opt=level, codemodel="small", reloc="pic", jit=jit
    )
