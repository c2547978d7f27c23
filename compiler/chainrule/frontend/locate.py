"""Where in the user's program a traced operation stands."""

from __future__ import annotations

import linecache
import sys
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from chainrule.ir.graph import Graph, Origin

__all__ = ["locate", "user_line"]

_INSIDE: Final = (
    str(Path(__file__).parent.parent) + "/",
    str(Path(np.__file__).parent) + "/",
    str(Path(linecache.__file__).parent / "functools.py"),
    str(Path(linecache.__file__).parent / "contextlib.py"),
)


@lru_cache(maxsize=4096)
def _is_inside(filename: str) -> bool:
    return filename.startswith(_INSIDE) and not filename.startswith("<")


@lru_cache(maxsize=65536)
def _origin(filename: str, line: int) -> Origin:
    return Origin(line=f"{Path(filename).name}:{line}")


def _user_frame() -> tuple[str, int]:
    frame = sys._getframe(2)  # noqa: SLF001  (inspect.stack reads every source file)
    while _is_inside(frame.f_code.co_filename) and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def locate(graph: Graph) -> None:
    """Attribute the nodes made from here on to the innermost line outside this package."""
    graph.set_origin(_origin(*_user_frame()))


def user_line() -> str:
    """Return that line for a message: `model.py:41  return w @ x`."""
    filename, number = _user_frame()
    source = linecache.getline(filename, number).strip()
    return f"{Path(filename).name}:{number}" + (f"  {source}" if source else "")
