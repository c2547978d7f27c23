"""A contraction as a function: which form suits its strides and sizes."""

from __future__ import annotations

from chainrule.emit.builder import I64, PTR, VOID, Module, Value
from chainrule.emit.contraction.choice import FEW_COLUMNS, FEW_ROWS, WIDE_ROW
from chainrule.emit.contraction.dot import emit_dots
from chainrule.emit.contraction.operands import effect
from chainrule.emit.contraction.panels import Panels
from chainrule.emit.contraction.row import emit_finish, emit_row
from chainrule.emit.contraction.spec import Contraction, Epilogue
from chainrule.emit.machine import Machine

__all__ = ["emit_contraction"]


def emit_contraction(
    module: Module, machine: Machine, spec: Contraction, epilogue: Epilogue | None = None
) -> str:
    """Define the contraction once; return its name.

    Signature: `void (ptr A, ptr B, ptr C, i64 m, i64 n, i64 k, i64 am, i64 ak, i64 bk, i64 bn,
    i64 cm, i64 cn, ptr workspace, extra...)`, strides in elements.  Arguments the spec knows are
    ignored.  Where it leaves `accumulate` open, `i64 adding` (not 0: add) follows the workspace.
    Neither A nor B may overlap C; the workspace must be aligned to 64 bytes and hold
    `workspace_bytes` (it may be null if that is 0).
    """
    key = f".{epilogue.key}" if epilogue else ""
    name = f"contraction.{machine.name}.{spec.name}{key}"
    if not module.has_function(name):
        numbers = ("m", "n", "k", "am", "ak", "bk", "bn", "cm", "cn")
        arguments = [*((PTR, p) for p in "ABC"), *((I64, n) for n in numbers), (PTR, "workspace")]
        if spec.accumulate is None:
            arguments.append((I64, "adding"))
        extra = list(epilogue.extra) if epilogue else []
        b, values = module.function(name, VOID, arguments + [(t, f"x.{n}") for t, n in extra])
        _Driver(b, machine, spec, epilogue, values).emit()
    return name


class _Driver(Panels):
    """The emitter of one contraction."""

    def emit(self) -> None:
        """Write the whole function."""
        b, spec = self.b, self.spec
        if spec.accumulate and self.epilogue is None and spec.k is None:
            # Adding an empty sum would turn -0.0 into 0.0.
            b.if_(b.icmp("sgt", self.k, 0), self._by_layout)
        elif not (spec.accumulate and self.epilogue is None and spec.k == 0):
            self._by_layout()
        b.ret()
        b.close()

    def _by_layout(self) -> None:
        if self.spec.c[1] == 1:
            self._by_size()
        elif self.spec.c[1] is None:
            adjacent = self.b.icmp("eq", self.cn, self.nbytes)
            self.b.if_(adjacent, effect(self._by_size), effect(self.plain))
        else:
            self.plain()

    def _by_size(self) -> None:
        """C's columns are adjacent: choose between dot products and tiles."""
        spec = self.spec
        dots = spec.a[1] == 1 and spec.b[0] == 1 and not spec.strict and spec.b_half is None
        if dots and spec.n is not None and spec.n <= FEW_COLUMNS:
            self._dots_down()
        elif dots and spec.b[1] != 1 and spec.m is not None and spec.m <= FEW_ROWS:
            self._dots_along()
        elif dots and spec.b[1] != 1 and spec.m is None:
            few = self.b.icmp("sle", self.m, FEW_ROWS)
            self.b.if_(few, effect(self._dots_along), effect(self.tiles))
        elif self._may_be_a_wide_row():
            self._row_or_tiles()
        else:
            self.tiles()

    def _may_be_a_wide_row(self) -> bool:
        spec = self.spec
        return (
            spec.b[1] == 1 and spec.m in (1, None) and (spec.n is None or spec.n >= WIDE_ROW)
            and not spec.strict and not self.reads_c
        )  # fmt: skip

    def _row_or_tiles(self) -> None:
        b, spec = self.b, self.spec
        if spec.m == 1 and spec.n is not None:
            self._wide_row()
            return
        one, wide = b.icmp("eq", self.m, 1), b.icmp("sge", self.n, WIDE_ROW)
        b.if_(b.and_(one, wide), effect(self._wide_row), effect(self.tiles))

    def _wide_row(self) -> None:
        b, dtype = self.b, self.spec.dtype
        b.call(emit_row(b.module, self.machine, dtype, self.spec.b_half), VOID, [
            self.a, self.b_matrix, self.c, self.n, self.k, self.ak, self.bk, self.add,
        ])  # fmt: skip
        if self.epilogue is not None:
            finish = emit_finish(b.module, self.machine, dtype, self.epilogue)
            b.call(finish, VOID, [self.c, self.n, *self.extra])

    def _dots_down(self) -> None:
        """Each column of C: a column of B against the rows of A."""
        b = self.b
        name = emit_dots(b.module, self.machine, self.spec.dtype, self.epilogue, down=True)

        def column(j: Value, _: list[Value]) -> None:
            b.call(name, VOID, [
                b.offset(self.b_matrix, b.mul(j, self.bn)), self.a,
                b.offset(self.c, b.mul(j, self.nbytes)), self.m, self.k, self.am, self.cm,
                self.add, b.i64(0), j, *self.extra,
            ])  # fmt: skip

        b.loop(0, self.n, 1, [], column)

    def _dots_along(self) -> None:
        """Each row of C: a row of A against the columns of B."""
        b = self.b
        name = emit_dots(b.module, self.machine, self.spec.dtype, self.epilogue, down=False)

        def row(i: Value, _: list[Value]) -> None:
            b.call(name, VOID, [
                b.offset(self.a, b.mul(i, self.am)), self.b_matrix,
                b.offset(self.c, b.mul(i, self.cm)), self.n, self.k, self.bn, b.i64(self.nbytes),
                self.add, i, b.i64(0), *self.extra,
            ])  # fmt: skip

        b.loop(0, self.m, 1, [], row)
