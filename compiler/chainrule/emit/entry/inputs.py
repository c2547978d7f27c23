"""Takes the arguments of a call apart and checks every one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chainrule.emit.builder import I64, PTR, Value
from chainrule_runtime.abi import Extent, Leaf, Tree
from chainrule_runtime.layout import STANDARD

from .frame import WORD, Frame

__all__ = ["emit_checks", "take_apart"]


def take_apart(
    frame: Frame, tree: Tree, thing: Value, take_leaf: Callable[[int, Value], None],
    keep: Callable[[Value], None], otherwise: str,
) -> None:
    """Follow `tree` through nested containers, calling `take_leaf` at each leaf.

    `keep(child)` is called for what came out of a dict or a list, which other threads may
    change at any time; `otherwise` is the label for whatever does not fit.
    """  # fmt: skip
    pending: list[tuple[Tree, Value]] = [(tree, thing)]
    while pending:
        node, thing = pending.pop()
        if isinstance(node, int):
            take_leaf(node, thing)
        elif node[0] == "none":
            frame.require(frame.b.icmp("eq", thing, frame.pointer("None")), otherwise)
        else:
            children = _children(frame, node, thing, keep, otherwise)
            pending.extend(reversed(list(zip(node[-1], children, strict=True))))


def _children(
    frame: Frame, node: tuple[Any, ...], thing: Value, keep: Callable[[Value], None],
    otherwise: str,
) -> list[Value]:
    """Check one container and return what is in it."""  # fmt: skip
    b, kind = frame.b, node[0]
    name = {"tuple": "PyTuple", "list": "PyList", "dict": "PyDict"}[kind]
    frame.require_type(thing, kind, otherwise)
    size = frame.api(f"{name}_Size", I64, thing)
    frame.require(b.icmp("eq", size, b.const(I64, len(node[-1]))), otherwise)
    found = []
    for i in range(len(node[-1])):
        if kind == "dict":
            key = frame.pointer(f"key {node[1][i]!r}")
            item = frame.api("PyDict_GetItemWithError", PTR, thing, key)
            frame.require_object(item, otherwise)
        else:
            item = frame.api(f"{name}_GetItem", PTR, thing, b.const(I64, i))
        if kind != "tuple":
            keep(item)
        found.append(item)
    return found


def emit_checks(frame: Frame, args: Value) -> None:
    """Walk the positional arguments; bind the dims; check all extents and guards."""
    b, signature = frame.b, frame.signature
    assert not isinstance(signature.input_tree, int)
    donated = {source for source, _ in signature.donated}
    later: list[tuple[Value, Extent]] = []

    def take_leaf(index: int, thing: Value) -> None:
        leaf = signature.inputs[index]
        extents = frame.require_array(thing, leaf, written=index in donated)
        if index in donated:
            frame.objects[index] = thing
        data = b.load(PTR, b.offset(thing, STANDARD.data))
        b.store(data, b.offset(frame.inputs, WORD * index))
        later.extend(_bind(frame, leaf, extents))

    for position, tree in enumerate(signature.input_tree[1]):
        thing = b.load(PTR, b.offset(args, WORD * position))
        take_apart(
            frame, tree, thing, take_leaf,
            keep=frame.hold, otherwise=frame.mismatch,
        )  # fmt: skip
    unbound = [name for i, name in enumerate(signature.dims) if i not in frame.dims]
    if unbound:
        raise ValueError(f"no input has a bare axis to take these dims from: {unbound}")
    for got, extent in later:
        frame.require(b.icmp("eq", got, frame.extent(extent)))
    for guard in signature.guards:
        _check_guard(frame, guard.kind, frame.extent(guard.left), frame.extent(guard.right))


def _bind(frame: Frame, leaf: Leaf, extents: Value) -> list[tuple[Value, Extent]]:
    """Check plain extents, bind dims seen first here; return what needs all dims first."""
    b, good = frame.b, None
    later: list[tuple[Value, Extent]] = []
    for axis, extent in enumerate(leaf.shape):
        got = b.load(I64, b.offset(extents, WORD * axis))
        if isinstance(extent, int):
            fits = b.icmp("eq", got, b.const(I64, extent))
        elif extent[0] != "dim":
            later.append((got, extent))
            continue
        elif extent[1] not in frame.dims:
            frame.dims[extent[1]] = got
            continue
        else:
            fits = b.icmp("eq", got, frame.dims[extent[1]])
        good = fits if good is None else b.and_(good, fits)
    if good is not None:
        frame.require(good)
    return later


def _check_guard(frame: Frame, kind: str, left: Value, right: Value) -> None:
    b = frame.b
    if kind == "divides":
        frame.require(b.icmp("sgt", left, b.const(I64, 0)))
        remainder = b.binary("srem", right, left)
        frame.require(b.icmp("eq", remainder, b.const(I64, 0)))
    else:
        frame.require(b.icmp({"eq": "eq", "ge": "sge"}[kind], left, right))


