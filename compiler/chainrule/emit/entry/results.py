"""Where results go: fresh arrays in fresh containers, or the caller's `out=`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from chainrule.emit.builder import I32, I64, PTR, VOID, Value
from chainrule_runtime.abi import Tree, subtrees
from chainrule_runtime.layout import STANDARD

from .frame import WORD, Frame
from .inputs import take_apart
from .overlap import Range, require_apart

__all__ = ["Results"]


@dataclass(slots=True)
class _Container:
    """A node of the output tree; `children` are slots, None for a `none` node."""

    kind: str
    slot: int
    keys: tuple[Any, ...]
    template: int
    children: list[int | None] = field(default_factory=list)


class Results:
    """The result side of one entry.

    It keeps owned references in `slots`, an array on the stack, null where there is none: of fresh
    results the arrays and then the containers, of `out=` what its containers alone keep alive.
    """

    def __init__(self, frame: Frame, rank: int) -> None:
        """Reserve stack space, also for the extents of arrays up to `rank` (entry block only)."""
        signature, b = frame.signature, frame.b
        self._frame = frame
        self._slot_count = sum(1 for _ in subtrees(signature.output_tree))
        self._slots = b.alloca(WORD * self._slot_count, align=16)
        self._scratch = b.alloca(WORD * max(1, rank), align=16)
        self.data: Final = b.alloca(WORD * max(1, len(signature.outputs)), align=16)
        self._donor = {target: source for source, target in signature.donated}

    def clear(self) -> None:
        """Own nothing yet."""
        b = self._frame.b

        def body(i: Value, _carried: list[Value]) -> None:
            b.store(b.zero(PTR), b.offset(self._slots, b.mul(i, WORD)))

        b.loop(0, self._slot_count, body=body)

    def drop(self) -> None:
        """Drop whatever is owned."""
        self._frame.drop_all(self._slots, self._slot_count)

    def allocate(self, failed: str) -> None:
        """Make the result arrays; a donated input becomes its output."""
        frame, b = self._frame, self._frame.b
        for index, leaf in enumerate(frame.signature.outputs):
            if index in self._donor:
                source = self._donor[index]
                frame.api("Py_IncRef", VOID, frame.objects[source])
                self._put(frame.objects[source], index)
                self._put_data(frame.data(source), index)
                continue
            for axis, extent in enumerate(leaf.shape):
                b.store(frame.extent(extent), b.offset(self._scratch, WORD * axis))
            descr = frame.pointer(f"dtype {leaf.dtype}")
            frame.api("Py_IncRef", VOID, descr)  # the next call takes it over
            null, zero = b.zero(PTR), b.const(I32, 0)
            array = frame.api(
                "PyArray_NewFromDescr", PTR, frame.pointer("ndarray"), descr,
                b.const(I32, len(leaf.shape)), self._scratch, null, null, zero, null,
            )  # fmt: skip
            frame.require_object(array, failed)
            self._put(array, index)
            self._put_data(b.load(PTR, b.offset(array, STANDARD.data)), index)

    def take(self, out: Value, mismatch: str) -> None:
        """Take `out` apart; check every array in it, and that writing it harms no other."""
        frame, b, signature = self._frame, self._frame.b, self._frame.signature
        inputs = [Range.of(frame, leaf, frame.data(i)) for i, leaf in enumerate(signature.inputs)]
        written: list[Range] = []
        kept = iter(range(self._slot_count))

        def keep(item: Value) -> None:
            frame.api("Py_IncRef", VOID, item)
            self._put(item, next(kept))

        def take_leaf(index: int, thing: Value) -> None:
            leaf = signature.outputs[index]
            if index in self._donor:
                source = self._donor[index]
                frame.require(b.icmp("eq", thing, frame.objects[source]), mismatch)
                self._put_data(frame.data(source), index)
                return
            extents = frame.require_array(thing, leaf, written=True, otherwise=mismatch)
            frame.require_extents(leaf, extents, mismatch)
            data = b.load(PTR, b.offset(thing, STANDARD.data))
            self._put_data(data, index)
            written.append(Range.of(frame, leaf, data))

        take_apart(frame, signature.output_tree, out, take_leaf, keep, mismatch)
        require_apart(frame, written, inputs, mismatch)

    def build(self, failed: str) -> Value:
        """Nest the result arrays; everything owned goes into the value returned."""
        frame, b = self._frame, self._frame.b
        containers, root = _number(frame.signature.output_tree, len(frame.signature.outputs))
        for node in containers:
            made = self._new_container(node)
            frame.require_object(made, failed)
            self._put(made, node.slot)
        # From here nothing can fail, except a dict for reasons that would be bugs.
        status = b.const(I32, 0)
        for node in containers:
            status = self._fill(node, status)
        result = self._owned(root)
        fine, broken = b.new_label("built"), b.new_label("broken")
        b.branch_if(b.icmp("eq", status, b.const(I32, 0)), fine, broken)
        b.start(broken)
        frame.api("Py_DecRef", VOID, result)
        self.clear()
        b.branch(failed)
        b.start(fine)
        return result

    def _new_container(self, node: _Container) -> Value:
        frame, size = self._frame, self._frame.b.const(I64, len(node.children))
        if node.kind == "dict":
            return frame.api("PyDict_Copy", PTR, frame.pointer(f"template {node.template}"))
        return frame.api({"tuple": "PyTuple_New", "list": "PyList_New"}[node.kind], PTR, size)

    def _fill(self, node: _Container, status: Value) -> Value:
        """Move the children into a container; return the combined status."""
        frame, b, container = self._frame, self._frame.b, self._get(node.slot)
        for i, child in enumerate(node.children):
            item = self._owned(child)
            if node.kind == "dict":
                key = frame.pointer(f"key {node.keys[i]!r}")
                done = frame.api("PyDict_SetItem", I32, container, key, item)
                status = b.or_(status, done)
                frame.api("Py_DecRef", VOID, item)
            else:
                setter = {"tuple": "PyTuple_SetItem", "list": "PyList_SetItem"}[node.kind]
                frame.api(setter, I32, container, b.const(I64, i), item)
        return status

    def _owned(self, slot: int | None) -> Value:
        """Return a reference to give away: what the slot owns, or a new one to None."""
        if slot is not None:
            return self._get(slot)
        none = self._frame.pointer("None")
        self._frame.api("Py_IncRef", VOID, none)
        return none

    def _put(self, thing: Value, slot: int) -> None:
        self._frame.b.store(thing, self._frame.b.offset(self._slots, WORD * slot))

    def _get(self, slot: int) -> Value:
        return self._frame.b.load(PTR, self._frame.b.offset(self._slots, WORD * slot))

    def _put_data(self, data: Value, index: int) -> None:
        self._frame.b.store(data, self._frame.b.offset(self.data, WORD * index))


def _number(tree: Tree, leaves: int) -> tuple[list[_Container], int | None]:
    """Give every container a slot after those of the leaves; return them and the root's slot."""
    top = _Container("tuple", -1, (), -1)
    containers: list[_Container] = []
    templates = 0
    pending: list[tuple[Tree, _Container]] = [(tree, top)]
    while pending:
        node, parent = pending.pop()
        if isinstance(node, int):
            parent.children.append(node)
        elif node[0] == "none":
            parent.children.append(None)
        else:
            keys = node[1] if node[0] == "dict" else ()
            made = _Container(node[0], leaves + len(containers), keys, templates)
            templates += node[0] == "dict"
            containers.append(made)
            parent.children.append(made.slot)
            pending.extend((child, made) for child in reversed(node[-1]))
    return containers, top.children[0]
