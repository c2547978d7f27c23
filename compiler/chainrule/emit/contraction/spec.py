"""What a contraction is: extents, strides, and what happens to a finished element."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from chainrule.emit.builder import Builder, LType, Value
from chainrule.ir.types import DType

__all__ = ["Apply", "Contraction", "Epilogue", "Extent", "Strides"]

Extent: TypeAlias = int | None
Strides: TypeAlias = tuple[int | None, int | None]
Apply: TypeAlias = Callable[
    [Builder, Sequence[Value], Value, Value, Value, Value | None], Value
]  # fmt: skip


@dataclass(frozen=True)
class Contraction:
    """C[m, n] = (or +=) the sum over k of A[m, k] * B[k, n].

    Attributes:
        dtype: Element type of all three: F32, F64, I32 or I64.
        m: Rows of A and C, or None when known only at run time.
        n: Columns of B and C, or None.
        k: Terms of each sum, or None.
        a: Strides of A along m and k, in elements; None where known only at run time.
        b: Strides of B along k and n.
        c: Strides of C along m and n.
        accumulate: Add to what C holds instead of overwriting it; None: an argument tells.
        strict: Each element is one chain of additions with k ascending, whatever m and n: the
            bits of a row do not depend on how many rows there are.
        b_half: B holds floats of this type of 16 bits, in adjacent columns (more than one), which
            are converted to `dtype`, F32, as they are read.
    """

    dtype: LType
    m: Extent
    n: Extent
    k: Extent
    a: Strides
    b: Strides
    c: Strides
    accumulate: bool | None
    strict: bool = False
    b_half: DType | None = None

    @property
    def element_bytes(self) -> int:
        """Bytes of one element."""
        return self.dtype.bits // 8

    @property
    def name(self) -> str:
        """A name that two contractions share exactly when they are equal."""
        fields = [self.m, self.n, self.k, *self.a, *self.b, *self.c]
        words = ["r" if f is None else str(f) for f in fields]
        flags = {True: "acc", False: "set", None: "may"}[self.accumulate] + (
            ".strict" if self.strict else ""
        )
        half = f".{self.b_half.name}" if self.b_half else ""
        return f"{self.dtype.mangled}.{'.'.join(words)}.{flags}{half}"

    def transposed(self) -> Contraction:
        """Return the same work as C^T = B^T A^T: rows and columns, A and B change places."""
        return replace(
            self, m=self.n, n=self.m,
            a=(self.b[1], self.b[0]), b=(self.a[1], self.a[0]), c=(self.c[1], self.c[0]),
        )  # fmt: skip

    def with_unit_strides(self) -> Contraction:
        """Return the spec with strides along extents of 1, which no address uses, set to 1."""
        (am, ak), (bk, bn), (cm, cn) = self.a, self.b, self.c
        if self.m == 1:
            am, cm = 1, 1
        if self.n == 1:
            bn, cn = 1, 1
        if self.k == 1:
            ak, bk = 1, 1
        return replace(self, a=(am, ak), b=(bk, bn), c=(cm, cn))


@dataclass(frozen=True)
class Epilogue:
    """What is done to a finished accumulator on its way to C.

    `apply(b, extra, acc, row, column, mask)` returns what is stored.  `acc` holds consecutive
    columns of one row, starting at `column`; under a mask only the lanes set in it exist, and
    memory may be touched only there.  `acc` may be a scalar (then `mask` is None).  An element
    may be finished twice with equal results, so `apply` must not read what it stored itself.

    Attributes:
        key: Tells epilogues apart: equal keys must mean equal `extra` types and equal `apply`.
            Part of function names, so made of letters, digits, dots and underscores.
        extra: Types and names of the arguments appended to the function's own.
        apply: Emits the computation.
        reads_c: `apply` reads C's old elements at its own place (an update of a parameter, say):
            then no partial sum is ever kept in C.
    """

    key: str
    extra: tuple[tuple[LType, str], ...]
    apply: Apply
    reads_c: bool = False
