"""Solvers on plain arrays: compiled once for each function and signature, and kept."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import lru_cache, update_wrapper
from typing import Any, ParamSpec

from chainrule import solvers
from chainrule.api.jit import jit, sharing
from chainrule.api.transforms import without_run
from chainrule.frontend.arguments import is_arraylike
from chainrule.frontend.pytree import TreeDef, tree_flatten
from chainrule.transform import has_traced

__all__ = ["find_root", "fixed_point", "minimize"]

P = ParamSpec("P")


@lru_cache(maxsize=256)
def _compiled(
    verb: Callable[..., Any], fn: Callable[..., Any], options: tuple[tuple[str, Hashable], ...],
    tree: TreeDef, fixed: tuple[tuple[int, Hashable], ...],
) -> Any:  # fmt: skip
    """Return the compiled solver of a function whose arguments nest so and have these settings."""
    settings = dict(options)

    def solve(x0: Any, args: Any) -> Any:
        return verb(fn, x0, *args, **settings)

    def solve_arrays(arrays: Sequence[Any]) -> Any:
        left, known = iter(arrays), dict(fixed)
        leaves = [known[i] if i in known else next(left) for i in range(tree.leaves)]
        return solve(*tree.unflatten(leaves))

    made = solve_arrays if fixed else solve
    made.__name__ = verb.__name__
    return jit(made)


def _solve(verb: Callable[..., Any], fn: Any, x0: Any, args: Any, given: Mapping[str, Any]) -> Any:
    leaves, tree = tree_flatten((x0, args))
    fixed = tuple((i, x) for i, x in enumerate(leaves) if not is_arraylike(x))
    try:
        solve = _compiled(verb, fn, tuple(sorted(given.items())), tree, fixed)
    except TypeError:  # a function or a setting that cannot be hashed is not remembered
        return verb(fn, x0, *args, run=sharing, **given)
    if not fixed:
        return solve(x0, args)
    return solve([x for x in leaves if is_arraylike(x)])


def _run(verb: Callable[P, Any]) -> Callable[P, Any]:
    """Make a solver on plain values compile, remember its code, and run."""

    def called(fn: Any, x0: Any, *args: Any, **options: Any) -> Any:
        if has_traced((x0, args)):
            return verb(fn, x0, *args, **options)
        return _solve(verb, fn, x0, args, options)

    return without_run(update_wrapper(called, verb))  # type: ignore[arg-type]


find_root = _run(solvers.find_root)
fixed_point = _run(solvers.fixed_point)
minimize = _run(solvers.minimize)
