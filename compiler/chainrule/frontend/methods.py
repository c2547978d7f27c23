"""NumPy's methods of arrays, each by the function of its name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NoReturn, Self

import numpy as np

from chainrule.errors import close, explain, ours
from chainrule.frontend.dispatch import call_traced
from chainrule.frontend.locate import user_line
from chainrule.frontend.value import Value, describe, refuse

__all__ = ["Methods"]


class Elements:
    """What `x.flat` is: the elements in C order, to be picked or gone through."""

    def __init__(self, elements: Any) -> None:
        self._elements = elements
        self._left: Iterator[Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        return iter(self._elements)

    def __next__(self) -> Any:
        if self._left is None:
            self._left = iter(self._elements)
        return next(self._left)

    def __len__(self) -> int:
        return len(self._elements)

    def __getitem__(self, key: Any) -> Any:
        return self._elements[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._elements[key] = value

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self._elements.__array__(dtype, copy)


class Methods(Value):
    """What arrays can do by name."""

    __slots__ = ()

    @property
    def T(self) -> Self:  # noqa: N802  (NumPy's name)
        """The transpose: all axes reversed."""
        return self._apply(np.transpose)

    @property
    def mT(self) -> Self:  # noqa: N802
        """The last two axes exchanged."""
        return self._apply(np.swapaxes, -1, -2)

    @property
    def real(self) -> Self:
        """The array: there are no complex ones."""
        return self

    @property
    def flat(self) -> Elements:
        """The elements one by one, in C order."""
        return Elements(self.reshape(-1))

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        near = close(name, dir(type(self)))
        place = ours(name)
        hint = f"did you mean {near}?" if near else f"{place} is a function" if place else ""
        raise AttributeError(
            explain(
                f"a traced array has no attribute {name}", f"value  {describe(self.node)}",
                f"at  {user_line()}", hint=hint,
            )
        )  # fmt: skip

    def _apply(self, function: Any, *args: Any, **kwargs: Any) -> Self:
        result: Self = call_traced(function, (self, *args), kwargs)
        return result

    def sum(
        self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False,
        initial: Any = None, where: Any = None,
    ) -> Self:  # fmt: skip
        """Return `np.sum`."""
        return self._apply(np.sum, axis, dtype, out, keepdims, initial=initial, where=where)

    def prod(
        self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False,
        initial: Any = None, where: Any = None,
    ) -> Self:  # fmt: skip
        """Return `np.prod`."""
        return self._apply(np.prod, axis, dtype, out, keepdims, initial=initial, where=where)

    def mean(
        self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, *,
        where: Any = None,
    ) -> Self:  # fmt: skip
        """Return `np.mean`."""
        return self._apply(np.mean, axis, dtype, out, keepdims, where=where)

    def var(
        self, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0,
        keepdims: bool = False, **options: Any,
    ) -> Self:  # fmt: skip
        """Return `np.var`."""
        return self._apply(np.var, axis, dtype, out, ddof, keepdims, **options)

    def std(
        self, axis: Any = None, dtype: Any = None, out: Any = None, ddof: float = 0,
        keepdims: bool = False, **options: Any,
    ) -> Self:  # fmt: skip
        """Return `np.std`."""
        return self._apply(np.std, axis, dtype, out, ddof, keepdims, **options)

    def max(
        self, axis: Any = None, out: Any = None, keepdims: bool = False, initial: Any = None,
        where: Any = None,
    ) -> Self:  # fmt: skip
        """Return `np.max`."""
        return self._apply(np.max, axis, out, keepdims, initial=initial, where=where)

    def min(
        self, axis: Any = None, out: Any = None, keepdims: bool = False, initial: Any = None,
        where: Any = None,
    ) -> Self:  # fmt: skip
        """Return `np.min`."""
        return self._apply(np.min, axis, out, keepdims, initial=initial, where=where)

    def any(
        self, axis: Any = None, out: Any = None, keepdims: bool = False, *, where: Any = None
    ) -> Self:
        """Return `np.any`."""
        return self._apply(np.any, axis, out, keepdims, where=where)

    def all(
        self, axis: Any = None, out: Any = None, keepdims: bool = False, *, where: Any = None
    ) -> Self:
        """Return `np.all`."""
        return self._apply(np.all, axis, out, keepdims, where=where)

    def argmax(self, axis: Any = None, out: Any = None, *, keepdims: bool = False) -> Self:
        """Return `np.argmax`."""
        return self._apply(np.argmax, axis, out, keepdims=keepdims)

    def argmin(self, axis: Any = None, out: Any = None, *, keepdims: bool = False) -> Self:
        """Return `np.argmin`."""
        return self._apply(np.argmin, axis, out, keepdims=keepdims)

    def cumsum(self, axis: Any = None, dtype: Any = None, out: Any = None) -> Self:
        """Return `np.cumsum`."""
        return self._apply(np.cumsum, axis, dtype, out)

    def cumprod(self, axis: Any = None, dtype: Any = None, out: Any = None) -> Self:
        """Return `np.cumprod`."""
        return self._apply(np.cumprod, axis, dtype, out)

    def reshape(self, *shape: Any, **options: Any) -> Self:
        """Return `np.reshape`; the shape as one tuple or as several numbers."""
        return self._apply(np.reshape, _one_tuple(shape), **options)

    def transpose(self, *axes: Any) -> Self:
        """Return `np.transpose`; the axes as one tuple or as several numbers."""
        given = _one_tuple(axes)
        return self._apply(np.transpose, given or None)

    def swapaxes(self, axis1: int, axis2: int) -> Self:
        """Return `np.swapaxes`."""
        return self._apply(np.swapaxes, axis1, axis2)

    def squeeze(self, axis: Any = None) -> Self:
        """Return `np.squeeze`."""
        return self._apply(np.squeeze, axis=axis)

    def ravel(self, order: str = "C") -> Self:
        """Return the array as one axis."""
        return self._apply(np.ravel, order)

    def flatten(self, order: str = "C") -> Self:
        """Return the array as one axis."""
        return self._apply(np.ravel, order)

    def repeat(self, repeats: Any, axis: int | None = None) -> Self:
        """Return `np.repeat`."""
        return self._apply(np.repeat, repeats, axis=axis)

    def take(
        self, indices: Any, axis: int | None = None, out: Any = None, mode: str = "raise"
    ) -> Self:
        """Return `np.take`."""
        return self._apply(np.take, indices, axis, out, mode)

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Self:
        """Return `np.diagonal`."""
        return self._apply(np.diagonal, offset, axis1, axis2)

    def trace(
        self, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None
    ) -> Self:
        """Return `np.trace`."""
        return self._apply(np.trace, offset, axis1, axis2, dtype, out)

    def dot(self, b: Any, out: Any = None) -> Self:
        """Return `np.dot`."""
        return self._apply(np.dot, b, out=out)

    def clip(self, min: Any = None, max: Any = None, out: Any = None, **options: Any) -> Self:
        """Return `np.clip`."""
        return self._apply(np.clip, min, max, out=out, **options)

    def round(self, decimals: int = 0, out: Any = None) -> Self:
        """Return `np.round`."""
        return self._apply(np.round, decimals, out=out)

    def astype(
        self, dtype: Any, order: str = "K", casting: str = "unsafe", subok: bool = True,
        copy: bool = True,
    ) -> Self:  # fmt: skip
        """Convert to another dtype; floats are cut off towards 0.

        Raises:
            UnsupportedError: Another `casting` than "unsafe".
        """
        del order, subok, copy
        if casting != "unsafe":
            refuse(
                f"astype does not take casting={casting!r}", self.node, "ask numpy.can_cast first"
            )
        return self._apply(np.asarray, dtype)

    def copy(self, order: str = "C") -> Self:
        """Return the array: values never change."""
        del order
        return self

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def conj(self) -> Self:
        """Return the array: there are no complex ones."""
        return self

    def argsort(self, axis: int = -1) -> Self:
        """Return `np.argsort`."""
        return self._apply(np.argsort, axis)

    def sort(self, axis: int = -1) -> NoReturn:
        """Raise UnsupportedError: sorting in place changes the array."""
        del axis
        refuse("traced arrays cannot be sorted in place", self.node, "use cnp.sort(x)")

    def __reduce__(self) -> NoReturn:
        refuse(
            "a traced value cannot be pickled",
            self.node,
            f"it exists only while its function is traced, at {user_line()}",
        )


def _one_tuple(given: Sequence[Any]) -> tuple[Any, ...]:
    if len(given) == 1 and (given[0] is None or isinstance(given[0], Sequence)):
        return tuple(given[0] or ())
    return tuple(given)
