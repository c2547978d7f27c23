"""From nodes to notation trees, op by op.

One walk, arguments first.  Casts between floats, broadcasts and reshapes by axes of extent 1 leave
no trace; what matrix notation cannot say falls back to functions with NumPy's names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from chainrule.inspect import algebra
from chainrule.inspect.contraction import contracted
from chainrule.inspect.moves import MOVES, dropped
from chainrule.inspect.notation import (
    Applied,
    Cases,
    Compared,
    Indicator,
    Literal,
    Logic,
    Name,
    Number,
    Picked,
    Power,
    Product,
    Sliced,
    Tree,
    children,
)
from chainrule.inspect.numbers import number_tree
from chainrule.inspect.place import (
    Placed,
    aligned,
    extent_tree,
    frame,
    full,
    place,
    summed,
)
from chainrule.inspect.systems import SYSTEMS
from chainrule.ir.graph import Node, constant_value
from chainrule.ir.op import Kind

__all__ = ["translate"]

Builder: TypeAlias = Callable[[Node, Sequence[Placed]], Placed]


def translate(node: Node, args: Sequence[Placed]) -> Placed:
    """Return the formula of a node over the formulas of its arguments."""
    builder = _BUILDERS.get(node.op.name) or MOVES.get(node.op.name)
    if builder is not None:
        return builder(node, args)
    if node.op.kind in (Kind.CONTROL, Kind.ITEM):
        return _bundle(node, args)
    return _pointwise(node, args) if node.op.kind is Kind.POINTWISE else _function(node, args)


def _pointwise(node: Node, args: Sequence[Placed]) -> Placed:
    """Apply a function elementwise."""
    axes = frame(args)
    trees = [aligned(a, axes) for a in args]
    extra = [Literal(f"{k}={v}") for k, v in node.attributes.items() if v]
    rank = max((t.rank for t in trees), default=0)
    return place(Applied(node.op.name, (*trees, *extra), rank), axes)


def _bundle(node: Node, args: Sequence[Placed]) -> Placed:
    """Name a loop, branch or call, with what goes in; of a result, say which one it is."""
    axes = tuple(range(node.type.rank))
    trees = [full(a, x.shape) for a, x in zip(args, node.args, strict=True)]
    if node.op.kind is Kind.ITEM:
        index: int = node.attrs[0]
        if index < 0:
            return Placed(Applied("steps", tuple(trees), 0), axes)
        return Placed(Sliced(trees[0], (str(index),), node.type.rank), axes)
    name = node.op.name
    if name == "loop":
        name = "while_loop" if node.attributes["test"] is not None else "scan"
    elif name == "switch":
        name = "cond"
    elif name == "call" and node.attributes["custom"] is not None:
        name = node.attributes["custom"].name
    return Placed(Applied(name, tuple(trees), 0), axes)


def _function(node: Node, args: Sequence[Placed]) -> Placed:
    """Name an op that has no notation of its own, with all axes shown and attributes as text."""
    trees = [full(a, x.shape) for a, x in zip(args, node.args, strict=True)]
    extra = [Literal(f"{k}={v}") for k, v in node.attributes.items()]
    tree = Applied(node.op.name, (*trees, *extra), node.type.rank)
    return Placed(tree, tuple(range(node.type.rank)))


def _elementwise(build: Callable[..., Tree]) -> Builder:
    def builder(_node: Node, args: Sequence[Placed]) -> Placed:
        axes = frame(args)
        return place(build(*(aligned(a, axes) for a in args)), axes)

    return builder


def _comparison(sign: str) -> Builder:
    def builder(node: Node, args: Sequence[Placed]) -> Placed:
        if sign == "=":
            for one, other in (args, args[::-1]):
                hot = _onehot(node, one, other)
                if hot is not None:
                    return hot
        axes = frame(args)
        left, right = (aligned(a, axes) for a in args)
        if sign in ("=", "!=") and isinstance(left, Number):
            left, right = right, left
        return place(Compared(sign, left, right), axes)

    return builder


def _onehot(node: Node, counter: Placed, index: Placed) -> Placed | None:
    """Recognise the comparison of labels with 0, 1, ... along a last axis."""
    last = node.type.rank - 1
    if not isinstance(counter.tree, Applied) or counter.tree.function != "arange":
        return None
    if counter.axes != (last,) or index.axes != tuple(range(last)) or node.args[0].dtype.is_float:
        return None
    return Placed(Applied("onehot", (index.tree,), last + 1), tuple(range(last + 1)))


def _logic(function: str) -> Builder:
    def builder(node: Node, args: Sequence[Placed]) -> Placed:
        if node.dtype.kind != "bool":
            return _pointwise(node, args)
        axes = frame(args)
        trees = [aligned(a, axes) for a in args]
        if function == "not" and isinstance(trees[0], Compared) and trees[0].sign in _OPPOSITE:
            one = trees[0]
            return place(Compared(_OPPOSITE[one.sign], one.left, one.right), axes)
        return place(Logic(function, tuple(trees)), axes)

    return builder


# Orders are not turned round: for NaN, not (a < b) is not a >= b.
_OPPOSITE: Final = {"=": "!=", "!=": "="}


def _select(node: Node, args: Sequence[Placed]) -> Placed:
    if not node.dtype.is_float and _is_wrap(node):
        return args[2]
    axes = frame(args)
    condition, a, b = (aligned(v, axes) for v in args)
    if a == b:
        return place(a, axes)
    if b == algebra.ZERO and (shared := _shared(condition, a)) is not None:
        return place(shared, axes)
    if b == algebra.ZERO and _is_total(a):
        return place(algebra.multiply(a, _indicator(condition)), axes)
    if a == algebra.ZERO and _is_total(b):
        turned = _logic("not")(node.args[0], [Placed(condition, axes)]).tree
        return place(algebra.multiply(b, _indicator(turned)), axes)
    if _excludes(condition, b) and _is_total(a):
        return place(algebra.add(algebra.multiply(a, _indicator(condition)), b), axes)
    return place(Cases(condition, a, b), axes)


def _shared(condition: Tree, tree: Tree) -> Tree | None:
    """Return what an extreme's winner or, at a tie, half of it gets: [z > 0] + [z = 0] / 2."""
    if not isinstance(condition, Compared) or condition.sign not in ("≤", "≥", "<=", ">="):
        return None
    parts = algebra.split(tree)
    for share in parts.factors:
        match share:
            case Cases(Compared("=", left, right) as tie, Number(half), Number(whole)):
                if whole != 1 or {left, right} != {condition.left, condition.right}:
                    continue
                others = [f for f in parts.factors if f is not share]
                wins = Compared(condition.sign[0], condition.left, condition.right)
                each = algebra.add(Indicator(wins), algebra.multiply(Number(half), Indicator(tie)))
                return algebra.multiply(Number(parts.coefficient), *others, each, over=parts.over)
    return None


def _excludes(condition: Tree, other: Tree) -> bool:
    """Tell whether `other` is 0 where the condition holds: [z = 0] / 2 where z > 0."""
    if not isinstance(condition, Compared) or condition.sign not in ("<", ">"):
        return False
    sides = {condition.left, condition.right}
    return any(
        isinstance(f, Indicator) and isinstance(f.condition, Compared)
        and f.condition.sign == "=" and {f.condition.left, f.condition.right} == sides
        for f in algebra.split(other).factors
    )  # fmt: skip


def _is_wrap(node: Node) -> bool:
    """Recognise i < 0 ? i + n : i, which counts a negative index from the end."""
    condition, wrapped, index = node.args
    return (
        condition.op.name == "less" and condition.args[0] is index
        and constant_value(condition.args[1]) == 0
        and wrapped.op.name == "add" and index in wrapped.args
    )  # fmt: skip


def _indicator(condition: Tree) -> Tree:
    hot = isinstance(condition, Applied) and condition.function == "onehot"
    return condition if hot else Indicator(condition)


def _is_total(tree: Tree) -> bool:
    """Tell whether a tree is finite for finite inputs, so that 0 times it is 0."""
    match tree:
        case Product(_, _, over) if any(not isinstance(o, Name) or not o.extent for o in over):
            return False
        case Power(_, exponent) if not isinstance(exponent, Number) or exponent.value < 0:
            return False
        case Applied(function) if function in _PARTIAL:
            return False
        case Name("∞" | "nan"):
            return False
    return all(map(_is_total, children(tree)))


_PARTIAL: Final = frozenset(
    {"log", "log1p", "rsqrt", "tan", "atanh", "acosh", "exp", "expm1", "sinh", "cosh", "xlogy"}
)


def _cast(node: Node, args: Sequence[Placed]) -> Placed:
    (x,), source = args, node.args[0].dtype
    if source.kind == "bool" and node.dtype.kind != "bool":
        return place(_indicator(x.tree), x.axes)
    if node.dtype.kind == "bool":
        return place(Compared("!=", x.tree, algebra.ZERO), x.axes)
    if source.is_float and not node.dtype.is_float:
        return place(Applied("int", (x.tree,), x.tree.rank), x.axes)
    return x


def _reduction(function: str) -> Builder:
    def builder(node: Node, args: Sequence[Placed]) -> Placed:
        (value,) = args
        attributes = node.attributes
        axes = attributes["axes"] if "axes" in attributes else (attributes["axis"],)
        shape = node.args[0].shape
        constant = any(a not in value.axes for a in axes)
        if constant and function not in ("sum", "max", "min"):
            value = Placed(full(value, shape), tuple(range(len(shape))))
        return summed(function, value, shape, axes)

    return builder


def _along(node: Node, args: Sequence[Placed]) -> Placed:
    """Apply a function along axes that keeps the shape."""
    attributes = node.attributes
    axes = attributes["axes"] if "axes" in attributes else (attributes["axis"],)
    shown = frame(args)
    if any(a not in shown for a in axes):
        shown = tuple(range(node.type.rank))
        args = [Placed(full(a, node.shape), shown) for a in args]
    elif len(args) > 1:
        shape = [node.shape[a] for a in shown]
        args = [Placed(full(Placed(a.tree, tuple(map(shown.index, a.axes))), shape), shown)
                for a in args]  # fmt: skip
    trees = tuple(aligned(a, shown) for a in args)
    name = ("reverse_" if attributes.get("reverse") else "") + node.op.name
    return Placed(Applied(name, trees, len(shown), tuple(map(shown.index, axes))), shown)


def _constant(node: Node, _args: Sequence[Placed]) -> Placed:
    value = constant_value(node)
    assert value is not None, "a constant has a value"
    return Placed(number_tree(value, node.dtype), ())


def _gather(node: Node, args: Sequence[Placed]) -> Placed:
    x, index = node.args
    batch, rank = node.attributes["batch"], node.type.rank
    a, at = full(args[0], x.shape), full(args[1], index.shape)
    axes = tuple(range(rank))
    if batch == 0:
        return Placed(Sliced(a, at, rank), axes)
    if batch == 1 and x.type.rank == 2 and index.shape[1:] == (1,):
        # One element of each row; the index's axis of extent 1 is not shown.
        return Placed(Picked(a, full(dropped(args[1], 1), index.shape[:1])), (0,))
    return Placed(Applied("gather", (a, at, Literal(f"batch={batch}")), rank), axes)


def _scatter(node: Node, args: Sequence[Placed]) -> Placed:
    g, index = (full(a, x.shape) for a, x in zip(args, node.args, strict=True))
    batch = node.attributes["batch"]
    extra: tuple[Tree, ...] = (Literal(f"batch={batch}"),) if batch else ()
    size = extent_tree(node.attributes["size"])
    tree = Applied("scatter", (g, index, size, *extra), node.type.rank)
    return Placed(tree, tuple(range(node.type.rank)))


_BUILDERS: Final[Mapping[str, Builder]] = {
    "add": _elementwise(algebra.add),
    "sub": _elementwise(algebra.subtract),
    "mul": _elementwise(algebra.multiply),
    "div": _elementwise(algebra.divide),
    "neg": _elementwise(lambda x: algebra.multiply(algebra.number(-1), x)),
    "pow": _elementwise(algebra.power),
    "one_minus_square": _elementwise(
        lambda x: algebra.subtract(algebra.ONE, algebra.power(x, algebra.number(2)))
    ),
    "rsqrt": _elementwise(lambda x: algebra.divide(algebra.ONE, Applied("sqrt", (x,), x.rank))),
    "stop_gradient": _elementwise(lambda x: x),
    "select": _select,
    "cast": _cast,
    "constant": _constant,
    "extent": lambda node, _: Placed(extent_tree(node.attributes["extent"]), ()),
    "iota": lambda node, _: Placed(
        Applied("arange", (extent_tree(node.attributes["length"]),), 1), (0,)
    ),
    "contract": lambda node, args: contracted(node, args[0], args[1]),
    "gather": _gather,
    "scatter_add": _scatter,
    **{name: _comparison(sign) for name, sign in (
        ("equal", "="), ("not_equal", "!="), ("less", "<"), ("less_equal", "<="),
        ("greater", ">"), ("greater_equal", ">="),
    )},
    **{f"bit_{name}": _logic(name) for name in ("and", "or", "not")},
    **{name: _reduction(name) for name in (
        "sum", "max", "min", "prod", "norm", "logsumexp", "argmax", "argmin",
    )},
    **dict.fromkeys(("softmax", "log_softmax", "cumsum", "recurrence"), _along),
    **SYSTEMS,
}  # fmt: skip
