"""Roots where they are 0: the slope of a root is infinite there, that of the whole need not be.

The chain rule multiplies that infinity with the 0 of another factor, or of what is under the root.
So before differentiation, and only then, powers of one base become one power.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Final, Literal, NamedTuple

from chainrule.ir.graph import Node, constant_value
from chainrule.optimize.rewrite import Step
from chainrule.optimize.rule import Keeps

__all__ = ["POWERS"]

MOST: Final = 16
"Factors of a product that are looked at together."


class _Factor(NamedTuple):
    """A factor base**exponent; `times` is how often it occurs, `root` what kind of root it is."""

    node: Node
    base: Node
    exponent: Fraction
    times: int
    root: Literal["", "root", "odd root"]


def _factors(product: Node) -> list[_Factor]:
    """Take a product, its products and whole powers apart; nothing if there is too much of it."""
    found: list[_Factor] = []
    stack = [(product, 1)]
    while stack:
        y, times = stack.pop()
        if len(found) + len(stack) >= MOST or times > MOST:
            return []
        name, one = y.op.name, Fraction(times)
        exponent = constant_value(y.args[1]) if name == "pow" else None
        if name == "mul":
            stack += [(y.args[1], times), (y.args[0], times)]
        elif exponent is not None and 0 < exponent < math.inf:
            if float(exponent).is_integer():
                stack.append((y.args[0], times * int(exponent)))
            else:
                power = one * Fraction(float(exponent))
                found.append(_Factor(y, y.args[0], power, times, "root"))
        elif name in ("sqrt", "cbrt"):
            found.append(
                _Factor(y, y.args[0], one / 2, times, "root") if name == "sqrt"
                else _Factor(y, y.args[0], one / 3, times, "odd root")
            )  # fmt: skip
        else:
            found.append(_Factor(y, y, one, times, ""))
    return found


def _one_power(node: Node) -> Node | None:
    """Write a product in which a root meets its own base, or other powers of it, with one power.

    Among other factors only where the base is 0: elsewhere these may be what keeps the product in
    range, and it stays as it is written.
    """
    if not _has_root(node):
        return None
    factors = _factors(node)
    bases = dict.fromkeys(f.base for f in factors if f.root)
    groups = [[f for f in factors if f.base is base] for base in bases]
    for group in groups:
        base = group[0].base
        if sum(f.times for f in group) > 1 and not _is_kept_from_0(base):
            merged = _power(base, group)
            others = [f for f in factors if f not in group]
            if merged is not None and others:
                zero = base.equals(0)
                kept = base.graph.select(zero, base.graph.full_like(base, 1), base)
                written = _with_base(node, base, kept)
                return node.graph.select(zero, _multiplied([merged], others), written)
            if merged is not None:
                return merged
        merged = _signed(group, factors)
        if merged is not None:
            taken = [f for f in factors if f in group or _is_sign_of(f.node, group[0].base)]
            return _multiplied([merged], [f for f in factors if f not in taken])
    return None


def _is_kept_from_0(base: Node) -> bool:
    if base.op.name != "select":
        return False
    condition, one, given = base.args
    return condition is given.equals(0) and constant_value(one) == 1


def _with_base(node: Node, base: Node, other: Node) -> Node:
    """Return a product with another base for its powers; a few nodes deep, see `MOST`."""
    if node is base:
        return other
    whole = node.op.name == "pow" and float(constant_value(node.args[1]) or 0.5).is_integer()
    if node.op.name == "mul":
        args = tuple([_with_base(a, base, other) for a in node.args])
    elif whole:
        args = (_with_base(node.args[0], base, other), node.args[1])
    elif node.op.name in ("pow", "sqrt", "cbrt") and node.args[0] is base:
        # Under other roots stand other bases, of any depth.
        args = (other, *node.args[1:])
    else:
        return node
    return node if args == node.args else node.graph.apply(node.op, args, node.attrs)


def _has_root(node: Node) -> bool:
    """Tell whether a root may be among a product's factors; nearly all products have none."""
    stack, left = [*node.args], MOST
    while stack and left:
        y, left = stack.pop(), left - 1
        if y.op.name in ("sqrt", "cbrt"):
            return True
        if y.op.name == "pow":
            exponent = constant_value(y.args[1])
            if exponent is not None and not float(exponent).is_integer():
                return True
        if y.op.name in ("mul", "pow"):
            stack += y.args
    return False


def _power(base: Node, group: Sequence[_Factor]) -> Node | None:
    # In float32, a third and two thirds add up to 1.
    graph, exponent = base.graph, base.dtype.rounded(float(sum(f.exponent for f in group)))
    roots = {f.root for f in group} - {""}
    whole = _to_the(base, exponent)
    if roots == {"odd root"}:
        if exponent < 1:
            return None
        if exponent.is_integer():
            return whole
        thirds = round(3 * exponent)
        size = _to_the(graph.call("abs", base), exponent)
        return graph.call("sign", base) * size if thirds % 2 else size
    if exponent.is_integer():
        return _where_rooted(whole, base)
    return whole


def _where_rooted(power: Node, base: Node) -> Node:
    """Return a power, NaN with its slope where the base has no root."""
    graph = base.graph
    return power * graph.select(base < 0, math.nan, graph.full_like(base, 1))


def _to_the(base: Node, exponent: float) -> Node:
    return base if exponent == 1 else base ** base.graph.full_like(base, exponent)


def _signed(group: Sequence[_Factor], factors: Sequence[_Factor]) -> Node | None:
    """Return sign(x) times a root of abs(x), as the root on either side of 0."""
    (root, *more), base = group, group[0].base
    if more or root.times != 1 or base.op.name != "abs" or root.exponent >= 1:
        return None
    (x,) = base.args
    if [f.times for f in factors if _is_sign_of(f.node, base)] != [1]:
        return None
    if root.root == "odd root":
        return x.graph.call("cbrt", x)
    exponent = float(root.exponent)
    return x.graph.select(x < 0, -_to_the(-x, exponent), _to_the(x, exponent))


def _is_sign_of(node: Node, size: Node) -> bool:
    """Tell whether a node is sign(x) of the x that `size` is abs(x) of."""
    return node.op.name == "sign" and size.op.name == "abs" and node.args[0] is size.args[0]


def _multiplied(nodes: list[Node], factors: Sequence[_Factor]) -> Node:
    """Multiply, constants last, where they stand outermost."""
    powers = [_to_the(f.node, f.times) for f in factors]
    constants = [p for p in powers if constant_value(p) is not None]
    product, *rest = [*nodes, *(p for p in powers if p not in constants), *constants]
    for power in rest:
        product = product * power
    return product


def _exponent_of(node: Node) -> float | None:
    """Return what exponent a root or a power with a broken constant exponent is of."""
    if node.op.name == "pow":
        exponent = constant_value(node.args[1])
        broken = exponent is not None and 0 < exponent < math.inf and exponent % 1
        return float(exponent) if exponent is not None and broken else None
    return {"sqrt": 0.5, "cbrt": 1 / 3}[node.op.name]


def _root_of_power(node: Node) -> Node | None:
    """Return the root of a power, perhaps scaled, as a power."""
    root, inner = _exponent_of(node), node.args[0]
    factors = _factors(inner) if inner.op.name in ("mul", "pow") else []
    constants = [f for f in factors if (constant_value(f.node) or 0) > 0]
    powers = [f for f in factors if f not in constants]
    bases = dict.fromkeys(f.base for f in powers)
    given = sum((f.exponent for f in powers), Fraction(0))
    if root is None or len(bases) != 1 or any(f.root == "odd root" for f in powers):
        return None
    # Rounded once, so that (x**3)**(1/3) is x.
    exponent = float(given) / 3 if node.op.name == "cbrt" else float(given) * root
    exponent = node.dtype.rounded(exponent)
    if given <= 1 or exponent < 1:
        return None
    (base,) = bases
    positive, even = any(f.root for f in powers), given % 2 == 0
    if node.op.name == "cbrt" and not even and not positive:
        power = base if exponent == 1 else _odd_power(base, exponent)
    else:
        if even and not positive and exponent % 2:
            base = base.graph.call("abs", base)
        power = _to_the(base, exponent)
        if (positive or not even) and exponent.is_integer():
            power = _where_rooted(power, base)
    for f in constants:
        scale = _to_the(f.node, f.times)
        power = power * node.graph.apply(node.op, (scale, *node.args[1:]), node.attrs)
    return power


def _odd_power(base: Node, exponent: float) -> Node:
    """Return the power that has the sign of its base."""
    if exponent.is_integer() and exponent % 2:
        return _to_the(base, exponent)
    return base.graph.call("sign", base) * _to_the(base.graph.call("abs", base), exponent)


POWERS: Final = (
    Step(("mul", "pow"), _one_power, Keeps.REALS),
    Step(("sqrt", "cbrt", "pow"), _root_of_power, Keeps.REALS),
)
"Steps that make one power of powers of one base."
