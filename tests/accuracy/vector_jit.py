"""Compile one vector function into a loop over arrays, for the tests and the benchmark."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import numpy.typing as npt

from chainrule.emit.builder import F32, F64, I64, PTR, VOID, Module, Value, vector
from chainrule.emit.machine import AVX2, AVX512, BASELINE, NEON, Machine
from chainrule.emit.vector_math import emit_function
from chainrule.link.libraries import load

Array = npt.NDArray[Any]

BINARY = frozenset({"atan2", "atan2_slope", "hypot", "log_quotient", "logaddexp", "pow"})

_TARGETS = {
    AVX512: ("x86-64-v4", "-prefer-256-bit"),
    AVX2: ("x86-64-v3", ""),
    BASELINE: ("x86-64", ""),
    NEON: ("generic", ""),
}


def host_machines() -> list[Machine]:
    """Return the machines whose code runs here."""
    features = llvm.get_host_cpu_features()
    if llvm.get_default_triple().startswith("x86_64"):
        machines = [BASELINE]
        if features.get("avx2") and features.get("fma"):
            machines.append(AVX2)
        if all(features.get(f"avx512{part}") for part in ("f", "dq", "vl", "bw")):
            machines.append(AVX512)
        return machines
    return [NEON]


def target_machine(machine: Machine) -> Any:
    """Return LLVM's target for one of our machines."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = _TARGETS[machine]
    target = llvm.Target.from_triple(llvm.get_default_triple())
    return target.create_target_machine(
        cpu=cpu, features=features, opt=2, reloc="pic", codemodel="small", jit=True
    )


def module_of(name: str, machine: Machine, scalar: str, lanes: int) -> Module:
    """Write `void kernel(ptr a, ptr b, ptr out, i64 n)`: the function over whole vectors."""
    element = F32 if scalar == "float" else F64
    type_, size = vector(element, lanes), element.bits // 8
    module = Module()
    b, (first, second, out, count) = module.function(
        "kernel", VOID, [(PTR, "a"), (PTR, "b"), (PTR, "out"), (I64, "n")], internal=False
    )

    def turn(i: Value, _carried: list[Value]) -> None:
        at = b.mul(i, size)
        arguments = [
            b.load(type_, b.offset(p, at)) for p in (first, second)[: 1 + (name in BINARY)]
        ]
        b.store(emit_function(name, b, machine, *arguments), b.offset(out, at))

    b.loop(0, count, step=max(1, lanes), body=turn)
    b.ret()
    b.close()
    return module


@cache
def compiled(name: str, machine: Machine, scalar: str, lanes: int) -> Callable[..., Array]:
    """Return the function on arrays of any length, computed `lanes` (0: scalars) at a time."""
    target = target_machine(machine)
    parsed = llvm.parse_assembly(module_of(name, machine, scalar, lanes).text())
    parsed.verify()
    loaded = load(bytes(target.emit_object(parsed)), ("kernel",))
    pointer = ctypes.c_void_p
    kernel = ctypes.CFUNCTYPE(None, pointer, pointer, pointer, ctypes.c_int64)(
        loaded.addresses["kernel"]
    )
    dtype = np.float32 if scalar == "float" else np.float64

    def call(*arrays: Array) -> Array:
        # The closure keeps alive what owns the code.
        assert loaded is not None
        size = arrays[0].size
        padded = -(-size // max(1, lanes)) * max(1, lanes)
        inputs = [np.ones(padded, dtype) for _ in arrays]
        for whole, given in zip(inputs, arrays, strict=True):
            whole[:size] = given
        out = np.empty(padded, dtype)
        kernel(inputs[0].ctypes.data, inputs[-1].ctypes.data, out.ctypes.data, padded)
        return out[:size]

    call.kernel = kernel  # type: ignore[attr-defined]
    return call
