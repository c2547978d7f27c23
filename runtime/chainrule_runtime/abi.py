"""What is known of a compiled function from outside: its arrays, their shapes, their nesting.

The kernel behind a signature is the C function

    int64_t kernel(void** inputs, void** outputs, void* arena, const int64_t* dims)

Inputs and outputs are the data of C-contiguous arrays in the order of the leaves, `arena` has at
least the signature's number of bytes and is aligned to 64, `dims` holds the named dims.  It returns
zero, or a positive code that picks one of the messages its owner keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

__all__ = [
    "DTYPES", "DimExpr", "Extent", "Guard", "Leaf", "Signature", "Solved", "Tree", "evaluate",
    "has_custom", "record_nodes", "show_extent", "show_shape", "subtrees",
]  # fmt: skip

DTYPES: Final = ("float16", "float32", "float64", "int32", "int64", "uint8", "uint32", "bool")
"Names of the element types that NumPy has itself; `bfloat16` is one more."

# `("dim", i)`, `("const", c)` or `(operator, a, b)` with an operator of `_OPERATORS`.
DimExpr: TypeAlias = tuple[Any, ...]
Extent: TypeAlias = int | DimExpr
# A leaf's index, `("tuple", children)`, `("list", children)`, `("dict", keys, children)`,
# `("none",)`, `("namedtuple", class label, children)`,
# `("dataclass", class label, field names, static field names, children)`,
# or `("custom", ...)`, which native code leaves to Python.
# Which classes the labels of named tuples and dataclasses stand for, and the values of static
# fields, exist only in a process: `binding.Record`.
Tree: TypeAlias = int | tuple[Any, ...]

_OPERATORS: Final[dict[str, Callable[[int, int], int]]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "floordiv": lambda a, b: a // b,
    "mod": lambda a, b: a % b,
    "min": min,
    "max": max,
}
_SIGNS: Final = {"add": "+", "sub": "-", "mul": "*", "floordiv": "//", "mod": "%"}


@dataclass(frozen=True, slots=True)
class Leaf:
    """One array: its name for messages (`params['W1']`), NumPy dtype name and shape.

    A `weak` one stands for a Python number: native entries take an exact `float` (of a float64) or
    `int` (of an int64) there, since an array of that dtype would mean another program.
    """

    path: str
    dtype: str
    shape: tuple[Extent, ...]
    weak: bool = False


_RELATIONS: Final = {"eq": "==", "ne": "!=", "ge": ">="}


@dataclass(frozen=True, slots=True)
class Guard:
    """A relation of extents the code relies on.

    `eq`: left == right; `ne`: left != right; `ge`: left >= right; `divides`: left divides right.
    """

    kind: Literal["eq", "ne", "ge", "divides"]
    left: Extent
    right: Extent
    text: str

    def holds(self, dims: Sequence[int] | Mapping[int, int]) -> bool:
        """Tell whether these dims satisfy the guard."""
        try:
            left, right = evaluate(self.left, dims), evaluate(self.right, dims)
        except ZeroDivisionError:  # which another guard is about
            return False
        if self.kind == "eq":
            return left == right
        if self.kind == "ne":
            return left != right
        if self.kind == "ge":
            return left >= right
        return left > 0 and right % left == 0

    def requirement(self, names: Sequence[str]) -> str:
        """Return the relation in the user's names: `n - 2 >= 0`."""
        left, right = show_extent(self.left, names), show_extent(self.right, names)
        if self.kind == "divides":
            return f"{right} is a multiple of {left}"
        return f"{left} {_RELATIONS[self.kind]} {right}"


@dataclass(frozen=True, slots=True)
class Solved:
    """How a dim is found that no axis has alone: `(sum of weight * length - rest) // divisor`.

    `weights` has the input, the axis and the weight of each length; `rest` and `divisor` mention
    dims that are known before.
    """

    dim: int
    weights: tuple[tuple[int, int, int], ...]
    rest: Extent
    divisor: Extent

    def value(self, shapes: Sequence[Sequence[int]], dims: Mapping[int, int]) -> int:
        """Return the number; where none fits, some other."""
        total = sum(weight * shapes[leaf][axis] for leaf, axis, weight in self.weights)
        return (total - evaluate(self.rest, dims)) // (evaluate(self.divisor, dims) or 1)


@dataclass(frozen=True, slots=True)
class Signature:
    """The arrays that go into and come out of a compiled function.

    Attributes:
        name: The function's name, for messages.
        inputs: The input arrays, in the order of the kernel's first argument.
        input_tree: How the positional arguments nest; always a `("tuple", ...)`.
        outputs: The result arrays, in the order of the kernel's second argument.
        output_tree: How the results nest; every output occurs in it exactly once.
        dims: Names of the extents known only at a call.
        guards: What must hold of the dims.
        donated: Pairs (input, output): that input's memory becomes that output.
        arena: Bytes of scratch memory.
        solved: How dims are found that no axis of an input has alone, in an order that works.
    """

    name: str
    inputs: tuple[Leaf, ...]
    input_tree: Tree
    outputs: tuple[Leaf, ...]
    output_tree: Tree
    dims: tuple[str, ...] = ()
    guards: tuple[Guard, ...] = ()
    donated: tuple[tuple[int, int], ...] = ()
    arena: Extent = 0
    solved: tuple[Solved, ...] = ()

    def flat(self) -> Signature:
        """Return the signature of the same kernel that takes and returns arrays unnested."""
        return Signature(
            self.name, self.inputs, ("tuple", tuple(range(len(self.inputs)))),
            self.outputs, ("tuple", tuple(range(len(self.outputs)))),
            self.dims, self.guards, self.donated, self.arena, self.solved,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Return the signature as what `json.dumps` takes (tuples become lists there)."""
        return {
            "name": self.name,
            "inputs": [_leaf_record(leaf) for leaf in self.inputs],
            "input_tree": self.input_tree,
            "outputs": [_leaf_record(leaf) for leaf in self.outputs],
            "output_tree": self.output_tree,
            "dims": self.dims,
            "guards": [[g.kind, g.left, g.right, g.text] for g in self.guards],
            "donated": self.donated,
            "arena": self.arena,
            "solved": [[s.dim, s.weights, s.rest, s.divisor] for s in self.solved],
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Signature:
        """Return the signature written by `to_json`, also after a trip through JSON text."""
        record = {key: _tuples(value) for key, value in data.items()}
        record["inputs"] = tuple(Leaf(*leaf) for leaf in record["inputs"])
        record["outputs"] = tuple(Leaf(*leaf) for leaf in record["outputs"])
        record["guards"] = tuple(Guard(*guard) for guard in record["guards"])
        record["solved"] = tuple(Solved(*one) for one in record.get("solved", ()))
        return Signature(**record)


def evaluate(extent: Extent, dims: Sequence[int] | Mapping[int, int]) -> int:
    """Return the extent for these dims (`KeyError` or `IndexError` where a dim is missing)."""
    if isinstance(extent, int):
        return extent
    head = extent[0]
    if head == "dim":
        return dims[extent[1]]
    if head == "const":
        return int(extent[1])
    return _OPERATORS[head](evaluate(extent[1], dims), evaluate(extent[2], dims))


def show_extent(extent: Extent, names: Sequence[str]) -> str:
    """Return the extent in the user's names: `batch`, `2 * n`."""
    if isinstance(extent, int):
        return str(extent)
    head = extent[0]
    if head == "dim":
        return names[extent[1]] if extent[1] < len(names) else f"dim{extent[1]}"
    if head == "const":
        return str(extent[1])
    a, b = (show_extent(part, names) for part in extent[1:])
    if head == "add" and b.startswith("-"):
        return f"{_bracketed(a)} - {_bracketed(b[1:])}"
    if head not in _SIGNS:
        return f"{head}({a}, {b})"
    return f"{_bracketed(a)} {_SIGNS[head]} {_bracketed(b)}"


def show_shape(shape: Sequence[Extent], names: Sequence[str] = ()) -> str:
    """Return a shape as Python writes tuples, extents in the user's names."""
    inner = ", ".join(show_extent(extent, names) for extent in shape)
    return f"({inner},)" if len(shape) == 1 else f"({inner})"


def subtrees(tree: Tree) -> Iterator[Tree]:
    """Yield every node of the tree, parents before children, from left to right."""
    pending = [tree]
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, int) and node[0] not in ("none", "custom"):
            pending.extend(reversed(node[-1]))


def has_custom(tree: Tree) -> bool:
    """Tell whether the tree has a node that only Python can take apart or build."""
    return any(not isinstance(node, int) and node[0] == "custom" for node in subtrees(tree))


def record_nodes(tree: Tree) -> list[tuple[Any, ...]]:
    """Return the nodes of named tuples and dataclasses, in the order of `subtrees`."""
    return [
        node for node in subtrees(tree)
        if not isinstance(node, int) and node[0] in ("namedtuple", "dataclass")
    ]  # fmt: skip


def _leaf_record(leaf: Leaf) -> list[Any]:
    return [leaf.path, leaf.dtype, leaf.shape, *([True] if leaf.weak else [])]


def _bracketed(text: str) -> str:
    return f"({text})" if " " in text and not text.endswith(")") else text


def _tuples(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_tuples(item) for item in value)
    return value
