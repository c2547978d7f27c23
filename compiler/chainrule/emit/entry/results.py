"""Where results go: fresh arrays in fresh containers, or the caller's `out=`."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from chainrule.emit.builder import I32, I64, PTR, VOID, Value
from chainrule_runtime.abi import Tree, record_nodes, subtrees
from chainrule_runtime.layout import STANDARD

from .frame import WORD, Frame
from .inputs import take_apart
from .overlap import Range, require_apart

__all__ = ["Results"]


@dataclass(slots=True)
class _Container:
    """A node of the output tree.

    `keys` are a dict's keys or the names of a dataclass's fields, `number` is that of a dict among
    dicts or of a record among records, `children` are slots, None for a `none` node.
    """

    kind: str
    slot: int
    keys: tuple[Any, ...]
    static: tuple[str, ...]
    number: int
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

        def keep(item: Value, owned: bool) -> None:
            if not owned:
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

        numbers = count(len(record_nodes(signature.input_tree)))
        take_apart(frame, signature.output_tree, out, take_leaf, keep, numbers, mismatch)
        require_apart(frame, written, inputs, mismatch)

    def build(self, failed: str) -> Value:
        """Nest the result arrays, inner containers first; return the only reference to the whole.

        At any time every object made so far is owned by a slot or by a container.
        """
        signature = self._frame.signature
        first = len(record_nodes(signature.input_tree))
        containers, root = _number(signature.output_tree, len(signature.outputs), first)
        for node in reversed(containers):
            if node.kind == "dict":
                self._build_dict(node, failed)
            elif node.kind == "dataclass":
                self._build_dataclass(node, failed)
            else:
                self._build_sequence(node, failed)
        return self._move(root)

    def _build_sequence(self, node: _Container, failed: str) -> None:
        frame, b = self._frame, self._frame.b
        name = "PyList" if node.kind == "list" else "PyTuple"
        made = frame.api(f"{name}_New", PTR, b.const(I64, len(node.children)))
        frame.require_object(made, failed)
        for i, child in enumerate(node.children):
            frame.api(f"{name}_SetItem", I32, made, b.const(I64, i), self._move(child))
        if node.kind == "namedtuple":
            children = made
            made = frame.api(
                "PyObject_CallOneArg", PTR, frame.pointer(f"build {node.number}"), children
            )
            frame.api("Py_DecRef", VOID, children)
            frame.require_object(made, failed)
        self._put(made, node.slot)

    def _build_dict(self, node: _Container, failed: str) -> None:
        frame, b, status = self._frame, self._frame.b, self._frame.b.const(I32, 0)
        made = frame.api("PyDict_Copy", PTR, frame.pointer(f"template {node.number}"))
        frame.require_object(made, failed)
        self._put(made, node.slot)
        for key, child in zip(node.keys, node.children, strict=True):
            item = self._move(child)
            done = frame.api("PyDict_SetItem", I32, made, frame.pointer(f"key {key!r}"), item)
            status = b.or_(status, done)
            frame.api("Py_DecRef", VOID, item)
        # The keys are there and hashed already: a failure would be a bug, and may wait till here.
        frame.require(b.icmp("eq", status, b.const(I32, 0)), failed)

    def _build_dataclass(self, node: _Container, failed: str) -> None:
        """Set the fields as `object.__setattr__` does, past frozen ones; setters may raise."""
        frame = self._frame
        made = frame.api("PyObject_CallNoArgs", PTR, frame.pointer(f"build {node.number}"))
        frame.require_object(made, failed)
        self._put(made, node.slot)
        for name, child in zip(node.keys, node.children, strict=True):
            item = self._move(child)
            done = self._set_field(made, name, item)
            frame.api("Py_DecRef", VOID, item)
            self._require_done(done, failed)
        for name in node.static:
            value = frame.pointer(f"static {name} {node.number}")
            self._require_done(self._set_field(made, name, value), failed)

    def _set_field(self, made: Value, name: str, value: Value) -> Value:
        attribute = self._frame.pointer(f"attribute {name}")
        return self._frame.api("PyObject_GenericSetAttr", I32, made, attribute, value)

    def _require_done(self, status: Value, failed: str) -> None:
        b = self._frame.b
        self._frame.require(b.icmp("eq", status, b.const(I32, 0)), failed)

    def _move(self, slot: int | None) -> Value:
        """Return a reference to give away: what the slot owned, or a new one to None."""
        b = self._frame.b
        if slot is not None:
            place = b.offset(self._slots, WORD * slot)
            thing = b.load(PTR, place)
            b.store(b.zero(PTR), place)
            return thing
        none = self._frame.pointer("None")
        self._frame.api("Py_IncRef", VOID, none)
        return none

    def _put(self, thing: Value, slot: int) -> None:
        self._frame.b.store(thing, self._frame.b.offset(self._slots, WORD * slot))

    def _put_data(self, data: Value, index: int) -> None:
        self._frame.b.store(data, self._frame.b.offset(self.data, WORD * index))


def _number(tree: Tree, leaves: int, records: int) -> tuple[list[_Container], int | None]:
    """Give every container a slot after those of the leaves; return them and the root's slot.

    Parents come before their children.  Records are numbered from `records` on.
    """
    top = _Container("tuple", -1, (), (), -1)
    containers: list[_Container] = []
    dicts, numbers = count(), count(records)
    pending: list[tuple[Tree, _Container]] = [(tree, top)]
    while pending:
        node, parent = pending.pop()
        if isinstance(node, int):
            parent.children.append(node)
        elif node[0] == "none":
            parent.children.append(None)
        else:
            made = _Container(node[0], leaves + len(containers), (), (), -1)
            match node[0]:
                case "dict":
                    made.keys, made.number = node[1], next(dicts)
                case "namedtuple":
                    made.number = next(numbers)
                case "dataclass":
                    made.keys, made.static, made.number = node[2], node[3], next(numbers)
            containers.append(made)
            parent.children.append(made.slot)
            pending.extend((child, made) for child in reversed(node[-1]))
    return containers, top.children[0]
