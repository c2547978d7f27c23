"""From trees to boxes: where brackets, fractions, indices and signs go, once for all printers.

Text is linear: fractions are written a / b there, and square roots and cases as functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction as Rational
from typing import Final

from chainrule.inspect import notation as n
from chainrule.inspect.boxes import (
    Box,
    Choice,
    Fence,
    Fraction,
    Root,
    Row,
    Script,
    Sign,
    Word,
    decimal,
    name_box,
)
from chainrule.inspect.notation import Tree

__all__ = ["Layout", "closed"]

COMPARE, SUM, PRODUCT, POWER, ATOM = range(5)
FREE: Final = "ijklmnop"
BOUND: Final = "struvhea"
SYMBOLS: Final = {"sigmoid": "σ", "maximum": "max", "minimum": "min", "remainder": "mod",
                  "int": "trunc"}  # fmt: skip
FENCES: Final = {"abs": "||", "floor": "⌊⌋", "ceil": "⌈⌉"}
SIGNS: Final = {"!=": "≠", "<=": "≤", ">=": "≥", "and": "∧", "or": "∨", "not": "¬"}
ALONG_LAST: Final = frozenset({"softmax", "log_softmax", "cumsum", "reverse_cumsum"})


def closed(tree: Tree) -> Tree:
    """Return what may stand behind an equals sign: a condition is put in brackets."""
    return n.Bracketed(tree) if isinstance(tree, n.Compared | n.Logic) else tree


class Layout:
    """Turns trees into boxes, in one line (`linear`) or with fractions and roots."""

    def __init__(self, *, linear: bool) -> None:
        self.linear: Final = linear

    def box(self, tree: Tree) -> Box:
        """Return a tree as a box."""
        return self._lay(tree)[0]

    def at_least(self, tree: Tree, precedence: int) -> Box:
        """Return a tree as a box, in brackets if it binds more loosely than `precedence`."""
        box, own = self._lay(tree)
        return box if own >= precedence else Fence("(", box, ")")

    def _lay(self, tree: Tree) -> tuple[Box, int]:  # noqa: PLR0912  (a case for each tree)
        """Return the box and how tightly its outermost sign binds."""
        match tree:
            case n.Number(value):
                return self._product(n.Product(value, ()))
            case n.Name(text):
                return name_box(text), ATOM
            case n.Literal(text):
                return Word(text, "text"), ATOM
            case n.Sum(terms):
                return self._sum(terms), SUM
            case n.Product():
                return self._product(tree)
            case n.Power(base, exponent):
                return Script(self.at_least(base, ATOM), above=self.box(exponent)), POWER
            case n.MatrixProduct(factors):
                return _joined([self.at_least(f, POWER) for f in factors], Sign("")), PRODUCT
            case n.Outer(left, right):
                parts = [self.at_least(t, POWER) for t in (left, right)]
                return _joined(parts, Sign("⊗")), PRODUCT
            case n.Transposed(body):
                return Script(self.at_least(body, ATOM), above=Word("ᵀ", "text")), POWER
            case n.Reduced():
                return self._reduced(tree)
            case n.Indexed():
                return self._indexed(tree), PRODUCT
            case n.Applied():
                return self._applied(tree)
            case n.Expanded(body, kept):
                index = ", ".join(":" if k else "None" for k in kept)
                return self._bracketed(body, Word(index, "code")), ATOM
            case n.Sliced(body, index):
                inside = (
                    Word(", ".join(index), "code") if isinstance(index, tuple) else self.box(index)
                )
                return self._bracketed(body, inside), ATOM
            case n.Picked(body, index):
                row = Script(self.at_least(index, ATOM), Word("i", "index"))
                inside = Row((Word("i", "index"), Sign(","), row))
                if self.linear:
                    return self._bracketed(body, inside), ATOM
                return Script(self.at_least(body, ATOM), inside), ATOM
            case n.Compared(sign, left, right):
                sides = [self.at_least(t, SUM) for t in (left, right)]
                return _joined(sides, Sign(SIGNS.get(sign, sign))), COMPARE
            case n.Logic("not", (body,)):
                return Row((Sign("¬", spaced=False), self.at_least(body, ATOM))), POWER
            case n.Logic(function, arguments):
                inner = [self.at_least(a, SUM) for a in arguments]
                return _joined(inner, Sign(SIGNS[function])), COMPARE
            case n.Indicator(condition):
                return Fence("[", self.box(condition), "]"), ATOM
            case n.Bracketed(body):
                return Fence("(", self.box(body), ")"), ATOM
            case n.Cases(condition, then, otherwise):
                if self.linear:
                    return self._call(Word("where", "function"), (condition, then, otherwise)), ATOM
                boxes = [self.box(t) for t in (then, condition, otherwise)]
                return Choice(*boxes), COMPARE

    def _sum(self, terms: Sequence[Tree]) -> Box:
        parts: list[Box] = []
        for term in terms:
            negative = _is_negative(term)
            body = _negated(term) if negative else term
            if parts or negative:
                parts.append(Sign("−" if negative else "+", spaced=bool(parts)))
            parts.append(self.at_least(body, PRODUCT))
        return Row(tuple(parts))

    def _product(self, tree: n.Product) -> tuple[Box, int]:
        if tree.coefficient < 0:
            positive = n.Product(-tree.coefficient, tree.factors, tree.over)
            return Row((Sign("−", spaced=False), self.at_least(positive, PRODUCT))), SUM
        top, bottom = decimal(tree.coefficient)
        products = any(isinstance(f, n.MatrixProduct | n.Reduced) for f in tree.factors)
        mean = products and tree.coefficient.numerator == 1
        if (tree.over or mean) and not bottom and tree.coefficient.denominator <= 10**6:
            # 1 / (10 n), not 0.1 / n; and xᵀ δ / 50 for a mean over 50 rows.
            p, q = tree.coefficient.numerator, tree.coefficient.denominator
            top, bottom = str(p), "" if q == 1 else str(q)
        if not tree.factors and not tree.over and not bottom:
            return Word(top, "number"), ATOM
        numbers: list[Box] = [] if top == "1" else [Word(top, "number")]
        if self.linear:
            return self._linear(tree, numbers, bottom), PRODUCT
        return self._stacked(tree, numbers, bottom)

    def _linear(self, tree: n.Product, numbers: list[Box], bottom: str) -> Box:
        above = _spaced([*numbers, *self._factors(tree, alone=not numbers)]) or Word("1", "number")
        below: list[Box] = [Word(bottom, "number")] if bottom else []
        below += [self.at_least(o, POWER) for o in tree.over]
        if not below:
            return above
        under = below[0] if len(below) == 1 else Fence("(", _elementwise(below, tree.over), ")")
        return _joined([above, under], Sign("/"))

    def _factors(self, tree: n.Product, *, alone: bool) -> list[Box]:
        """Lay the factors out: scalars side by side, then arrays joined by ⊙."""
        # Names before functions: in sin(x) y a reader may take y for an argument.
        scalars = [f for f in tree.factors if f.rank == 0]
        scalars.sort(key=lambda f: not isinstance(f, n.Name | n.Power))
        arrays = [f for f in tree.factors if f.rank]
        alone = alone and len(tree.factors) == 1
        boxes = [self.at_least(f, PRODUCT if alone and not tree.over else POWER) for f in scalars]
        divided = any(o.rank for o in tree.over)
        if len(arrays) == 1 and not divided:
            # One array after numbers: no brackets around a matrix product.
            open_ = isinstance(arrays[0], n.MatrixProduct | n.Reduced | n.Indexed)
            return [*boxes, self.at_least(arrays[0], PRODUCT if open_ else POWER)]
        if arrays:
            boxes.append(_joined([self.at_least(f, POWER) for f in arrays], Sign("⊙")))
        return boxes

    def _stacked(self, tree: n.Product, numbers: list[Box], bottom: str) -> tuple[Box, int]:
        scalars = tuple(o for o in tree.over if o.rank == 0)
        arrays = tuple(o for o in tree.over if o.rank)
        below: list[Box] = [Word(bottom, "number")] if bottom else []
        below += [self.at_least(o, POWER) for o in scalars]
        whole = not any(f.rank or isinstance(f, n.Reduced | n.Cases) for f in tree.factors)
        if whole and not arrays:
            single = len(tree.factors) == 1 and not numbers and below
            inner = (
                [self.box(tree.factors[0])] if single else self._factors(tree, alone=not numbers)
            )
            above = _spaced([*numbers, *inner]) or Word("1", "number")
            if not below:
                return above, PRODUCT
            return Fraction(above, _spaced(below) or Row(())), PRODUCT
        lead: list[Box] = numbers
        if below:
            lead = [Fraction(_spaced(numbers) or Word("1", "number"), _spaced(below) or Row(()))]
        if not arrays:
            alone = not lead and len(tree.factors) == 1
            return _spaced([*lead, *self._factors(tree, alone=alone)]) or Row(()), PRODUCT
        bare = n.Product(Rational(1), tree.factors)
        top: Box = self.box(bare) if tree.factors else Word("1", "number")
        under = _elementwise([self.at_least(o, POWER) for o in arrays], arrays)
        if len(arrays) == 1:
            under = self.box(arrays[0])
        return _spaced([*lead, Fraction(top, under)]) or Row(()), PRODUCT

    def _reduced(self, tree: n.Reduced) -> tuple[Box, int]:
        name, rank = tree.function, tree.body.rank
        if len(tree.axes) == rank:
            if name == "norm":
                return Fence("‖", self.box(tree.body), "‖"), ATOM
            return self._call(Word(name, "function"), (tree.body,)), ATOM
        letters = "".join(FREE[a] for a in tree.axes)
        shown = "".join(FREE[a] if a in tree.axes else "·" for a in range(max(tree.axes) + 1))
        head: Box = Sign("Σ", spaced=False) if name == "sum" else Word(name, "function")
        body = Script(self.at_least(tree.body, ATOM), Word(shown, "index"))
        return _spaced([Script(head, Word(letters, "index")), body]) or body, PRODUCT

    def _indexed(self, tree: n.Indexed) -> Box:
        letters = FREE[: tree.rank] + BOUND
        used = sorted({i for _, at in tree.factors for i in at if i >= tree.rank})
        parts: list[Box] = []
        if used:
            parts.append(
                Script(Sign("Σ", spaced=False), Word("".join(letters[i] for i in used), "index"))
            )
        for factor, at in tree.factors:
            index = Word("".join(letters[i] for i in at), "index")
            parts.append(Script(self.at_least(factor, ATOM), index))
        return _spaced(parts) or Row(())

    def _applied(self, tree: n.Applied) -> tuple[Box, int]:
        name, arguments = tree.function, tree.arguments
        if name == "derivative":
            return self._derivative(arguments), PRODUCT
        if name in FENCES and len(arguments) == 1:
            pair = FENCES[name]
            return Fence(pair[0], self.box(arguments[0]), pair[1]), ATOM
        if name == "sqrt" and not self.linear:
            return Root(self.box(arguments[0])), ATOM
        head: Box = Word(SYMBOLS.get(name, name), "function")
        hidden = name in ALONG_LAST and tree.axes == (tree.rank - 1,)
        if tree.axes and not hidden:
            head = Script(head, Word("".join(FREE[a] for a in tree.axes), "index"))
        return self._call(head, arguments), ATOM

    def _derivative(self, arguments: Sequence[Tree]) -> Box:
        of, by = (Row((Word("∂", "text"), self.box(a))) for a in arguments)
        return Row((of, Sign("/", spaced=False), by)) if self.linear else Fraction(of, by)

    def _call(self, head: Box, arguments: Sequence[Tree]) -> Box:
        inside = _joined([self.box(a) for a in arguments], Sign(","))
        return Row((head, Fence("(", inside, ")")))

    def _bracketed(self, body: Tree, index: Box) -> Box:
        return Row((self.at_least(body, ATOM), Fence("[", index, "]")))


def _joined(parts: Sequence[Box], sign: Sign) -> Box:
    row: list[Box] = []
    for i, part in enumerate(parts):
        row += [sign, part] if i else [part]
    return row[0] if len(row) == 1 else Row(tuple(row))


def _spaced(parts: Sequence[Box]) -> Box | None:
    return _joined(parts, Sign("")) if parts else None


def _elementwise(boxes: Sequence[Box], trees: Sequence[Tree]) -> Box:
    arrays = sum(t.rank > 0 for t in trees)
    return _joined(boxes, Sign("⊙" if arrays > 1 else ""))


def _is_negative(tree: Tree) -> bool:
    match tree:
        case n.Number(value):
            return value < 0
        case n.Product(coefficient):
            return coefficient < 0
    return False


def _negated(tree: Tree) -> Tree:
    match tree:
        case n.Number(value):
            return n.Number(-value)
        case n.Product(coefficient, factors, over):
            return n.Product(-coefficient, factors, over)
    return tree
