"""Writes the C header of an exported function: its types, its sizes, its errors, itself."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chainrule.package.names import C_TYPES, c_comment, c_count, c_extent, c_names, c_string
from chainrule_runtime.abi import Extent, Guard, Leaf, Signature, show_extent

__all__ = ["write_header"]

_ALIGNMENT = 64
BAD_EXTENTS, BAD_ARENA = -1, -2


@dataclass(frozen=True, slots=True)
class _Field:
    """An array of the caller's, as a member of a struct."""

    name: str
    leaf: Leaf
    note: str
    constant: bool

    def lines(self, dims: Sequence[str]) -> Iterator[str]:
        what = f"{self.leaf.dtype}{_shape(self.leaf, dims)}"
        yield f"    /* {c_comment(self.leaf.path or 'the result')}: {c_comment(what)}{self.note} */"
        yield f"    {'const ' if self.constant else ''}{C_TYPES[self.leaf.dtype]} *{self.name};"


class _Header:
    def __init__(self, name: str, signature: Signature) -> None:
        self.name, self.upper, self.signature = name, name.upper(), signature
        self.dims = c_names(signature.dims, "dim")
        targets = dict(signature.donated)
        made = set(targets.values())
        inputs = c_names([leaf.path for leaf in signature.inputs], "input")
        outputs = c_names([leaf.path for leaf in signature.outputs], "result")
        self.inputs = [
            _Field(n, leaf, self._donated(targets.get(i)), i not in targets)
            for i, (n, leaf) in enumerate(zip(inputs, signature.inputs, strict=True))
        ]
        self.outputs = {
            i: _Field(n, leaf, "", False)
            for i, (n, leaf) in enumerate(zip(outputs, signature.outputs, strict=True))
            if i not in made
        }
        donors = {target: source for source, target in signature.donated}
        self.results = [
            f"inputs->{inputs[donors[i]]}" if i in donors else f"outputs->{outputs[i]}"
            for i in range(len(outputs))
        ]

    def _donated(self, target: int | None) -> str:
        if target is None:
            return ""
        path = self.signature.outputs[target].path
        return f", updated in place: becomes result {c_comment(path) or 'of the call'}"

    @property
    def parameters(self) -> str:
        """The typed function's parameters; a struct without members does not exist in C."""
        parts = [
            f"const {self.name}_{kind} *{kind}"
            for kind, there in (
                ("dims", self.dims),
                ("inputs", self.inputs),
                ("outputs", self.outputs),
            )
            if there
        ]
        return self.wrapped([*parts, "void *arena"])

    def wrapped(self, parts: Sequence[str]) -> str:
        """Join parameters, on lines of their own where one line is too long."""
        line = ", ".join(parts)
        return line if len(line) < 70 else "\n    " + ",\n    ".join(parts)

    def struct(self, kind: str, lines: Sequence[str]) -> list[str]:
        if not lines:
            return []
        full = f"{self.name}_{kind}"
        return [f"typedef struct {full} {{", *lines, f"}} {full};", ""]

    def sizes(self) -> list[str]:
        """Define numbers that may depend on the dims; constant expressions where these are."""
        dims = [f"(int64_t)({d})" for d in self.dims]
        given = f"({', '.join(self.dims)})" if self.dims else ""
        arena = _bare(c_extent(self.signature.arena, dims))
        lines = [
            "/* Bytes of scratch memory a call needs, and their alignment. */",
            f"#define {self.upper}_ARENA_BYTES{given} ((size_t)({arena}))",
            f"#define {self.upper}_ARENA_ALIGNMENT {_ALIGNMENT}",
            "",
            "/* Numbers of elements. */",
        ]
        for field in [*self.inputs, *self.outputs.values()]:
            count = c_count(field.leaf, dims)
            some = "" if count.isdigit() else given
            lines.append(
                f"#define {self.upper}_COUNT_{field.name}{some} ((size_t)({_bare(count)}))"
            )
        return [*lines, ""]

    def errors(self, messages: Sequence[str]) -> list[str]:
        return [
            f"/* What {self.name} returns. */",
            f"#define {self.upper}_OK 0",
            f"#define {self.upper}_BAD_EXTENTS ({BAD_EXTENTS})",
            f"#define {self.upper}_BAD_ARENA ({BAD_ARENA})",
            *(
                f"#define {self.upper}_ERROR_{i} {i} /* {c_comment(m)} */"
                for i, m in enumerate(messages, start=1)
            ),
            "",
        ]

    def message(self, messages: Sequence[str]) -> list[str]:
        guards = "; ".join(g.requirement(self.signature.dims) for g in self.signature.guards)
        needs = f": needs {guards}" if guards else ""
        known = {
            0: "no error",
            BAD_EXTENTS: f"extents the code does not work with{needs}",
            BAD_ARENA: f"the arena is NULL or not aligned to {_ALIGNMENT} bytes",
            **dict(enumerate(messages, start=1)),
        }
        cases = [f"    case {code}: return {c_string(text)};" for code, text in known.items()]
        return [
            "/* What a code means. */",
            f"static inline const char *{self.name}_message(int code)",
            "{", "    switch (code) {", *cases,
            '    default: return "unknown code";', "    }", "}", "",
        ]  # fmt: skip

    def refusals(self) -> list[str]:
        """Return what must not hold of the extents; the code relies on it."""
        names = [f"dims->{d}" for d in self.dims]
        found = [f"{d} < 0" for d in names]
        shapes = [leaf.shape for leaf in (*self.signature.inputs, *self.signature.outputs)]
        compound: dict[Extent, None] = {
            e: None for shape in shapes for e in shape if not isinstance(e, int) and e[0] != "dim"
        }
        # What divisors must be comes before anything is divided.
        guards = self.signature.guards
        dividing = [g for g in guards if _divides(g.left) or _divides(g.right)]
        found += [_violated(g, names) for g in guards if g not in dividing]
        found += [f"{c_extent(e, names)} < 0" for e in compound]
        return found + [_violated(g, names) for g in dividing]

    def function(self) -> list[str]:
        lines = [
            "/* Runs it. Returns 0, or a code that tells why the results are undefined. */",
            f"static inline int {self.name}({self.parameters})",
            "{",
        ]
        arrays = [("const void *in", [f"inputs->{f.name}" for f in self.inputs]),
                  ("void *out", self.results)]  # fmt: skip
        for declared, values in arrays:
            lines.append(f"    {declared}[{max(1, len(values))}];")
        if self.dims:
            lines.append(f"    int64_t extents[{len(self.dims)}];")
        lines += [f"    if ({test}) return {self.upper}_BAD_EXTENTS;" for test in self.refusals()]
        if self.signature.arena != 0:
            test = f"arena == NULL || (uintptr_t)arena % {_ALIGNMENT} != 0"
            lines.append(f"    if ({test}) return {self.upper}_BAD_ARENA;")
        for declared, values in arrays:
            target = declared.rpartition("*")[2]
            lines += [f"    {target}[{i}] = {v};" for i, v in enumerate(values or ["NULL"])]
        lines += [f"    extents[{i}] = dims->{d};" for i, d in enumerate(self.dims)]
        given = "extents" if self.dims else "NULL"
        lines += [f"    return (int){self.name}_kernel(in, out, arena, {given});", "}", ""]
        return lines

    def example(self) -> list[str]:
        """Return a call in the order of its parameters, for the comment."""
        numbers = f"({', '.join('32' for _ in self.dims)})" if self.dims else ""
        lines = []
        if self.signature.arena == 0:
            arena = "NULL"
        else:
            arena = "arena"
            lines.append(
                f"_Alignas({_ALIGNMENT}) static char arena[{self.upper}_ARENA_BYTES{numbers}];"
            )
        if self.dims:
            lines.append(f"{self.name}_dims dims = {{{', '.join('32' for _ in self.dims)}}};")
        groups = (("inputs", [f.name for f in self.inputs]),
                  ("outputs", [f.name for f in self.outputs.values()]))  # fmt: skip
        for kind, names in groups:
            if names:
                more = ", ..." if len(names) > 2 else ""
                inner = ", ".join(f".{n} = {n}" for n in names[:2])
                lines.append(f"{self.name}_{kind} {kind} = {{{inner}{more}}};")
        there = (("&dims", self.dims), ("&inputs", self.inputs), ("&outputs", self.outputs))
        call = ", ".join([*[text for text, some in there if some], arena])
        return [*lines, f"int code = {self.name}({call});"]


def write_header(
    name: str, signature: Signature, *, messages: Sequence[str], target: str,
    needs: Sequence[str], version: str,
) -> str:  # fmt: skip
    """Return the header's text.

    Args:
        name: What the function is called; types and functions begin with it, macros with its
            capitals.
        signature: Its arrays.
        messages: What its error codes mean, from 1.
        target: The machine the code is for.
        needs: Features its processor must have.
        version: The compiler's.
    """
    header = _Header(name, signature)
    having = f", processors that have (in Linux's names) {', '.join(needs)}" if needs else ""
    processors = f"for {target}{having}."
    about = [
        f"{name}: one native function, made by chainrule {version}",
        *textwrap.wrap(processors, 92),
        "",
        "Every array is the caller's: row-major (the last index runs fastest), without gaps,",
        "aligned to its element type; a shape of [] is a single value. bool arrays have one byte",
        "an element, 0 or 1. Results must not overlap inputs or one another; inputs marked",
        '"updated in place" are overwritten. Nothing is allocated, no state is kept, nothing but',
        "the arrays named here is read or written; threads may call it at the same time, each",
        "with an arena of its own.",
        "",
        "Example:",
        *(f"    {line}" for line in header.example()),
    ]  # fmt: skip
    outputs = [t for f in header.outputs.values() for t in f.lines(signature.dims)]
    pointers = (
        f"int64_t {name}_kernel(const void *const *inputs, void *const *outputs, void *arena,",
        f"{' ' * len(f'int64_t {name}_kernel(')}const int64_t *dims);",
    )
    lines = [
        "/*", *(f" * {c_comment(line)}".rstrip() for line in about), " */",
        f"#ifndef {header.upper}_H", f"#define {header.upper}_H", "",
        "#include <stddef.h>", "#include <stdint.h>", "",
        "#ifdef __cplusplus", 'extern "C" {', "#endif", "",
        *header.errors(messages),
        *header.struct("dims", [f"    int64_t {d};" for d in header.dims]),
        *header.struct("inputs", [t for f in header.inputs for t in f.lines(signature.dims)]),
        *header.struct("outputs", outputs),
        *header.sizes(),
        "/* The code itself: arrays in the order of the structs; the result of an input that is",
        f" * updated in place has the same pointer. Use {name}, which checks and has types. */",
        *pointers, "",
        "/* What it is, as JSON. */",
        f"extern const char {name}_manifest[];", "",
        *header.message(messages),
        *header.function(),
        "#ifdef __cplusplus", "}", "#endif", "",
        f"#endif /* {header.upper}_H */", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _shape(leaf: Leaf, dims: Sequence[str]) -> str:
    return f"[{', '.join(show_extent(e, dims) for e in leaf.shape)}]"


def _bare(text: str) -> str:
    """Drop one pair of parentheses around the whole."""
    if not text.startswith("("):
        return text
    depth = 0
    for i, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if depth == 0:
            return text[1:-1] if i == len(text) - 1 else text
    return text


def _divides(extent: Extent) -> bool:
    """Tell whether a division is part of an extent."""
    if isinstance(extent, int) or extent[0] in ("dim", "const"):
        return False
    return extent[0] in ("floordiv", "mod") or any(_divides(e) for e in extent[1:])


def _violated(guard: Guard, names: Sequence[str]) -> str:
    """Return the C condition under which a guard does not hold."""
    left, right = c_extent(guard.left, names), c_extent(guard.right, names)
    match guard.kind:
        case "eq":
            return f"{left} != {right}"
        case "ne":
            return f"{left} == {right}"
        case "ge":
            return f"{left} < {right}"
        case "divides":
            return f"{left} <= 0 || {right} % {left} != 0"
