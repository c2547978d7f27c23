"""The operands of one contraction while its function is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chainrule.emit.builder import VOID, Builder, Value
from chainrule.emit.contraction.choice import FAR_APART, ROWS_WORTH_COPYING, copies_b, swaps
from chainrule.emit.contraction.plain import emit_plain
from chainrule.emit.contraction.spec import Contraction, Epilogue
from chainrule.emit.contraction.tile import main_tile
from chainrule.emit.machine import Machine

__all__ = ["Operands", "effect"]


def effect(emit: Callable[[], None]) -> Callable[[], list[Value]]:
    """Wrap code that merges no values, for the sides of a branch."""

    def run() -> list[Value]:
        emit()
        return []

    return run


class Operands:
    """Extents and strides in bytes, constant where the spec knows them.

    Rows and columns have changed places where C^T = B^T A^T is the better product.
    """

    def __init__(
        self, b: Builder, machine: Machine, spec: Contraction, epilogue: Epilogue | None,
        values: Sequence[Value],
    ) -> None:  # fmt: skip
        self.b, self.machine, self.epilogue = b, machine, epilogue
        self.extra = values[14:] if spec.accumulate is None else values[13:]
        self.reads_c = epilogue is not None and epilogue.reads_c
        self.a, self.b_matrix, self.c, self.workspace = *values[:3], values[12]
        spec = spec.with_unit_strides()
        given: list[int | None] = [spec.m, spec.n, spec.k, *spec.a, *spec.b, *spec.c]
        known = [v if g is None else b.i64(g) for g, v in zip(given, values[3:12], strict=True)]
        self.m, self.n, self.k, am, ak, bk, bn, cm, cn = known
        if swaps(spec, epilogue):
            spec = spec.transposed()
            self.a, self.b_matrix, self.m, self.n = self.b_matrix, self.a, self.n, self.m
            am, ak, bk, bn, cm, cn = bn, bk, ak, am, cn, cm
        self.spec = spec
        self.nbytes = spec.element_bytes
        assert spec.b_half is None or spec.b[1] == 1, "columns of 16 bits are adjacent"
        self.am, self.ak, self.cm, self.cn = (b.mul(s, self.nbytes) for s in (am, ak, cm, cn))
        b_bytes = spec.b_half.nbytes if spec.b_half else self.nbytes
        self.bk, self.bn = (b.mul(s, b_bytes) for s in (bk, bn))
        self.bn_elements, self.bk_elements = bn, bk
        self.tile = main_tile(machine, self.nbytes)
        self.add = values[13] if spec.accumulate is None else b.i64(int(spec.accumulate))
        # What C is read for must not be a partial sum, and a panel holds only so many rows.
        self.copies = copies_b(spec) and not (self.reads_c and spec.k is None)
        self.worth_copying = self._worth_copying() if self.copies else None

    def _worth_copying(self) -> Value | None:
        """Return the run-time half of `copies_b`, None if nothing is left to decide."""
        b, tests = self.b, []
        if self.spec.m is None:
            tests.append(b.icmp("sge", self.m, ROWS_WORTH_COPYING))
        if self.spec.n is None:
            tests.append(b.icmp("sgt", self.n, FAR_APART // self.nbytes))
        if self.spec.b[0] is None:
            # Backwards and far apart is rare, and only slower.
            tests.append(b.icmp("sgt", self.bk, FAR_APART))
        if not tests:
            return None
        for other in tests[1:]:
            tests[0] = b.and_(tests[0], other)
        return tests[0]

    def plain(self) -> None:
        """Call the scalar loops, which serve any strides."""
        assert self.spec.b_half is None, "16 bits are converted by the other forms"
        name = emit_plain(
            self.b.module, self.machine, self.spec.dtype, self.epilogue, self.spec.strict
        )
        self.b.call(name, VOID, [
            self.a, self.b_matrix, self.c, self.m, self.n, self.k, self.am, self.ak, self.bk,
            self.bn, self.cm, self.cn, self.add, *self.extra,
        ])  # fmt: skip
