"""What emission must know of the processor: vector width, registers, fused multiply-add."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

__all__ = ["AVX2", "AVX512", "BASELINE", "NEON", "Machine"]


@dataclass(frozen=True, slots=True)
class Machine:
    """One class of processor.

    Attributes:
        name: For messages and cache keys.
        vector_bytes: Bytes of one vector register.
        registers: Number of vector registers.
        fma: A fused multiply-add is one instruction.
        masks: Lane masks are registers of their own, so masked memory access is cheap.
        scalef: AVX-512's `vscalef` exists.
        converts_f16: An instruction converts between float16 and float32.
    """

    name: str
    vector_bytes: int
    registers: int
    fma: bool
    masks: bool = False
    scalef: bool = False
    converts_f16: bool = False

    def reproducible(self) -> Machine:
        """Return the machine every processor can stand for: one width, every rounding separate."""
        return replace(self, name="reproducible", vector_bytes=64, fma=False, scalef=False)

    def lanes(self, element_bytes: int) -> int:
        """Number of elements of that size in one vector."""
        return max(1, self.vector_bytes // element_bytes)


AVX512: Final = Machine("avx512", 64, 32, fma=True, masks=True, scalef=True, converts_f16=True)
AVX2: Final = Machine("avx2", 32, 16, fma=True, converts_f16=True)
NEON: Final = Machine("neon", 16, 32, fma=True, converts_f16=True)
BASELINE: Final = Machine("baseline", 16, 16, fma=False)
