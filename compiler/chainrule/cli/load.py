"""Find a function in a file, and arguments to trace it with."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

import typer

import chainrule as cr
from chainrule.ir.written import parse_shape

__all__ = ["Loaded", "load", "parse_spec"]

DTYPES: Final = {
    "f32": "float32",
    "f64": "float64",
    "f16": "float16",
    "bf16": "bfloat16",
    "i32": "int32",
    "i64": "int64",
    "u8": "uint8",
    "u32": "uint32",
}
FULL_NAMES: Final = frozenset({*DTYPES.values(), "bool"})


class Loaded(NamedTuple):
    """A function and what to call it with: arrays, specs, or pytrees of them."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


def load(target: str, specs: Sequence[str]) -> Loaded:
    """Import the file of `FILE.py:function` and find the function's arguments.

    Args:
        target: Path and name.  The file is run, as Python runs what is imported.
        specs: One description for each positional argument; where there are none, the file's
            variable `<function>_args` has them, a tuple or a function that returns it.

    Returns:
        The function and the arguments.

    Raises:
        typer.BadParameter: No such file, no such function, or no arguments for it.
    """
    path, colon, name = target.rpartition(":")
    if not colon or not name.isidentifier():
        raise typer.BadParameter(f"{target!r} is not of the form FILE.py:FUNCTION")
    module = _import(Path(path))
    function = getattr(module, name, None)
    if not callable(function):
        known = [key for key, value in vars(module).items() if _defined_in(module, value)]
        raise typer.BadParameter(
            f"{path} has no function {name!r}; it defines {', '.join(known) or 'none'}"
        )
    if specs:
        return Loaded(function, tuple(parse_spec(spec) for spec in specs))
    arguments = getattr(module, f"{name}_args", None)
    if arguments is None:
        raise typer.BadParameter(
            f"{name} has no arguments to be traced with: give an --arg for each of its parameters, "
            f"or a variable {name}_args in {path}"
        )
    return Loaded(function, tuple(arguments() if callable(arguments) else arguments))


def parse_spec(text: str) -> Any:
    """Read an argument's description: a dtype and extents, numbers, names or expressions.

    >>> parse_spec("f32[batch, 8]") == cr.spec(("batch", 8), "float32")
    True
    """
    match = re.fullmatch(r"\s*(\w+)\s*\[([^\]]*)\]\s*", text)
    dtype = DTYPES.get(match[1], match[1]) if match else ""
    if match is None or dtype not in FULL_NAMES:
        raise typer.BadParameter(
            f"{text!r} does not describe an array; write, say, 'f32[batch, 8]'. "
            f"Types: {', '.join([*DTYPES, 'bool'])}"
        )
    try:
        return cr.spec(parse_shape(match[2]), dtype)
    except cr.ShapeError as error:
        raise typer.BadParameter(f"{text!r}: {error}") from None


def _import(path: Path) -> ModuleType:
    if not path.is_file():
        raise typer.BadParameter(f"there is no file {path}")
    # A name of its own: a user's random.py must not take the place of Python's.
    name = f"_chainrule_{path.stem}"
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise typer.BadParameter(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(specification)
    # A dataclass looks its module up by name, and a script imports what lies beside it.
    sys.modules[name] = module
    sys.path.append(str(path.parent.resolve()))
    specification.loader.exec_module(module)
    return module


def _defined_in(module: ModuleType, value: object) -> bool:
    return callable(value) and getattr(value, "__module__", None) == module.__name__
