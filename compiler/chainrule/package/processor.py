"""Which features of a processor exported code may use, in the names the kernel reports them by."""

from __future__ import annotations

from typing import Final

from chainrule.link.target import Target
from chainrule_runtime.exported import processor_flags

__all__ = ["needed_features"]

# Only what a code generator picks by itself; LLVM's names first.
_X86: Final = {
    "sse3": "pni", "ssse3": "ssse3", "sse4.1": "sse4_1", "sse4.2": "sse4_2", "sse4a": "sse4a",
    "popcnt": "popcnt", "lzcnt": "abm", "bmi": "bmi1", "bmi2": "bmi2", "movbe": "movbe",
    "adx": "adx", "f16c": "f16c", "fma": "fma", "fma4": "fma4", "xop": "xop", "tbm": "tbm",
    "gfni": "gfni", "avx": "avx", "avx2": "avx2", "avxvnni": "avx_vnni", "avxifma": "avx_ifma",
    "avx512f": "avx512f", "avx512cd": "avx512cd", "avx512bw": "avx512bw", "avx512dq": "avx512dq",
    "avx512vl": "avx512vl", "avx512vbmi": "avx512vbmi", "avx512vbmi2": "avx512_vbmi2",
    "avx512ifma": "avx512ifma", "avx512vnni": "avx512_vnni", "avx512bitalg": "avx512_bitalg",
    "avx512vpopcntdq": "avx512_vpopcntdq", "avx512bf16": "avx512_bf16",
    "avx512fp16": "avx512_fp16",
}  # fmt: skip
_ARM: Final = {
    "neon": "asimd", "lse": "atomics", "fullfp16": "asimdhp", "dotprod": "asimddp",
    "fp16fml": "asimdfhm", "bf16": "bf16", "i8mm": "i8mm", "rcpc": "lrcpc", "crc": "crc32",
    "sve": "sve", "sve2": "sve2",
}  # fmt: skip


def needed_features(target: Target) -> tuple[str, ...]:
    """Return the features code for a target may use."""
    table = _X86 if target.triple.startswith("x86_64") else _ARM
    on = {feature[1:] for feature in target.features.split(",") if feature.startswith("+")}
    needs = [theirs for ours, theirs in table.items() if ours in on]
    # A kernel that does not report a feature of this very machine would not elsewhere either.
    flags = processor_flags()
    return tuple(needs if flags is None else [f for f in needs if f in flags])
