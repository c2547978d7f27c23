"""Solvers on plain arrays: compiled for each function, signature and what it reads, and kept."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import lru_cache, update_wrapper
from typing import Any, Final, ParamSpec

from chainrule import solvers
from chainrule.api.jit import jit, sharing
from chainrule.api.loading import load_compiler
from chainrule.api.transforms import without_run
from chainrule.frontend.arguments import is_arraylike, leaf_type, require_function, spec
from chainrule.frontend.pytree import TreeDef, tree_flatten
from chainrule.frontend.settings import setting_key
from chainrule.frontend.trace import trace
from chainrule.transform import has_traced

__all__ = ["find_root", "fixed_point", "minimize"]

P = ParamSpec("P")


class _Solver:
    """The compiled solver of a function whose arguments nest so and have these settings.

    What the function closes over is a constant of the code.  So each call traces the function, not
    the whole search, for the arguments of the first one, and compiles anew where it computes
    something else than it did then.
    """

    def __init__(
        self, verb: Callable[..., Any], fn: Callable[..., Any],
        options: tuple[tuple[str, Hashable], ...], tree: TreeDef,
        fixed: tuple[tuple[int, Hashable], ...], told: Hashable,
    ) -> None:  # fmt: skip
        del told  # it tells solvers apart whose settings are equal in Python, as 1 and True
        self._verb, self._fn, self._options = verb, fn, dict(options)
        self._tree, self._fixed = tree, dict(fixed)
        self._first: list[Any] | None = None
        self._kept: tuple[Hashable, Any] | None = None

    def __call__(self, leaves: Sequence[Any]) -> Any:
        given = [x for i, x in enumerate(leaves) if i not in self._fixed]
        if self._first is None:
            self._first = [x if type(x) in (int, float) else _described(x) for x in given]
        reads = self._reads(self._first)
        kept = self._kept
        if kept is None or kept[0] != reads:
            kept = self._kept = reads, self._compiled()
        return kept[1](*((given,) if self._fixed else self._tree.unflatten(given)))

    def _arguments(self, arrays: Sequence[Any]) -> tuple[Any, tuple[Any, ...]]:
        left = iter(arrays)
        leaves = [
            self._fixed[i] if i in self._fixed else next(left) for i in range(self._tree.leaves)
        ]
        x0, args = self._tree.unflatten(leaves)
        return x0, args

    def _reads(self, arrays: Sequence[Any]) -> Hashable:
        """Return what the function computes, the arrays it closes over included."""
        load_compiler()
        from chainrule.api.shared import structure

        def function(given: Sequence[Any]) -> Any:
            x0, args = self._arguments(given)
            return self._fn(x0, *args)

        traced = trace(function, arrays)
        return structure(traced.program), traced.out_tree

    def _compiled(self) -> Any:
        def solve(x0: Any, args: Any) -> Any:
            return self._verb(self._fn, x0, *args, **self._options)

        def solve_arrays(arrays: Sequence[Any]) -> Any:
            return solve(*self._arguments(arrays))

        made = solve_arrays if self._fixed else solve
        made.__name__ = self._verb.__name__
        return jit(made)


def _described(leaf: Any) -> Any:
    found = leaf_type(leaf, "").type
    return spec(found.shape, found.dtype.numpy)


_solvers: Final = lru_cache(maxsize=256)(_Solver)


def _solve(verb: Callable[..., Any], fn: Any, x0: Any, args: Any, given: Mapping[str, Any]) -> Any:
    leaves, tree = tree_flatten((x0, args))
    fixed = tuple((i, x) for i, x in enumerate(leaves) if not is_arraylike(x))
    try:
        options = tuple(sorted(given.items()))
        solver = _solvers(verb, fn, options, tree, fixed, setting_key((options, fixed)))
    except TypeError:  # a function or a setting that cannot be hashed is not remembered
        return verb(fn, x0, *args, run=sharing, **given)
    return solver(leaves)


def _run(verb: Callable[P, Any]) -> Callable[P, Any]:
    """Make a solver on plain values compile, remember its code, and run."""

    def called(fn: Any, x0: Any, *args: Any, **options: Any) -> Any:
        require_function(fn, verb.__name__)
        if has_traced((x0, args)):
            return verb(fn, x0, *args, **options)
        return _solve(verb, fn, x0, args, options)

    return without_run(update_wrapper(called, verb))  # type: ignore[arg-type]


find_root = _run(solvers.find_root)
fixed_point = _run(solvers.fixed_point)
minimize = _run(solvers.minimize)
