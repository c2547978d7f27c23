"""Loads LLVM IR into the process, and makes test kernels out of Python functions."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from chainrule.emit.builder import I64, PTR, Module
from chainrule.emit.entry import emit_entry
from chainrule_runtime.abi import Signature, evaluate
from chainrule_runtime.bfloat16 import numpy_dtype
from chainrule_runtime.binding import Binding, Record
from chainrule_runtime.native_callable import attach, callable_type

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()
_numbers = itertools.count()
_MACHINE = llvm.Target.from_default_triple().create_target_machine(
    cpu=llvm.get_host_cpu_name(), opt=2, reloc="pic", codemodel="small", jit=True
)
_LLJIT = llvm.create_lljit_compiler(
    llvm.Target.from_default_triple().create_target_machine(
        opt=2, reloc="pic", codemodel="small", jit=True
    ),
    use_jit_link=True,
)


def load(text: str, names: Sequence[str]) -> tuple[dict[str, int], Any]:
    """Compile IR without LLVM's mid-end, as the compiler does; return addresses and tracker."""
    module = llvm.parse_assembly(text)
    module.verify()
    builder = llvm.JITLibraryBuilder().add_object_img(_MACHINE.emit_object(module))
    for name in names:
        builder.export_symbol(name)
    tracker = builder.link(_LLJIT, f"test{next(_numbers)}")
    return {name: tracker[name] for name in names}, tracker


class Recorder:
    """What a callable of the tests is before it gets a type with a native call."""

    def __init__(self) -> None:
        self.slow: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self.calls = 0
        self.arena = 0
        self.dims: tuple[int, ...] = ()
        self.binding: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call_slowly(*args, **kwargs)

    def _call_slowly(self, *args: Any, **kwargs: Any) -> Any:
        self.slow.append((args, kwargs))
        return "slow"


Native = callable_type(Recorder)
_KERNEL = ctypes.CFUNCTYPE(
    ctypes.c_int64, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_void_p),
    ctypes.c_void_p, ctypes.POINTER(ctypes.c_int64),
)  # fmt: skip
_TYPES: dict[str, Any] = {
    "float32": ctypes.c_float, "float64": ctypes.c_double, "int32": ctypes.c_int32,
    "int64": ctypes.c_int64, "uint8": ctypes.c_uint8, "uint32": ctypes.c_uint32,
    "bool": ctypes.c_bool, "float16": ctypes.c_uint16, "bfloat16": ctypes.c_uint16,
}  # fmt: skip


def as_array(address: int | None, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """View memory as an array."""
    count = int(np.prod(shape))
    if not count:
        return np.zeros(shape, dtype)
    flat = (_TYPES[dtype] * count).from_address(address)
    return np.frombuffer(flat, numpy_dtype(dtype)).reshape(shape)


def python_kernel(signature: Signature, function: Callable[..., Any], record: Any) -> Any:
    """Make a kernel of `function(inputs, outputs)`, which returns None or an error code."""

    def kernel(inputs: Any, outputs: Any, arena: int | None, dims: Any) -> int:
        record.calls += 1
        record.arena = arena or 0
        record.dims = tuple(dims[i] for i in range(len(signature.dims)))

        def views(addresses: Any, leaves: Any) -> list[np.ndarray]:
            shapes = [tuple(evaluate(e, record.dims) for e in leaf.shape) for leaf in leaves]
            return [
                as_array(addresses[i], leaf.dtype, shape)
                for i, (leaf, shape) in enumerate(zip(leaves, shapes, strict=True))
            ]

        if record.arena:
            ctypes.memset(record.arena, 0xAB, evaluate(signature.arena, record.dims))
        return function(views(inputs, signature.inputs), views(outputs, signature.outputs)) or 0

    return _KERNEL(kernel)


def text_with_kernel_at(signature: Signature, kernel: int, release_gil: bool = False) -> str:
    """Return IR of an entry around a kernel at an address of this process."""
    module = Module()
    b, arguments = module.function(
        "kernel", I64, [(PTR, "inputs"), (PTR, "outputs"), (PTR, "arena"), (PTR, "dims")]
    )
    b.ret(b.call_pointer(b.pointer(kernel), I64, arguments))
    b.close()
    emit_entry(module, signature, "kernel", "entry", release_gil)
    return module.text()


def bound(
    signature: Signature, text: str, code: object = None, messages: Sequence[str] = (),
    records: Sequence[Record] = (),
) -> Binding:  # fmt: skip
    """Load and bind an entry."""
    addresses, tracker = load(text, ["entry", "entry_bind"])
    return Binding(
        signature, addresses["entry"], addresses["entry_bind"],
        messages=messages, code=(tracker, code), records=records,
    )  # fmt: skip


def native(
    signature: Signature,
    function: Callable[..., Any],
    *,
    release_gil: bool = False,
    messages: Sequence[str] = (),
    cls: Any = Native,
    records: Sequence[Record] = (),
) -> Any:
    """Return a native callable whose kernel is a Python function."""
    record = Recorder()
    kernel = python_kernel(signature, function, record)
    address = ctypes.cast(kernel, ctypes.c_void_p).value
    assert address is not None
    text = text_with_kernel_at(signature, address, release_gil)
    binding = bound(signature, text, code=kernel, messages=messages, records=records)
    made = cls()
    made.record = record
    made.binding = binding
    assert attach(made, binding.entry, binding)
    return made
