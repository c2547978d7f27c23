"""Writes the Python side of an export: a module of its own and a copy of the runtime it needs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources
from typing import Any, Final

from chainrule.frontend.pytree import TreeDef
from chainrule_runtime.abi import Leaf, Signature, show_extent

__all__ = ["nesting", "runtime_files", "write_loader"]

_LOADER: Final = '''\
"""{about}

Made by chainrule {version} for {target}. Needs Python and NumPy only.

Arguments:
{arguments}

Results:
{results}
"""

from pathlib import Path as _Path

if __package__:
    from .{name}_runtime.errors import ChainruleError
    from .{name}_runtime.exported import Exported as _Exported
else:
    from {name}_runtime.errors import ChainruleError
    from {name}_runtime.exported import Exported as _Exported

__all__ = ["ChainruleError", "{name}", "selftest"]

{name} = _Exported(_Path(__file__).resolve().parent, "{name}")
selftest = {name}.selftest

if __name__ == "__main__":
    print(selftest(), "samples give the expected bits")
'''


def write_loader(name: str, signature: Signature, *, target: str, version: str) -> str:
    """Return the text of the module `<name>.py`."""
    donated = dict(signature.donated)

    def line(leaf: Leaf, note: str = "") -> str:
        shape = ", ".join(show_extent(e, signature.dims) for e in leaf.shape)
        return f"    {leaf.path or 'the result'}: {leaf.dtype}[{shape}]{note}"

    arguments = [
        line(leaf, ", updated in place" if i in donated else "")
        for i, leaf in enumerate(signature.inputs)
    ]
    about = f"{name}: a compiled function of arrays."
    return _LOADER.format(
        name=name, about=about, version=version, target=target,
        arguments=_plain(arguments), results=_plain([line(leaf) for leaf in signature.outputs]),
    )  # fmt: skip


def _plain(lines: Sequence[str]) -> str:
    """Join lines so that they may stand in a docstring whatever the user's names are."""
    text = "\n".join(lines) or "    none"
    return re.sub(r"[^\n\x20-\x7e]", "_", text).replace("\\", "/").replace('"', "'")


def runtime_files() -> dict[str, bytes]:
    """Return the runtime's modules that a loader imports, by file name."""
    folder = resources.files("chainrule_runtime")
    files: dict[str, bytes] = {}
    pending = ["__init__", "exported"]
    while pending:
        module = pending.pop()
        text = (folder / f"{module}.py").read_text(encoding="utf-8")
        files[f"{module}.py"] = text.encode()
        needed = re.findall(r"^from \.(\w+) import", text, re.MULTILINE)
        pending += [m for m in needed if f"{m}.py" not in files and m not in pending]
    return dict(sorted(files.items()))


def nesting(tree: TreeDef) -> Any:
    """Return how leaves nest, as JSON: see `chainrule_runtime.exported`.

    What only its own class can put together, and is no named tuple or dataclass, becomes a tuple.
    """
    return _nesting(tree, iter(range(tree.leaves)).__next__)


def _nesting(tree: TreeDef, take: Any) -> Any:
    if tree.cls is None:
        return take()
    if tree.cls is type(None):
        return ["none"]
    children = [_nesting(child, take) for child in tree.children]
    if tree.cls in (tuple, list):
        return [tree.cls.__name__, children]
    if issubclass(tree.cls, dict):
        return ["dict", list(_keys(tree)), children]
    if all(n.isidentifier() for n in tree.names):
        return ["record", tree.cls.__name__, list(tree.names), children]
    return ["tuple", children]


def _keys(tree: TreeDef) -> Sequence[Any]:
    # JSON keeps numbers and strings apart in lists; other keys are given by their names.
    keys = tree.data if isinstance(tree.data, tuple) else tree.names
    return keys if all(type(k) in (str, int, float, bool) for k in keys) else tree.names
