"""Running code in this process: IR text to object code, object code to addresses."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import llvmlite
import llvmlite.binding as llvm

from chainrule.errors import CompileError, explain
from chainrule.link.cache import Cache, key_of
from chainrule.link.target import Target, host, target_machine

__all__ = ["Loaded", "assembly", "cached_code", "load", "object_code"]

CONVENTIONS: Final = "1"
"Of the emitted code's conventions: changing it leaves old entries of the cache behind."

_SERIAL: Final = itertools.count()
_LOCK: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class Loaded:
    """Code in memory; it stays there as long as this record lives.

    Attributes:
        addresses: Where each exported function starts.
        tracker: LLVM's handle; its end unloads the code.
    """

    addresses: dict[str, int]
    tracker: Any


def _parsed(text: str, target: Target, *, jit: bool, level: int = 2) -> tuple[Any, Any]:
    machine = target_machine(target, jit=jit, level=level)
    try:
        module = llvm.parse_assembly(text)
        module.triple = target.triple
        module.data_layout = str(machine.target_data)
        module.verify()
    except RuntimeError as error:
        raise CompileError(
            explain("LLVM refuses the emitted code", str(error).strip(),
                    hint="this is a defect of chainrule; please report the program")
        ) from None  # fmt: skip
    return module, machine


def object_code(text: str, target: Target, *, jit: bool = True, level: int = 2) -> bytes:
    """Compile LLVM IR to an object file. Kernels are vectorised already: no mid-end passes run.

    `level` is the code generator's: 2 for kernels, 0 for code that runs once a call.

    Raises:
        CompileError: LLVM refuses the text.
    """
    module, machine = _parsed(text, target, jit=jit, level=level)
    return bytes(machine.emit_object(module))


def assembly(text: str, target: Target) -> str:
    """Return the assembly of LLVM IR."""
    module, machine = _parsed(text, target, jit=False)
    return str(machine.emit_assembly(module))


def cached_code(text: str, target: Target, cache: Cache | None, *, level: int = 2) -> bytes:
    """Return the object code of LLVM IR from the cache, compiling and storing it if need be."""
    if cache is None:
        return object_code(text, target, level=level)
    key = key_of([
        text, target.triple, target.cpu, target.features, str(level), llvmlite.__version__,
        str(llvm.llvm_version_info), CONVENTIONS,
    ])  # fmt: skip
    code = cache.get(key)
    if code is None:
        code = object_code(text, target, level=level)
        cache.put(key, code)
    return code


@cache
def _linker() -> Any:
    # JITLink keeps the sections of an object together; the older linker may place them too far
    # apart for the small code model, and then aborts the process.
    return llvm.create_lljit_compiler(target_machine(host(), jit=True), use_jit_link=True)


def load(code: bytes, names: tuple[str, ...]) -> Loaded:
    """Load object code into this process and find the functions `names`.

    Raises:
        CompileError: The code does not define them.
    """
    with _LOCK:
        # A library's name can never be used twice in one process.
        builder = llvm.JITLibraryBuilder().add_object_img(code)
        for name in names:
            builder = builder.export_symbol(name)
        try:
            tracker = builder.link(_linker(), f"chainrule.{next(_SERIAL)}")
        except RuntimeError as error:
            raise CompileError(explain("the compiled code cannot be loaded", str(error))) from None
    return Loaded({name: int(tracker[name]) for name in names}, tracker)
