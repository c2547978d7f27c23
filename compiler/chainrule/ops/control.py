"""Ops with bodies: loops, branches, calls.

Each yields a bundle of values; `item` takes one out.  All is demanded from outside: an item that
nobody takes is neither stored nor, where nothing else needs it, computed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from chainrule.ir.body import Body
from chainrule.ir.dims import Dim, Extent, evaluate_extent, named, names_of
from chainrule.ir.graph import Node
from chainrule.ir.op import Kind, Notation, Op, Requirement, Special
from chainrule.ir.sizes import LARGEST
from chainrule.ir.types import BOOL, BUNDLE, I64, Array, Type
from chainrule.ir.walk import rebuild
from chainrule.ops._declare import declare

__all__ = ["COUNT", "POSITION", "Custom", "Loop", "call", "callback", "counted_name",
           "counted_names", "fresh_length", "item", "loop", "results_of", "switch"]  # fmt: skip

COUNT: Final = -1
"The item of a loop with a test that tells how many steps it took."

POSITION: Final = Type(I64, ())
"Of the number of a step, and of how many there are."

_SERIALS: Final = itertools.count()


_MADE: Final = "steps."
"How the names of dims begin that loops bind; no name of a user's holds a dot."


def fresh_length() -> Dim:
    """Return the number of steps of a loop with a test: a dim that the loop binds as it ends."""
    return named(f"{_MADE}{next(_SERIALS)}")


def counted_names(extent: Extent) -> set[str]:
    """Return the dims in an extent that are known only when a loop has ended."""
    return {n for n in names_of(extent) if n.startswith(_MADE)}


def counted_name(length: Extent) -> str:
    """Return the name of a dim that a loop binds."""
    (name,) = names_of(length)
    return name


class Frame(Protocol):
    """What the evaluator offers to the meaning of an op with bodies."""

    dims: MutableMapping[str, int]

    def run(self, body: Body, args: Sequence[Array]) -> list[Array]:
        """Return the outputs of a body."""


# item


item: Final[Op] = declare(
    Op(
        "item", Kind.ITEM, ("index", "type"), lambda _bundle, **given: given["type"],
        lambda bundle, **given: bundle[given["index"]], Special(), flops=0,
        notation=Notation("{0}", "{0}"),
    )
)  # fmt: skip


def results_of(node: Node) -> list[Node]:
    """Return all items of a bundle, in order (the number of steps of a loop apart)."""
    match node.op.name:
        case "loop":
            parts = Loop.of(node)
            types = [x.type for x in parts.body.outputs]
            length = node.attributes["length"]
            stacked = [Type(t.dtype, (length, *t.shape)) for t in types[parts.count :]]
            types = [*types[: parts.count], *stacked]
        case "switch":
            types = [x.type for x in node.attributes["branches"][0].outputs]
        case "callback":
            types = list(node.attributes["types"])
        case _:
            types = [x.type for x in node.attributes["body"].outputs]
    return [item(node, index=i, type=t) for i, t in enumerate(types)]


# loop


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop node taken apart.

    Attributes:
        body: One step: inputs (position, carries, elements, constants), outputs (carries, stacked).
        test: Of the same inputs: whether there is another step; None: `length` says how many.
        inits: Values of the carries before the first step.
        xs: Arrays whose rows along axis 0 are the elements.
        constants: What every step sees.

    A loop over as many steps as one with a test took is `counted`: its last constant is that
    number, which binds the dim of its length, so that it can run where the other one is not.
    """

    node: Node
    body: Body
    test: Body | None
    inits: tuple[Node, ...]
    xs: tuple[Node, ...]
    constants: tuple[Node, ...]

    @classmethod
    def of(cls, node: Node) -> Loop:
        """Take a loop node apart."""
        body, test, carries, mapped, *_ = node.attrs
        args = node.args
        split = carries + mapped
        return cls(node, body, test, args[:carries], args[carries:split], args[split:])

    @property
    def count(self) -> int:
        """Number of carries."""
        return len(self.inits)

    @property
    def position(self) -> Node:
        """The number of the step, as the body sees it (of the row of `xs`, where reversed)."""
        return self.body.inputs[0]

    @property
    def carried(self) -> tuple[Node, ...]:
        """The carries, as the body sees them."""
        return self.body.inputs[1 : 1 + self.count]

    @property
    def elements(self) -> tuple[Node, ...]:
        """The rows of `xs`, as the body sees them."""
        first = 1 + self.count
        return self.body.inputs[first : first + len(self.xs)]

    @property
    def fixed(self) -> tuple[Node, ...]:
        """The constants, as the body sees them."""
        return self.body.inputs[1 + self.count + len(self.xs) :]

    @property
    def next(self) -> tuple[Node, ...]:
        """The carries after the step."""
        return self.body.outputs[: self.count]

    @property
    def stacked(self) -> tuple[Node, ...]:
        """What every step adds to the stacked results."""
        return self.body.outputs[self.count :]

    @property
    def length(self) -> Extent:
        """Number of steps; with a test, a dim that the loop itself binds."""
        found: Extent = self.node.attributes["length"]
        return found


def _loop_type(
    *args: Type, body: Body, test: Body | None, carries: int, mapped: int, length: Extent,
    bound: Extent | None, reverse: bool, counted: bool,
) -> Type:  # fmt: skip
    seen = [x.type for x in body.inputs]
    assert seen[0] == POSITION, "the first input of a loop's body is the position"
    assert len(seen) == 1 + len(args), f"{len(args)} arguments for {len(seen) - 1} inputs"
    for i, (given, own) in enumerate(zip(args, seen[1:], strict=True)):
        row = carries <= i < carries + mapped
        assert given == (Type(own.dtype, (length, *own.shape)) if row else own), f"{given}: {own}"
    for before, after in zip(seen[1 : 1 + carries], body.outputs, strict=False):
        assert before == after.type, f"a carry goes in as {before} and comes out as {after.type}"
    if test is not None:
        assert [x.type for x in test.outputs] == [Type(BOOL, ())], "a test is one truth value"
        assert test.inputs == body.inputs, "test and body see the same"
        assert not mapped, "a loop with a test has no stacked inputs"
        assert not reverse, "a loop with a test runs forward"
        assert isinstance(length, Dim), "the number of steps is not known before"
    if counted:
        assert args[-1] == POSITION, "the last argument is the number of steps"
    return Type(BUNDLE, ())


def _loop_value(
    *args: Array, frame: Frame, body: Body, test: Body | None, carries: int, mapped: int,
    length: Extent, bound: Extent | None, reverse: bool, counted: bool,
) -> Mapping[int, Array]:  # fmt: skip
    carry, xs = list(args[:carries]), args[carries : carries + mapped]
    fixed = list(args[carries + mapped :])
    stacks: list[list[Array]] = [[] for _ in body.outputs[carries:]]

    def step(position: int) -> None:
        rows = [x[position] for x in xs]
        out = frame.run(body, [np.asarray(position), *carry, *rows, *fixed])
        carry[:] = out[:carries]
        for stack, y in zip(stacks, out[carries:], strict=True):
            stack.append(y)

    if counted:
        frame.dims[counted_name(length)] = int(args[-1])
    if test is None:
        count = evaluate_extent(length, frame.dims)
        for i in range(count):
            step(count - 1 - i if reverse else i)
    else:
        count, most = 0, None if bound is None else evaluate_extent(bound, frame.dims)
        while count != most and bool(frame.run(test, [np.asarray(count), *carry, *fixed])[0]):
            step(count)
            count += 1
        frame.dims[counted_name(length)] = count
    found: dict[int, Array] = dict(enumerate(carry))
    for k, (stack, y) in enumerate(zip(stacks, body.outputs[carries:], strict=True)):
        shape = tuple(evaluate_extent(e, frame.dims) for e in y.shape)
        rows = stack[::-1] if reverse else stack
        found[carries + k] = np.array(rows, dtype=y.dtype.numpy).reshape(count, *shape)
    found[COUNT] = np.asarray(count)
    return found


def _loop_needs(*_args: Type, length: Extent, **_attributes: object) -> Iterator[Requirement]:
    yield Requirement(length, "a loop has a negative number of steps")
    if not (isinstance(length, Dim) and length.is_name):
        yield Requirement(LARGEST - length, "a loop has more steps than can be counted")


loop: Final[Op] = declare(
    Op(
        "loop", Kind.CONTROL,
        ("body", "test", "carries", "mapped", "length", "bound", "reverse", "counted"),
        _loop_type, _loop_value, Special(), notation=Notation("loop", r"\operatorname{{loop}}"),
        needs=_loop_needs,
    )
)  # fmt: skip


# switch


def _switch_type(index: Type, *args: Type, branches: tuple[Body, ...]) -> Type:
    assert index == Type(I64, ()), "the first argument of a switch is the branch's number"
    results = [x.type for x in branches[0].outputs]
    for branch in branches:
        assert [x.type for x in branch.inputs] == list(args), "branches take the same arguments"
        assert [x.type for x in branch.outputs] == results, "branches return the same types"
    return Type(BUNDLE, ())


def _switch_value(
    index: Array, *args: Array, frame: Frame, branches: tuple[Body, ...]
) -> Mapping[int, Array]:
    chosen = min(max(int(index), 0), len(branches) - 1)
    return dict(enumerate(frame.run(branches[chosen], args)))


switch: Final[Op] = declare(
    Op(
        "switch", Kind.CONTROL, ("branches",), _switch_type, _switch_value, Special(),
        notation=Notation("switch", r"\operatorname{{switch}}"),
    )
)  # fmt: skip


# call


@dataclass(frozen=True, slots=True, eq=False)
class Custom:
    """Derivatives given by the user, in place of those of the body.

    Attributes:
        name: What the user's function is called.
        pull: Cotangents of the arguments from the arguments and the cotangents of the results.
        push: Tangents of the results from the arguments and their tangents.
        closed: How many of the last arguments are what the user's function closes over: they have
            no derivative, so none may be asked for.
    """

    name: str
    pull: Callable[[Sequence[Node], Sequence[Node]], Sequence[Node | None]] | None = None
    push: Callable[[Sequence[Node], Sequence[Node]], Sequence[Node | None]] | None = None
    closed: int = 0

    def with_constants(self, outer: Sequence[Node], *, asked: bool = False) -> Custom:
        """Return the derivatives of a call that takes constants after its arguments.

        The rules speak of the nodes `outer`; what stands for these in a call takes their place.  If
        derivatives by them may be `asked` for, they are zero.
        """
        if not outer:
            return self
        count, pull, push = len(outer), self.pull, self.push

        def placed(found: Sequence[Node | None], args: Sequence[Node]) -> list[Node | None]:
            known = {a: b for a, b in zip(outer, args[-count:], strict=True) if a is not b}
            some = [n for n in found if n is not None]
            if not known or not some:
                return list(found)
            left = iter(rebuild(some, some[0].graph, lambda _n, _a: None, known)[0])
            return [None if n is None else next(left) for n in found]

        def pull_of(args: Sequence[Node], gs: Sequence[Node]) -> list[Node | None]:
            assert pull is not None, "asked only where there is one"
            return [*placed(pull(args[:-count], gs), args), *(None for _ in range(count))]

        def push_of(args: Sequence[Node], ts: Sequence[Node]) -> list[Node | None]:
            assert push is not None, "asked only where there is one"
            return placed(push(args[:-count], ts[:-count]), args)

        return Custom(
            self.name, pull_of if pull else None, push_of if push else None, 0 if asked else count
        )


def _call_type(*args: Type, body: Body, custom: Custom | None, apart: bool) -> Type:
    assert [x.type for x in body.inputs] == list(args), "a call gives its body what it takes"
    return Type(BUNDLE, ())


def _call_value(
    *args: Array, frame: Frame, body: Body, custom: Custom | None, apart: bool
) -> Mapping[int, Array]:
    return dict(enumerate(frame.run(body, args)))


call: Final[Op] = declare(
    Op(
        "call", Kind.CONTROL, ("body", "custom", "apart"), _call_type, _call_value, Special(),
        notation=Notation("call", r"\operatorname{{call}}"),
    )
)  # fmt: skip


# callback


def _callback_value(
    *args: Array, frame: Frame, function: Callable[..., list[Array]], types: tuple[Type, ...]
) -> Mapping[int, Array]:
    shapes = [tuple(evaluate_extent(e, frame.dims) for e in t.shape) for t in types]
    return dict(enumerate(function(args, shapes)))


callback: Final[Op] = declare(
    Op(
        "callback", Kind.CONTROL, ("function", "types"),
        lambda *args, function, types: Type(BUNDLE, ()), _callback_value, Special(),
        notation=Notation("callback", r"\operatorname{{callback}}"),
    )
)  # fmt: skip
