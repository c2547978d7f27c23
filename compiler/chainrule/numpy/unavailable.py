"""Functions of plain arrays that have no meaning for traced values yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from chainrule.frontend.dispatch import array_function
from chainrule.frontend.value import refuse

__all__ = [
    "argpartition", "argsort", "argwhere", "bincount", "compress", "cov", "extract", "flatnonzero",
    "histogram", "interp", "isin", "lexsort", "median", "nonzero", "partition", "percentile",
    "quantile", "searchsorted", "sort", "unique",
]  # fmt: skip

_SORTING: Final = "sort outside the compiled function"
_BY_VALUES: Final = "choose with cnp.where(condition, a, b), which keeps the shape"
_ELSEWHERE: Final = "compute it outside the compiled function, or write it with other functions"


def _unavailable(function: Any, why: str, hint: str) -> Callable[..., Any]:
    name = function.__name__

    def refused(*args: Any, **kwargs: Any) -> Any:
        del args, kwargs
        refuse(f"{name} of a traced value {why}", None, hint)

    refused.__name__ = refused.__qualname__ = name
    refused.__doc__ = (
        f"Compute `numpy.{name}` of plain arrays; of traced ones raise UnsupportedError."
    )
    return array_function(function)(refused)


_NEEDS_SORTING: Final = "needs sorting, which is not available"
_SHAPE: Final = "has a result whose shape depends on values"
_NOT_YET: Final = "is not available"

argpartition = _unavailable(np.argpartition, _NEEDS_SORTING, _SORTING)
argsort = _unavailable(np.argsort, _NEEDS_SORTING, _SORTING)
lexsort = _unavailable(np.lexsort, _NEEDS_SORTING, _SORTING)
median = _unavailable(np.median, _NEEDS_SORTING, _SORTING)
partition = _unavailable(np.partition, _NEEDS_SORTING, _SORTING)
percentile = _unavailable(np.percentile, _NEEDS_SORTING, _SORTING)
quantile = _unavailable(np.quantile, _NEEDS_SORTING, _SORTING)
searchsorted = _unavailable(np.searchsorted, _NEEDS_SORTING, _SORTING)
sort = _unavailable(np.sort, _NEEDS_SORTING, _SORTING)
argwhere = _unavailable(np.argwhere, _SHAPE, _BY_VALUES)
compress = _unavailable(np.compress, _SHAPE, _BY_VALUES)
extract = _unavailable(np.extract, _SHAPE, _BY_VALUES)
flatnonzero = _unavailable(np.flatnonzero, _SHAPE, _BY_VALUES)
nonzero = _unavailable(np.nonzero, _SHAPE, _BY_VALUES)
unique = _unavailable(np.unique, _SHAPE, _BY_VALUES)
bincount = _unavailable(np.bincount, _NOT_YET, "use cnp.zeros(n).at[x].add(1)")
cov = _unavailable(np.cov, _NOT_YET, _ELSEWHERE)
histogram = _unavailable(np.histogram, _NOT_YET, _ELSEWHERE)
interp = _unavailable(np.interp, _NOT_YET, _ELSEWHERE)
isin = _unavailable(np.isin, _NOT_YET, "compare with x[..., None] == values, then any(-1)")
