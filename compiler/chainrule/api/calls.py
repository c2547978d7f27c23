"""What calls of a compiled function look like: ways to write one, kinds of arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from chainrule.errors import ChainruleError, StructureError, close, explain
from chainrule.frontend.arguments import (
    bind_arguments,
    is_arraylike,
    leaf_type,
    name_of,
    require_function,
    signature_of,
    unknown_parameters,
)
from chainrule.frontend.pytree import TreeDef, tree_flatten
from chainrule.frontend.settings import setting_key
from chainrule.ir.types import BOOL, F64, I64, DType, dtype_of
from chainrule_runtime.native_callable import callable_type

__all__ = ["MISSED", "Direct", "Form", "Kinds", "Static", "as_names", "check_names", "kinds_of",
           "leaf_paths", "make_form", "not_hashable"]  # fmt: skip

Kinds: TypeAlias = tuple[tuple[DType, int, bool], ...]
"""Dtype, rank and weakness of every leaf: what code is compiled for, besides the structure."""
Static: TypeAlias = tuple[Any, ...]
Shapes: TypeAlias = list[Any]


class _Missed:
    def __repr__(self) -> str:
        return "MISSED"


MISSED: Final = _Missed()
"What a native callable returns instead of a result if no code fits its arguments."


class _Direct:
    """Native code without a way out to Python: it returns `MISSED` instead."""

    def __call__(self, *_args: Any, **_kwargs: Any) -> Any:
        return MISSED

    def _call_slowly(self, *_args: Any, **_kwargs: Any) -> Any:
        return MISSED


Direct = callable_type(_Direct)


@dataclass(frozen=True, slots=True)
class Form:
    """One way to write a call: so many arguments by position, these by keyword.

    A source is the position of an argument, or its keyword.

    Attributes:
        names: Names of the traced arguments, in order.
        sources: Where each of them is in a call.
        static: Name and source of each argument that stays a Python value.
        plain: Whether the same arguments, all given by position, have these names.
        direct: Whether a call written so reaches native code by itself.
    """

    names: tuple[str, ...]
    sources: tuple[int | str, ...]
    static: tuple[tuple[str, int | str], ...]
    plain: bool
    direct: bool

    @property
    def group(self) -> tuple[str, ...]:
        """Tell calls apart whose traced arguments are others though their types agree."""
        return () if self.plain else self.names

    def values(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the traced arguments of a call, in order."""
        return tuple([args[s] if isinstance(s, int) else kwargs[s] for s in self.sources])

    def settings(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[tuple[str, Any]]:
        """Return names and values of the static arguments of a call."""
        return [(n, args[s] if isinstance(s, int) else kwargs[s]) for n, s in self.static]

    def static_key(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Static:
        """Return what the static arguments are, as `setting_key` tells them apart."""
        key: list[Any] = []
        for name, source in self.static:
            value = args[source] if isinstance(source, int) else kwargs[source]
            key += (name, setting_key(value))
        return tuple(key)


def make_form(
    fn: Callable[..., Any], count: int, keywords: Sequence[str], static: Sequence[str]
) -> Form:
    """Find out how calls with `count` positional arguments and these keywords bind.

    Raises:
        StructureError: They do not fit the function's signature.
    """
    bound = bind_arguments(fn, range(count), {k: k for k in keywords}, static)
    plain = not bound.static
    if plain and keywords:
        try:
            plain = bind_arguments(fn, range(len(bound.names)), {}, static).names == bound.names
        except StructureError:
            plain = False
    return Form(bound.names, bound.values, bound.static, plain, plain and not keywords)


def as_names(names: Sequence[str] | str, option: str) -> tuple[str, ...]:
    """Return the names of arguments that an option of `jit` holds.

    Raises:
        StructureError: It holds something else.
    """
    entries = (names,) if isinstance(names, str) else names
    if isinstance(entries, Iterable):
        found = tuple(entries)
        if all(isinstance(n, str) for n in found):
            return found
    raise StructureError(
        explain(f"jit: {option} holds names of arguments", f"{option}  {names!r:.60}")
    )


def check_names(
    fn: Callable[..., Any], static: Sequence[str] | str, donated: Sequence[str] | str
) -> None:
    """Check what `jit` is given against the function's signature, where that is known.

    Raises:
        StructureError: There is no function, or no parameter of a name, or one has two uses.
    """
    require_function(fn, "jit")
    options = {"static_argnames": static, "donate_argnames": donated}
    named = {option: as_names(names, option) for option, names in options.items()}
    both = sorted({*named["static_argnames"]} & {*named["donate_argnames"]})
    if both:
        raise StructureError(
            explain(
                f"jit: {', '.join(both)} cannot be both static and donated",
                hint="a static argument is a Python value, whose memory no result can take over",
            )
        )
    signature = signature_of(fn)
    if signature is None:
        return
    for option, names in named.items():
        unknown = unknown_parameters(signature, names)
        if unknown:
            near = close(unknown[0], signature.parameters, 0.5)
            raise StructureError(
                explain(
                    f"{option}: {name_of(fn)} has no parameter {', '.join(unknown)}",
                    f"parameters  {', '.join(signature.parameters)}",
                    hint=f"did you mean {near}?" if near else "",
                )
            )


def leaf_paths(names: Sequence[str], tree: TreeDef) -> list[str]:
    """Return the names of all leaves of the tuple of traced arguments."""
    return [p for n, child in zip(names, tree.children, strict=True) for p in child.paths(n)]


_NUMBERS: Final[dict[type, tuple[DType, int, bool]]] = {
    float: (F64, 0, True), int: (I64, 0, True), bool: (BOOL, 0, False),
}  # fmt: skip
_DTYPES: Final[dict[Any, DType]] = {}


def kinds_of(leaves: Sequence[Any], names: Sequence[str], tree: TreeDef) -> tuple[Kinds, Shapes]:
    """Return kinds and shapes of the leaves.

    Raises:
        StructureError: One is no array.
        DTypeError: The dtype of one is not supported.
    """
    kinds: list[tuple[DType, int, bool]] = []
    shapes: Shapes = []
    for i, leaf in enumerate(leaves):
        cls = type(leaf)
        if cls is np.ndarray and (dtype := _DTYPES.get(leaf.dtype)) is not None:
            kinds.append((dtype, leaf.ndim, False))
            shapes.append(leaf.shape)
        elif cls in _NUMBERS:
            kinds.append(_NUMBERS[cls])
            shapes.append(())
        else:
            # Paths are worked out only for a message.
            try:
                found = leaf_type(leaf, "")
            except ChainruleError:
                found = leaf_type(leaf, leaf_paths(names, tree)[i])
            if cls is np.ndarray:
                _DTYPES[leaf.dtype] = dtype_of(leaf.dtype)
            kinds.append((found.type.dtype, found.type.rank, found.weak))
            shapes.append(found.type.shape)
    return tuple(kinds), shapes


def not_hashable(settings: Sequence[tuple[str, Any]]) -> str:
    """Say which static argument cannot be one, and which leaf made it static."""
    for name, value in settings:
        try:
            hash(value)
        except TypeError:
            leaves, tree = tree_flatten(value)
            loose = [
                (path, x) for path, x in zip(tree.paths(name), leaves, strict=True)
                if not is_arraylike(x)
            ]  # fmt: skip
            if tree.cls is not None and loose:
                facts = [f"{path}  {x!r:.60}" for path, x in loose[:4]]
                return explain(
                    f"{name} holds a setting beside arrays: {loose[0][0]} is not an array", *facts,
                    hint="pass settings as arguments of their own, or make them static fields "
                    "of a dataclass",
                )  # fmt: skip
            return explain(
                f"the static argument {name} is not hashable", f"type  {type(value).__name__}",
                hint="dicts, lists, tuples and dataclasses nest; cr.register_pytree_node makes "
                f"containers of {type(value).__name__}"
                if isinstance(value, dict | list | set)
                else "pass arrays as ordinary arguments",
            )  # fmt: skip
    raise AssertionError("one of them is not hashable")
