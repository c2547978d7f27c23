"""Names and extents as C writes them."""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Final

from chainrule.errors import ExportError, explain
from chainrule_runtime.abi import Extent, Leaf

__all__ = ["C_TYPES", "c_comment", "c_count", "c_extent", "c_names", "c_string", "check_name"]

C_TYPES: Final = {
    "float32": "float", "float64": "double", "int32": "int32_t", "int64": "int64_t",
    "uint8": "uint8_t", "uint32": "uint32_t", "bool": "uint8_t",
    # C has no portable type of 16-bit floats: their bits.
    "float16": "uint16_t", "bfloat16": "uint16_t",
}  # fmt: skip
# C up to C23, C++ up to C++20, and names that compilers or our own headers define as macros.
_RESERVED: Final = """
alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t
char32_t class co_await co_return co_yield compl concept const const_cast consteval constexpr
constinit continue decltype default delete do double dynamic_cast else enum explicit export extern
false float for friend goto if inline int long mutable namespace new noexcept not not_eq nullptr
operator or or_eq private protected public register reinterpret_cast requires restrict return
short signed sizeof static static_assert static_cast struct switch template this thread_local
throw true try typedef typeid typename typeof typeof_unqual union unsigned using virtual void
volatile wchar_t while xor xor_eq linux unix i386 NULL size_t ptrdiff_t int8_t int16_t int32_t
int64_t uint8_t uint16_t uint32_t uint64_t intptr_t uintptr_t
"""
_KEYWORDS: Final = frozenset(_RESERVED.split())
# Functions of the C library that compilers know without a header, or that every program includes.
_KNOWN: Final = """
abort abs acos acosh asin asinh atan atan2 atanh atof atoi calloc cbrt ceil clock copysign cos
cosh div erf erfc exit exp exp2 expm1 fabs floor fma fmax fmin fmod free frexp gamma gets hypot
index labs ldexp ldiv lgamma log log10 log1p log2 logb main malloc memcmp memcpy memmove memset
modf nan pow printf putchar puts qsort rand read realloc remainder remove rename rint round scanf
signal sin sinh sprintf sqrt srand strcat strcmp strcpy strlen system tan tanh tgamma time trunc
write y0 y1 yn j0 j1 jn
"""
_LIBRARY: Final = frozenset(_KNOWN.split())


# The Python module of an export lies where others are looked for first, so its name hides a module
# of Python's or NumPy's own, on which it depends itself; the rest are names that it defines.
_MODULES: Final = sys.stdlib_module_names | {"numpy", "ml_dtypes"}
_DEFINED: Final = frozenset({"ChainruleError", "print", "selftest"})


def check_name(name: str) -> None:
    """Raise ExportError unless `name` can be a function of C, C++ and Python, and a module."""
    if not isinstance(name, str):
        raise ExportError(explain("the name of an export is text", f"name  {name!r:.60}"))
    if name in _MODULES or name in _DEFINED:
        what = "a module of that name" if name in _MODULES else "that name"
        raise ExportError(
            explain(f"{name!r} cannot be the name of a new module of Python",
                    f"{name}.py would hide {what}, which it needs itself",
                    hint="give another one: name='step'")
        )  # fmt: skip
    if re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) and not (
        name in _KEYWORDS or name in _LIBRARY or keyword.iskeyword(name)
    ):
        return
    raise ExportError(
        explain(f"{name!r} cannot be the name of a new function in C and in Python",
                hint="give another one: name='step'")
    )  # fmt: skip


def c_names(paths: Iterable[str], prefix: str) -> list[str]:
    """Return an identifier for each path: `params/W1` is `params_W1`.

    `prefix` is put before what does not begin with a letter, and stands for the empty path.

    >>> c_names(["params/W1", "0/W1", "", "class"], "result")
    ['params_W1', 'result_0_W1', 'result', 'class_']
    """
    taken: set[str] = set()
    names = []
    for path in paths:
        name = re.sub(r"\W+", "_", path, flags=re.ASCII).strip("_")
        if not name[:1].isalpha():
            name = f"{prefix}_{name}" if name else prefix
        if name in _KEYWORDS:
            name += "_"
        free, number = name, 2
        while free in taken:
            free, number = f"{name}_{number}", number + 1
        taken.add(free)
        names.append(free)
    return names


def c_extent(extent: Extent, names: Sequence[str]) -> str:
    """Return an extent as a C expression; `names` are those of the dims.

    >>> c_extent(("add", ("mul", ("const", 4), ("dim", 0)), ("const", 1)), ["(int64_t)(n)"])
    '((4 * (int64_t)(n)) + 1)'
    """
    if isinstance(extent, int):
        return str(extent)
    match extent:
        case ("dim", i):
            return names[i]
        case ("const", number):
            return str(number) if number >= 0 else f"({number})"
    kind, a, b = extent[0], c_extent(extent[1], names), c_extent(extent[2], names)
    match kind:
        case "min":
            return f"({a} < {b} ? {a} : {b})"
        case "max":
            return f"({a} > {b} ? {a} : {b})"
        case "floordiv":
            # C rounds towards zero and Python down; divisors are positive.
            return f"(({a} / {b}) - ({a} % {b} < 0))"
        case "mod":
            return f"(({a} % {b} + {b}) % {b})"
    sign = {"add": "+", "sub": "-", "mul": "*"}[kind]
    return f"({a} {sign} {b})"


def c_count(leaf: Leaf, names: Sequence[str]) -> str:
    """Return the number of elements of an array as a C expression."""
    number, factors = 1, []
    for extent in leaf.shape:
        if isinstance(extent, int):
            number *= extent
        else:
            factors.append(c_extent(extent, names))
    return " * ".join([str(number), *factors] if number != 1 or not factors else factors)


def c_string(text: str) -> str:
    r"""Return a string literal; `?` is escaped because two of them begin a trigraph.

    >>> print(c_string('axis "0"?'))
    "axis \"0\"\?"
    """
    escapes = {'"': '\\"', "\\": "\\\\", "?": "\\?", "\n": "\\n"}
    return '"' + "".join(escapes.get(c, c if c.isprintable() else " ") for c in text) + '"'


def c_comment(text: str) -> str:
    """Return text that can stand inside a comment, on one line."""
    line = "".join(c if c.isprintable() else " " for c in text.replace("\n", "; "))
    return line.replace("*/", "* /").replace("/*", "/ *")
