"""LLVM IR text to object code."""

from __future__ import annotations

import ctypes
from typing import Any, Final

import llvmlite
import llvmlite.binding as llvm

from chainrule.errors import CompileError, explain
from chainrule.link.cache import Cache, key_of
from chainrule.link.libraries import LLVM
from chainrule.link.target import Target, target_machine
from chainrule_runtime.forks import require_intact

__all__ = ["assembly", "cached_code", "object_code"]

CONVENTIONS: Final = "1"
"Of the emitted code's conventions: changing it leaves old entries of the cache behind."


def _parsed(text: str, target: Target, *, jit: bool, level: int = 2) -> tuple[Any, Any]:
    """Return LLVM's module and code generator.

    Each module has a context of its own, which ends with it: the types and constants of modules
    stay in their context, captured arrays among them.  The module holds the context, and nothing
    closes either: an interrupt could leave a module behind whose context is gone.
    """
    require_intact(LLVM)
    machine = target_machine(target, jit=jit, level=level)
    try:
        module = llvm.parse_assembly(text, llvm.create_context())
    except RuntimeError as error:
        raise _refused(str(error)) from None
    module.triple = target.triple
    _, module.data_layout = _told("LLVMPY_CopyStringRepOfTargetData", machine.target_data)
    wrong, why = _told("LLVMPY_VerifyModule", module)
    if wrong:
        raise _refused(why)
    return module, machine


def _told(function: str, subject: Any) -> tuple[Any, str]:
    """Return what one of LLVM's functions returns, and the text it gives.

    llvmlite's own handle of such a text frees it twice where an interrupt comes just after the
    first time; here it is lost at worst.
    """
    library, text = llvm.ffi.lib, ctypes.c_char_p()
    result = getattr(library, function)(subject, ctypes.byref(text))
    said = (text.value or b"").decode()
    library.LLVMPY_DisposeString(text)
    return result, said


def _refused(why: str) -> CompileError:
    return CompileError(
        explain("LLVM refuses the emitted code", why.strip(),
                hint="this is a defect of chainrule; please report the program")
    )  # fmt: skip


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
