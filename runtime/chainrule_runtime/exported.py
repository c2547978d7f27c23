"""Calls an exported function from Python: its shared library, NumPy, and nothing else.

A copy of this package lies beside every export, under a name of its own, so that it runs where the
compiler is not installed.
"""

from __future__ import annotations

import ctypes
import inspect
import json
import platform
from collections import namedtuple
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from .abi import Signature, evaluate
from .arguments import Array, conform_all
from .bfloat16 import numpy_dtype
from .call import call_kernel
from .errors import ChainruleError, ExportError, StructureError, explain

__all__ = ["FORMAT", "Exported", "Nesting", "processor_flags"]

FORMAT: Final = 1
"Version of the manifest; a loader refuses what is newer than itself."
CPUINFO: Final = Path("/proc/cpuinfo")

# A leaf's number, `["none"]`, `["tuple", children]`, `["list", children]`,
# `["dict", keys, children]` or `["record", class name, field names, children]`.
Nesting: TypeAlias = int | Sequence[Any]


class Exported:
    """A compiled function, loaded from its shared library.

    It takes the arguments the compiled function took, nested the same way, and returns its results.
    Donated arguments are updated in place.  Named tuples and dataclasses may be given as any object
    with these attributes, as a tuple or as a dict; they come back as named tuples.

    Attributes:
        manifest: What the library says of itself.
        signature: Its arrays and their shapes.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self.__name__ = folder, name
        path = folder / f"lib{name}.so"
        if not path.is_file():
            raise ExportError(
                explain(f"{name} has no shared library", f"expected  {path}",
                        hint=f"link it: cc -shared -nostdlib -o lib{name}.so {name}.o")
            )  # fmt: skip
        self._library, text = _open(path, f"{name}_manifest")
        self.manifest: dict[str, Any] = json.loads(text)
        if self.manifest["format"] > FORMAT:
            raise ExportError(
                explain(f"{name} was exported by a newer version than this loader's",
                        f"format of the export  {self.manifest['format']}",
                        f"format read here      {FORMAT}")
            )  # fmt: skip
        _check_processor(name, self.manifest["target"])
        self.signature = Signature.from_json(self.manifest["signature"])
        self._names: list[str] = self.manifest["arguments"]
        self._inputs: Nesting = self.manifest["inputs"]
        self._outputs: Nesting = self.manifest["outputs"]
        kernel = ctypes.cast(getattr(self._library, f"{name}_kernel"), ctypes.c_void_p).value
        assert kernel is not None, "a symbol has an address"
        self._kernel = kernel
        self.__signature__ = _signature(self._names)

    def __call__(self, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        """Run it; with `out`, arrays nested as the result, write there and return those."""
        leaves: list[Any] = []
        _flatten(self._inputs, self._positional(args, kwargs), self._names, leaves)
        flat: list[Any] | None = None
        if out is not None:
            _flatten(self._outputs, out, "out=", flat := [])
        results = self._run(leaves, flat)
        return out if out is not None else _unflatten(self._outputs, results)

    def __repr__(self) -> str:
        return f"exported {self.__name__}({', '.join(self._names)})"

    def arena_bytes(self, **dims: int) -> int:
        """Return the bytes of scratch memory of a call, given the named dims."""
        return evaluate(self.signature.arena, [dims[name] for name in self.signature.dims])

    def selftest(self) -> int:
        """Run the samples written with the export; return how many gave the expected bits.

        Raises:
            ExportError: There are none.
            ChainruleError: A result differs.
        """
        path = self._folder / f"{self.__name__}_selftest.npz"
        if not path.is_file():
            raise ExportError(
                explain(f"{self.__name__} was exported without samples",
                        hint="export it with selftest=4")
            )  # fmt: skip
        with np.load(path) as data:
            count = int(data["count"])
            for sample in range(count):
                # NumPy's files know nothing of bfloat16: what comes back are its bytes.
                leaves = [
                    data[f"{sample}.in.{i}"].view(numpy_dtype(leaf.dtype))
                    for i, leaf in enumerate(self.signature.inputs)
                ]
                results = self._run(leaves, None)
                for i, (leaf, got) in enumerate(zip(self.signature.outputs, results, strict=True)):
                    expected = data[f"{sample}.out.{i}"]
                    same = got.shape == expected.shape and got.tobytes() == expected.tobytes()
                    if not same:
                        raise ChainruleError(
                            explain(f"{self.__name__} fails its self-test", f"sample  {sample}",
                                    f"result  {leaf.path or 'the only one'}")
                        )  # fmt: skip
        return count

    def _run(self, leaves: Sequence[Any], out: Sequence[Any] | None) -> list[Array]:
        arrays = conform_all(leaves, self.signature)
        return call_kernel(
            self._kernel, self.signature, arrays, out, messages=self.manifest["messages"]
        )

    def _positional(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """Return all arguments in order."""
        rest = self._names[len(args) :]
        if len(args) > len(self._names) or set(kwargs) != set(rest):
            fixed = ", ".join(self.manifest["static"])
            raise StructureError(
                explain(
                    f"{self.__name__}() got the wrong arguments",
                    f"expected  {', '.join(self._names)}",
                    f"got       {', '.join([f'{len(args)} by position', *kwargs])}",
                    hint=f"constants of the export, not given: {fixed}" if fixed else "",
                )
            )
        return (*args, *[kwargs[name] for name in rest])


def _open(path: Path, manifest: str) -> tuple[ctypes.CDLL, bytes]:
    """Load a library; return it with its manifest."""
    spelled = str(path)
    while True:
        try:
            library = ctypes.CDLL(spelled)
        except OSError as error:
            raise ExportError(explain(f"{path.name} cannot be loaded", str(error))) from None
        text = ctypes.string_at(ctypes.addressof(ctypes.c_char.in_dll(library, manifest)))
        if text + b"\0" in path.read_bytes():
            return library, text
        # The file was replaced since this process loaded it.  The dynamic linker knows libraries
        # by the spelling of their paths, so spell it otherwise.
        folder, _, file = spelled.rpartition("/")
        spelled = f"{folder}/./{file}"


def _signature(names: Sequence[str]) -> inspect.Signature:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    plain = [inspect.Parameter(n, kind) for n in names if n.isidentifier()]
    if len(plain) < len(names):  # `args/0`: the function had a starred parameter
        plain = [inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL)]
    return inspect.Signature(
        [*plain, inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None)]
    )


def _flatten(nesting: Nesting, value: Any, path: str | Sequence[str], leaves: list[Any]) -> None:
    """Append the value's leaves; `path` names the value, or each of its children."""
    if isinstance(nesting, int):
        leaves.append(value)
        return
    kind, children = nesting[0], nesting[-1]
    names = path if not isinstance(path, str) else None
    match kind:
        case "none":
            if value is not None:
                raise _misfit(path, "None", value)
            return
        case "tuple" | "list":
            if not isinstance(value, tuple if kind == "tuple" else list) or len(value) != len(
                children
            ):
                raise _misfit(path, f"a {kind} of {len(children)}", value)
            parts, labels = list(value), [str(i) for i in range(len(children))]
        case "dict":
            keys = nesting[1]
            if not isinstance(value, Mapping) or set(value) != set(keys):
                raise _misfit(path, f"a dict with the keys {', '.join(map(repr, keys))}", value)
            parts, labels = [value[k] for k in keys], [str(k) for k in keys]
        case _:
            labels = list(nesting[2])
            parts = _fields(value, nesting[1], labels, path)
    for i, (child, part, label) in enumerate(zip(children, parts, labels, strict=True)):
        _flatten(child, part, names[i] if names else f"{path}/{label}", leaves)


def _fields(value: Any, name: str, labels: Sequence[str], path: str | Sequence[str]) -> list[Any]:
    """Return the fields of a record, however it is given."""
    if isinstance(value, tuple) and len(value) == len(labels):
        return list(value)
    if isinstance(value, Mapping) and set(value) == set(labels):
        return [value[label] for label in labels]
    if not all(hasattr(value, label) for label in labels):
        raise _misfit(path, f"{name}({', '.join(labels)})", value)
    return [getattr(value, label) for label in labels]


def _misfit(path: str | Sequence[str], expected: str, value: Any) -> StructureError:
    got = f"a {type(value).__name__}"
    if isinstance(value, dict):
        got += f" with the keys {', '.join(map(repr, value))}"
    elif isinstance(value, tuple | list):
        got += f" of {len(value)}"
    where = path if isinstance(path, str) else "the arguments"
    return StructureError(
        explain(f"{where} has another structure", f"expected  {expected}", f"got       {got}")
    )


def _unflatten(nesting: Nesting, leaves: Sequence[Any]) -> Any:
    if isinstance(nesting, int):
        return leaves[nesting]
    if nesting[0] == "none":
        return None
    children = [_unflatten(child, leaves) for child in nesting[-1]]
    match nesting[0]:
        case "tuple":
            return tuple(children)
        case "list":
            return children
        case "dict":
            return dict(zip(nesting[1], children, strict=True))
    record: Any = namedtuple(nesting[1], nesting[2], rename=True)  # type: ignore[misc]  # noqa: PYI024
    return record(*children)


def processor_flags() -> frozenset[str] | None:
    """Return the features of this machine's processor in the kernel's names; None if unknown."""
    try:
        text = CPUINFO.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return None


def _check_processor(name: str, target: Mapping[str, Any]) -> None:
    """Raise ExportError where the code's instructions do not exist."""
    machine, flags = platform.machine(), processor_flags()
    missing = [] if flags is None else [f for f in target["needs"] if f not in flags]
    if machine != target["machine"] or missing:
        raise ExportError(
            explain(
                f"{name} was compiled for another processor",
                f"compiled for  {target['machine']}",
                f"this machine  {machine}" + (f" without {', '.join(missing)}" if missing else ""),
                hint="export it on this machine",
            )
        )
