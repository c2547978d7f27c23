"""From a function to files that run without the compiler, stage by stage."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MethodType
from typing import Any, Final

import chainrule
from chainrule.emit.builder import Module
from chainrule.errors import ExportError, UnsupportedError, explain
from chainrule.frontend.keywords import Keywords
from chainrule.frontend.pytree import tree_leaves
from chainrule.frontend.signature import donation_pairs, runtime_signature
from chainrule.frontend.trace import Traced, trace
from chainrule.ir.dims import Extent, evaluate_extent, show_extent
from chainrule.ir.program import Program
from chainrule.ir.show import show
from chainrule.link.jit import object_code
from chainrule.link.libraries import load
from chainrule.link.target import host, llvm_version
from chainrule.numerics import MODES
from chainrule.optimize import all_nodes
from chainrule.options import Options
from chainrule.package.elf import ObjectFile, read_object
from chainrule.package.header import write_header
from chainrule.package.library import link_library
from chainrule.package.loader import nesting, runtime_files, write_loader
from chainrule.package.names import check_name
from chainrule.package.processor import needed_features
from chainrule.package.report import ExportReport
from chainrule.package.samples import known_extents, write_samples
from chainrule.pipeline import Lowered, lower_program, symbol
from chainrule.plan.amounts import Budget, as_bytes
from chainrule_runtime.abi import Signature
from chainrule_runtime.exported import FORMAT

__all__ = ["write_package"]

LATER: Final = ("linux-aarch64", "wasm32", "cortex-m4f")


@dataclass(frozen=True, slots=True)
class _Asked:
    """A function traced for export, with the options it was jitted with."""

    traced: Traced
    arguments: list[Any]
    options: Options


def write_package(
    fn: Callable[..., Any], args: Sequence[Any], path: Path, name: str | None,
    targets: Sequence[str] | str, numerics: str | None, optimize: str, memory_budget: Budget | None,
    selftest: int, debug: bool,
) -> ExportReport:  # fmt: skip
    """Do what `chainrule.package.export` says."""
    _check_options(targets, numerics, optimize, selftest)
    asked = _traced(fn, args, numerics)
    name = symbol(asked.traced.program.name) if name is None else name
    check_name(name)
    # The typed function of the header has the name itself.
    program = replace(asked.traced.program, name=f"{name}_kernel")
    options = asked.options
    if memory_budget is not None:
        options = replace(options, memory_budget=as_bytes(memory_budget))
    lowered = _lowered(program, asked, options)
    _check_closed(name, lowered)
    signature = replace(runtime_signature(asked.traced, lowered.arena, lowered.guards), name=name)
    _check_budget(signature, lowered.arena, asked.arguments, options.memory_budget)

    needs = needed_features(lowered.target)
    manifest = _manifest(name, asked, signature, lowered, needs)
    _embed(lowered.module, f"{name}_manifest", json.dumps(manifest))
    code = object_code(lowered.module.text(), lowered.target, jit=False)
    sizes = read_object(code)
    _check_freestanding(name, sizes)

    files = {f"{name}.o": code, f"{name}.h": _header(name, manifest, signature).encode()}
    files[f"{name}.py"] = write_loader(
        name, signature, target=_machine(manifest), version=chainrule.__version__
    ).encode()
    files |= {f"{name}_runtime/{file}": text for file, text in runtime_files().items()}
    if selftest:
        loaded = load(code, (lowered.entry,))
        files[f"{name}_selftest.npz"] = write_samples(
            signature, loaded.addresses[lowered.entry], selftest, asked.arguments,
            manifest["messages"],
        )  # fmt: skip
    if debug:
        files[f"{name}.expr"] = show(lowered.optimized, origins=True).encode()
        files[f"{name}.ll"] = lowered.module.text().encode()
    written = _write(path, name, files, {**manifest, "sizes": _sizes(sizes)})
    return ExportReport(
        name, path, _machine(manifest), needs,
        {file: (path / file).stat().st_size for file in sorted(written.files)},
        lowered.arena, signature.dims, sizes.text, sizes.constants, sizes.data, lowered.kernels,
        written.missing,
    )  # fmt: skip


def _check_options(
    targets: Sequence[str] | str, numerics: str | None, optimize: str, selftest: int
) -> None:
    asked = [targets] if isinstance(targets, str) else list(targets)
    unknown = [t for t in asked if t != "host"]
    if unknown or not asked:
        later = [t for t in unknown if t in LATER]
        raise ExportError(
            explain(
                f"no code for {later[0]} yet" if later
                else f"there is no target {unknown[0]!r}" if unknown else "targets is empty",
                "targets  host", f"later    {', '.join(LATER)}",
            )
        )  # fmt: skip
    if numerics is not None and numerics not in MODES:
        raise ExportError(
            explain(f"there is no numerics mode {numerics!r}", f"modes  {', '.join(MODES)}")
        )
    if optimize != "speed":
        raise ExportError(explain(f"optimize={optimize!r} does not exist yet", "known  speed"))
    if selftest < 0:
        raise ExportError(explain("selftest is a number of samples", f"got  {selftest}"))


def _traced(fn: Callable[..., Any], args: Sequence[Any], numerics: str | None) -> _Asked:
    if not isinstance(args, tuple | list):
        raise ExportError(
            explain("args is the tuple of positional arguments", f"got  {type(args).__name__}",
                    hint="args=(x,) for a single argument")
        )  # fmt: skip
    if isinstance(fn, MethodType) and _is_jitted(fn):
        # The object is an argument like any other.
        method: Any = fn
        fn, args = method.__func__, (method.__self__, *args)
    keywords, static, values = Keywords(), list[str](), tuple(args)
    if _is_jitted(fn):
        jitted: Any = fn
        fn, keywords, bound = jitted.__wrapped__, jitted.keywords, jitted.bind(args)
        static = list(
            dict.fromkeys([*keywords.static, *(n.split("/")[0] for n, _ in bound.static)])
        )
        values = bound.values
    mode = keywords.numerics if numerics is None else MODES[numerics]
    traced = trace(fn, *args, dims=keywords.dims, static_argnames=static, numerics=mode)
    pairs = donation_pairs(traced, keywords.donated)
    traced = replace(traced, program=replace(traced.program, donated=pairs))
    options = Options(mode, memory_budget=keywords.memory_budget, donated=keywords.donated)
    return _Asked(traced, tree_leaves(values), options)


def _is_jitted(fn: Any) -> bool:
    """Tell a compiled function, or a method that is one; the layer above defines them."""
    return isinstance(getattr(fn, "keywords", None), Keywords) and hasattr(fn, "bind")


def _lowered(program: Program, asked: _Asked, options: Options) -> Lowered:
    """Compile, and compute values twice where that is what the budget takes, as `jit` does.

    What does not fit even so is returned as it is without a budget.
    """
    dims = _numbers(runtime_signature(asked.traced, 0, ()), asked.arguments)
    try:
        return lower_program(program, options.called_with(dims))
    except UnsupportedError:
        if options.memory_budget is None:
            raise
        return lower_program(program, replace(options, memory_budget=None))


def _numbers(signature: Signature, arguments: Sequence[Any]) -> dict[str, int]:
    """Return the named extents of the arguments, 1 where these do not tell."""
    known = known_extents(signature, arguments)
    return {d: known.get(i, 1) for i, d in enumerate(signature.dims)}


def _check_budget(
    signature: Signature, arena: Extent, arguments: Sequence[Any], budget: int | None
) -> None:
    dims = _numbers(signature, arguments)
    needed = evaluate_extent(arena, dims)
    if budget is None or needed <= budget:
        return
    at = ", ".join(f"{d} = {n}" for d, n in dims.items())
    raise ExportError(
        explain(f"{signature.name} needs more memory than memory_budget",
                f"arena   {show_extent(arena)} bytes" + (f", {needed} at {at}" if dims else ""),
                f"budget  {budget} bytes")
    )  # fmt: skip


def _manifest(
    name: str, asked: _Asked, signature: Signature, lowered: Lowered, needs: Sequence[str]
) -> dict[str, Any]:
    """Return what a loader and a reader must know, without what is known only of the files."""
    target = host()
    return {
        "format": FORMAT,
        "name": name,
        "chainrule": chainrule.__version__,
        "llvm": llvm_version(),
        "numerics": asked.options.numerics.name,
        "target": {
            "name": target.name, "triple": target.triple, "machine": target.triple.split("-")[0],
            "cpu": target.cpu, "needs": list(needs),
        },
        "signature": signature.to_json(),
        "arguments": list(asked.traced.names),
        "static": [n for n, _ in asked.traced.static],
        "inputs": nesting(asked.traced.in_tree),
        "outputs": nesting(asked.traced.out_tree),
        "messages": [c.message for c in asked.traced.program.checks],
        # Tells exports of one signature apart.
        "llvm_ir": _digest(lowered.module.text().encode()),
        "arena": show_extent(lowered.arena),
    }  # fmt: skip


def _embed(module: Module, name: str, text: str) -> None:
    """Make a text part of the object: a C string in a section of its own."""
    data = text.encode() + b"\0"
    body = "".join(f"\\{byte:02X}" for byte in data)
    module.add_global(name, f'constant [{len(data)} x i8] c"{body}", section ".chainrule", align 1')


def _check_closed(name: str, lowered: Lowered) -> None:
    """Raise for what no package can hold: functions of this process, memory of unknown size."""
    for node in all_nodes(lowered.optimized.results):
        if node.op.name == "callback":
            raise ExportError(
                explain(f"{name} calls a function of this process",
                        f"callback  {node.attributes['function']}",
                        hint="leave callbacks out of what is exported")
            )  # fmt: skip
    if "@realloc(" in lowered.module.text():
        raise ExportError(
            explain(f"{name} holds the gradient of a loop that records an unknown number of steps",
                    hint="give while_loop a bound with max_steps: the record is then in the arena")
        )  # fmt: skip


def _check_freestanding(name: str, sizes: ObjectFile) -> None:
    if sizes.undefined:
        raise ExportError(
            explain(f"the code of {name} needs functions that are not in it",
                    *(f"undefined  {s}" for s in sizes.undefined),
                    hint="this is a defect of chainrule; please report the function")
        )  # fmt: skip


def _machine(manifest: Mapping[str, Any]) -> str:
    return str(manifest["target"]["triple"])


def _header(name: str, manifest: Mapping[str, Any], signature: Signature) -> str:
    return write_header(
        name, signature, messages=manifest["messages"], target=_machine(manifest),
        needs=manifest["target"]["needs"], version=chainrule.__version__,
    )  # fmt: skip


def _sizes(sizes: ObjectFile) -> dict[str, int]:
    return {"text": sizes.text, "constants": sizes.constants, "data": sizes.data}


@dataclass(frozen=True, slots=True)
class _Written:
    files: tuple[str, ...]
    missing: tuple[str, ...]


def _write(path: Path, name: str, files: dict[str, bytes], manifest: dict[str, Any]) -> _Written:
    """Write everything beside the place first, so that files in use are replaced, not changed."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path, prefix=".") as folder:
            stage = Path(folder)
            for file, data in files.items():
                (stage / file).parent.mkdir(exist_ok=True)
                (stage / file).write_bytes(data)
            library = f"lib{name}.so"
            missing = link_library(stage / f"{name}.o", stage / library)
            made = [*files, *([] if missing else [library])]
            digests = {file: _digest((stage / file).read_bytes()) for file in made}
            text = json.dumps({**manifest, "files": digests}, indent=1)
            (stage / "manifest.json").write_text(text + "\n", encoding="utf-8")
            made.append("manifest.json")
            for file in made:
                (path / file).parent.mkdir(exist_ok=True)
                (stage / file).replace(path / file)
    except OSError as error:
        raise ExportError(explain("the files cannot be written", str(error))) from None
    return _Written(tuple(made), (missing,) if missing else ())


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
