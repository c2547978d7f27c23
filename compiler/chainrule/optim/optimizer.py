"""What an optimizer is, and how two become one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

import chainrule.numpy as cnp
from chainrule.errors import ShapeError, StructureError, explain
from chainrule.frontend.arguments import is_arraylike
from chainrule.frontend.operands import as_operand, shape_of
from chainrule.frontend.pytree import (
    difference,
    tree_flatten,
    tree_leaves,
    tree_map,
    tree_structure,
)
from chainrule.ir.dims import show_extent
from chainrule.typing import Array, PyTree

__all__ = ["Optimizer", "Rate", "chain", "count_from_zero", "each", "like", "zeros_like"]

Rate = float | Callable[[Array], Any]
"""A learning rate, or a schedule: a function of the number of steps already taken."""


@dataclass(frozen=True)
class Optimizer:
    """Two functions; write your own by giving them.

    Attributes:
        init: `init(params)` returns the first state, a pytree of arrays.
        update: `update(grads, state, params)` returns what to add to the parameters, and the next
            state.  In a chain, what it returns is the gradient that the next one sees.
        state: The class of the state, a named tuple: a state of another class is then refused, and
            one whose fields, `count` apart, are not shaped as the parameters.  `tuple` for one that
            is always ().

    >>> from chainrule.optim import sgd
    >>> opt = sgd(0.5)
    >>> params = {"w": np.array([1.0, 2.0])}
    >>> params, state = opt.apply({"w": np.array([2.0, 2.0])}, opt.init(params), params)
    >>> params["w"].tolist()
    [0.0, 1.0]
    """

    init: Callable[[PyTree], PyTree]
    update: Callable[[PyTree, PyTree, PyTree], tuple[PyTree, PyTree]]
    state: type | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.update, _Told):
            object.__setattr__(self, "update", _Told(self.update, self.state))

    def apply(self, grads: PyTree, state: PyTree, params: PyTree) -> tuple[PyTree, PyTree]:
        """Take one step.

        Args:
            grads: The gradient of what is to be minimised, of the structure of `params`.
            state: What `init` or the last `apply` returned.
            params: A pytree of floating-point arrays.

        Returns:
            `(params, state)` after the step: new arrays of the same shapes and dtypes, or, inside
            a compiled function that donates them, the same memory.

        Raises:
            StructureError: `grads` or `state` do not nest as `params`; the state is of another
                optimizer.
            ShapeError: A gradient, or what the state keeps, has another shape than its parameter.
        """
        updates, state = self.update(grads, state, params)
        require_shapes(updates, params, "updates", "params", hint=_OTHER_STATE.hint)
        return each(lambda p, u: p + u, params, updates), state


@dataclass(frozen=True)
class _Told:
    """An update that looks at its arguments first; complaints say which one differs, and where."""

    update: Callable[[PyTree, PyTree, PyTree], tuple[PyTree, PyTree]]
    kind: type | None

    def __call__(self, grads: PyTree, state: PyTree, params: PyTree) -> tuple[PyTree, PyTree]:
        if params is not None:
            _require_alike(grads, state, params)
        if self.kind is not None:
            _require_state(state, self.kind, grads)
        try:
            return self.update(grads, state, params)
        except StructureError as error:
            what, *facts = str(error).split("\n  ")
            if params is None or what != "trees differ in structure":
                raise
            raise StructureError(_OTHER_STATE.said(*facts)) from error


class _Saying(NamedTuple):
    what: str
    hint: str

    def said(self, *facts: str) -> str:
        return explain(self.what, *facts, hint=self.hint)


_OTHER_STATE: Final = _Saying(
    "the optimizer's state does not have the structure of grads and params",
    "make a state for these parameters: opt.init(params)",
)
_SWAPPED: Final = "state and params seem to be swapped: opt.apply(grads, state, params)"


def _require_alike(grads: PyTree, state: PyTree, params: PyTree) -> None:
    """Raise unless gradients nest as the parameters do and have their shapes."""
    wanted, given = tree_structure(params), tree_structure(grads)
    if wanted != given:
        swapped = given == tree_structure(state)
        raise StructureError(
            explain(
                "grads do not have the structure of params",
                f"params  {wanted}",
                f"grads   {given}",
                difference(wanted, given, "params", "grads"),
                hint=_SWAPPED if swapped else "",
            )
        )
    require_shapes(
        grads, params, "grads", "params", hint="a gradient has the shape of its parameter"
    )


def _require_state(state: PyTree, kind: type, like: PyTree) -> None:
    """Raise unless a state is of a class, and all it keeps but a count nests as the gradient."""
    if not isinstance(state, kind) or (kind is tuple and state):
        swapped = tree_structure(state) == tree_structure(like)
        raise StructureError(
            explain(
                "this is not the state of this optimizer",
                f"its state  {'()' if kind is tuple else kind.__name__}",
                f"state      {tree_structure(state)}",
                hint=_SWAPPED if swapped else _OTHER_STATE.hint,
            )
        )
    wanted = tree_structure(like)
    fields: tuple[str, ...] = getattr(state, "_fields", ())
    for name in fields:
        kept = getattr(state, name)
        if name == "count":
            continue
        given = tree_structure(kept)
        if given != wanted:
            raise StructureError(_OTHER_STATE.said(difference(wanted, given, "grads", name)))
        require_shapes(kept, like, f"state.{name}", "grads", hint=_OTHER_STATE.hint)


def require_shapes(tree: PyTree, like: PyTree, name: str, of: str, *, hint: str) -> None:
    """Raise ShapeError, with the path, where leaves of two trees of one structure differ in shape.

    Extents without numbers are left to the arithmetic.
    """
    leaves, structure = tree_flatten(tree)
    for i, (leaf, other) in enumerate(zip(leaves, tree_leaves(like), strict=True)):
        if not (is_arraylike(leaf) and is_arraylike(other)):
            continue
        given, wanted = shape_of(as_operand(leaf)), shape_of(as_operand(other))
        if given == wanted:
            continue
        pairs = zip(given, wanted, strict=False)
        if len(given) == len(wanted) and all(
            a == b or not (isinstance(a, int) or isinstance(b, int)) for a, b in pairs
        ):
            continue
        path = structure.paths()[i]
        texts = [", ".join(map(show_extent, s)) for s in (given, wanted)]
        width = max(len(name), len(of))
        raise ShapeError(
            explain(
                f"{name} and {of} differ in shape{path and f' at {path}'}",
                f"{name:{width}}  [{texts[0]}]", f"{of:{width}}  [{texts[1]}]", hint=hint,
            )
        )  # fmt: skip


def chain(*optimizers: Optimizer) -> Optimizer:
    """Apply one after another: each sees what the one before returned as its gradient.

    Args:
        optimizers: Transformations of the gradient, and at the end what makes a step of it.

    Returns:
        An optimizer whose state is the tuple of their states.

    >>> from chainrule.optim import adamw, clip_by_global_norm
    >>> opt = chain(clip_by_global_norm(1.0), adamw(1e-3))
    >>> len(opt.init({"w": np.zeros(3)}))
    2
    """

    def init(params: PyTree) -> PyTree:
        return tuple(optimizer.init(params) for optimizer in optimizers)

    def update(grads: PyTree, state: PyTree, params: PyTree) -> tuple[PyTree, PyTree]:
        if not isinstance(state, tuple) or len(state) != len(optimizers):
            swapped = tree_structure(state) == tree_structure(grads)
            raise StructureError(
                explain(
                    f"the state of a chain of {len(optimizers)} is a tuple of as many",
                    f"state  {tree_structure(state)}",
                    hint=_SWAPPED if swapped else _OTHER_STATE.hint,
                )
            )
        states = []
        for optimizer, before in zip(optimizers, state, strict=True):
            grads, after = optimizer.update(grads, before, params)
            states.append(after)
        return grads, tuple(states)

    return Optimizer(init, update)


def each(function: Callable[..., Array], tree: PyTree, *rest: PyTree) -> PyTree:
    """Map over leaves; the results are arrays, where NumPy makes scalars of 0-d arithmetic."""
    return tree_map(lambda *leaves: cnp.asarray(function(*leaves)), tree, *rest)


def zeros_like(params: PyTree) -> PyTree:
    """Return zeros of the parameters' structure, shapes and dtypes."""
    return each(cnp.zeros_like, params)


def count_from_zero() -> Array:
    """Return the number of steps taken before the first, an array so that it can be donated."""
    return np.zeros((), np.int32)


def like(value: Any, leaf: Array) -> Any:
    """Make a factor of the leaf's dtype, so that float32 parameters stay float32.

    Python numbers are weak already, NumPy's are not (though its float64 is an instance of float);
    a schedule computes in float64 when its count is an integer.
    """
    return value if type(value) in (int, float) else cnp.asarray(value).astype(leaf.dtype)
