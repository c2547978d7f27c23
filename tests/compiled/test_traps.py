"""Every gradient trap through native code, forwards and backwards, in both precisions."""

from __future__ import annotations

import numpy as np
import pytest
from tests.compiled.run import Compiled
from tests.differentiate.test_traps import MODES, program
from tests.differentiate.traps import TRAPS, Trap

from chainrule.ir.types import F32, F64, DType


@pytest.mark.share(4)
@pytest.mark.parametrize("dtype", [F64, F32], ids=str)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("trap", TRAPS, ids=lambda t: t.name)
def test_native_gradients_are_exact(trap: Trap, mode: str, dtype: DType) -> None:
    built, arrays = program(trap, mode, dtype)
    tolerance = trap.tolerance if dtype is F64 else max(trap.tolerance, 1e-5)
    for got, want in zip(Compiled(built)(*arrays), trap.expected(dtype), strict=True):
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * 1e-10)
