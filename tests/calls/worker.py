"""Calls compiled functions with odd arguments; prints what is neither right nor a clear error.

Run as `python -m tests.calls.worker SEED COUNT`.  A crash of this process is a finding of its own.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import chainrule as cr
import chainrule.numpy as cnp
from chainrule.errors import ChainruleError

Random = np.random.Generator


class Subclass(np.ndarray[Any, Any]):
    """A subclass that changes nothing."""


class Subject(NamedTuple):
    """A function, the same in NumPy, its arguments' names and how to draw them."""

    call: Callable[..., Any]
    plain: Callable[..., Any]
    names: tuple[str, ...]
    draw: Callable[[Random, int], list[Any]]
    results: int


def _affine(np_: Any, x: Any, w: Any, b: Any) -> Any:
    return np_.tanh(x @ w) + b


def _two(np_: Any, x: Any, y: Any) -> Any:
    return x * y + 1.0, np_.sum(x - y)


def _table(np_: Any, table: Any, index: Any) -> Any:
    return np_.take(table, index, axis=0) * 2.0


def subjects() -> list[Subject]:
    named: dict[str, tuple[str | int, ...]] = {"x": ("n", 3), "w": (3, 2), "b": (2,)}
    return [
        Subject(
            cr.jit(lambda x, w, b: _affine(cnp, x, w, b), dims=named),
            lambda x, w, b: _affine(np, x, w, b), ("x", "w", "b"),
            lambda r, n: [r.normal(size=(n, 3)), r.normal(size=(3, 2)), r.normal(size=2)], 1,
        ),
        Subject(
            cr.jit(lambda x, y: _two(cnp, x, y)), lambda x, y: _two(np, x, y), ("x", "y"),
            lambda r, n: [r.normal(size=n), r.normal(size=n)], 2,
        ),
        Subject(
            cr.jit(lambda table, index: _table(cnp, table, index), dims={"index": ("k",)}),
            lambda table, index: _table(np, table, index), ("table", "index"),
            lambda r, n: [r.normal(size=(4, 3)), r.integers(-4, 4, n)], 1,
        ),
    ]  # fmt: skip


def _misaligned(a: Any) -> Any:
    if a.dtype == object:
        return a
    block = np.empty(a.nbytes + 1, np.uint8)
    view = block[1:].view(a.dtype).reshape(a.shape) if a.size else a
    view[...] = a
    return view


def _read_only(a: Any) -> Any:
    a = a.copy()
    a.flags.writeable = False
    return a


def _strided(a: Any) -> Any:
    wide = np.empty((*a.shape[:-1], 2 * a.shape[-1] + 1), a.dtype) if a.ndim else a
    view = wide[..., 1::2] if a.ndim else a
    view[...] = a
    return view


def _raises(_: Any) -> Any:
    raise RuntimeError("no array for you")


class Hostile:
    """An object that fails when asked for its data."""

    __array__ = _raises


def _cyclic(_: Any) -> Any:
    found: list[Any] = []
    found.append(found)
    return found


# The same values in another guise: these must work.
SAME: dict[str, Callable[[Any], Any]] = {
    "as it is": lambda a: a,
    "strided": _strided,
    "backwards": lambda a: np.ascontiguousarray(a[::-1])[::-1] if a.ndim else a,
    "columns first": np.asfortranarray,
    "misaligned": _misaligned,
    "read-only": _read_only,
    "foreign bytes": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "subclass": lambda a: a.view(Subclass),
    "masked nowhere": np.ma.asarray,
    "copies": lambda a: np.broadcast_to(a[:1], a.shape) if a.ndim and len(a) else a,
    "special": lambda a: np.where(np.arange(a.size).reshape(a.shape) % 2, np.nan, np.inf)
    if a.dtype.kind == "f" else a,
    "narrower": lambda a: a.astype(np.float32 if a.dtype.kind == "f" else np.int32),
}  # fmt: skip
# Other things: right, or an error.
OTHER: dict[str, Callable[[Any], Any]] = {
    "none": lambda a: None,
    "string": lambda a: "text",
    "bytes": lambda a: b"1234",
    "dict": lambda a: {"a": a},
    "tuple": lambda a: (a, a),
    "list": lambda a: a.tolist(),
    "cyclic list": _cyclic,
    "generator": lambda a: (v for v in a.ravel()),
    "object": lambda a: object(),
    "type": lambda a: float,
    "function": lambda a: len,
    "hostile": lambda a: Hostile(),
    "huge number": lambda a: 10**400,
    "number": lambda a: 3,
    "float": lambda a: float("nan"),
    "truth value": lambda a: True,
    "complex number": lambda a: 1j,
    "complex array": lambda a: a * 1j,
    "half": lambda a: a.astype(np.float16),
    "long double": lambda a: a.astype(np.longdouble),
    "objects": lambda a: a.astype(object),
    "strings": lambda a: a.astype("U8"),
    "dates": lambda a: np.zeros(a.shape, "M8[s]"),
    "records": lambda a: np.zeros(a.shape, [("f", float)]),
    "masked": lambda a: np.ma.masked_array(a, mask=np.ones(a.shape, bool)),
    "truth values": lambda a: a > 0,
    "rank 0": lambda a: np.array(2, a.dtype),
    "numpy scalar": lambda a: a.dtype.type(2),
    "rank plus 1": lambda a: a[None],
    "longer": lambda a: np.concatenate([a, a, a[:1]]) if a.ndim and len(a) else a,
    "empty": lambda a: a[:0],
    "nothing": lambda a: np.empty((0,) * a.ndim, a.dtype),
    "many axes": lambda a: a.reshape(a.shape + (1,) * (30 - a.ndim)),
    "memory view": lambda a: np.ascontiguousarray(a).data,
    "out of range": lambda a: a + 1000 if a.dtype.kind == "i" else a,
    "far out of range": lambda a: a - 2**62 if a.dtype.kind == "i" else a,
}  # fmt: skip
OUT: dict[str, Callable[[Any, Any], Any]] = {
    "right": lambda y, x: np.full_like(y, 7),
    "strided": lambda y, x: _strided(np.full_like(y, 7)),
    "misaligned": lambda y, x: _misaligned(np.full_like(y, 7)),
    "foreign bytes": lambda y, x: np.full_like(y, 7).astype(y.dtype.newbyteorder(">")),
    "subclass": lambda y, x: np.full_like(y, 7).view(Subclass),
    "read-only": lambda y, x: _read_only(np.full_like(y, 7)),
    "masked": lambda y, x: np.ma.asarray(np.full_like(y, 7)),
    "other dtype": lambda y, x: np.zeros(y.shape, np.int16),
    "longer": lambda y, x: np.zeros((len(y) + 1, *y.shape[1:])) if y.ndim else np.zeros(2),
    "rank 0": lambda y, x: np.zeros(()),
    "an argument": lambda y, x: x,
    "part of an argument": lambda y, x: x.ravel()[1:],
    "copies": lambda y, x: np.lib.stride_tricks.as_strided(np.zeros(1), y.shape, (0,) * y.ndim),
    "list": lambda y, x: y.tolist(),
    "number": lambda y, x: 3,
    "string": lambda y, x: "out",
}  # fmt: skip

OUT_THAT_WORK = ("right", "strided", "misaligned", "foreign bytes", "subclass")


def _close(got: Any, expected: Any) -> bool:
    got, expected = np.asarray(got), np.asarray(expected)
    return got.shape == expected.shape and np.allclose(got, expected, 1e-4, 1e-4, equal_nan=True)


def _flat(value: Any) -> list[Any]:
    return list(value) if isinstance(value, tuple) else [value]


def _bytes(values: list[Any]) -> list[bytes]:
    return [v.tobytes() for v in values if isinstance(v, np.ndarray) and v.dtype != object]


class Fuzzer:
    """One seeded run over all subjects."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.subjects = subjects()
        self.failures: list[str] = []

    def pick(self, table: dict[str, Any]) -> str:
        return list(table)[int(self.random.integers(len(table)))]

    def one(self) -> None:
        subject = self.subjects[int(self.random.integers(len(self.subjects)))]
        given = subject.draw(self.random, int(self.random.choice([1, 2, 3, 5, 8, 9, 17, 64])))
        at = int(self.random.integers(len(given)))
        table = SAME if self.random.uniform() < 0.5 else OTHER
        kind = self.pick(table)
        given[at] = table[kind](given[at])
        what = f"{subject.names} with {subject.names[at]} {kind}"
        arguments: dict[str, Any] = {}
        values = list(given)
        choice = self.random.uniform()
        if choice < 0.05:
            values, what = values[:-1], what + ", one short"
        elif choice < 0.1:
            values, what = [*values, 1.0], what + ", one more"
        elif choice < 0.15:
            arguments, what = {"extra": 1.0}, what + ", a strange keyword"
        elif choice < 0.2:
            arguments = dict(zip(subject.names, values, strict=True))
            values, what = [], what + ", by keywords"
        legal = table is SAME and (choice >= 0.2 or choice >= 0.15)
        self.attempt(subject, what, values, arguments, given, legal=legal)

    def attempt(
        self, subject: Subject, what: str, values: list[Any], arguments: dict[str, Any],
        given: list[Any], *, legal: bool,
    ) -> None:  # fmt: skip
        before = _bytes(given)
        try:
            with np.errstate(all="ignore"):
                expected = _flat(subject.plain(*[np.asarray(v) for v in given]))
        except Exception:  # noqa: BLE001  (whatever NumPy says, it refuses)
            expected = None
        out = None
        if expected is not None and self.random.uniform() < 0.4:
            kinds = [self.pick(OUT) for _ in expected]
            like = next((v for v in given if isinstance(v, np.ndarray) and v.size), np.zeros(3))
            out = [OUT[k](np.asarray(y), like) for k, y in zip(kinds, expected, strict=True)]
            what += f", out {kinds}"
            legal = legal and all(k in OUT_THAT_WORK for k in kinds)
            legal = legal and all(np.asarray(y).dtype == np.float64 for y in expected)
            arguments = {**arguments, "out": tuple(out) if len(out) > 1 else out[0]}
        written = _bytes(out or [])
        try:
            result = subject.call(*values, **arguments)
        except (ChainruleError, IndexError, MemoryError) as error:
            self.refused(what, error, given, before, legal=legal)
            if _bytes(out or []) != written:
                self.failures.append(f"{what}: out was changed before {error}")
        except Exception as error:  # noqa: BLE001  (judged here)
            # What the function, or binding its arguments, makes of things that are no arrays.
            own = TypeError | ValueError | AttributeError
            if legal or not (isinstance(error, own) or "hostile" in what):
                self.failures.append(f"{what}: {type(error).__name__}: {error}")
        else:
            if _bytes(given) != before and "an argument" not in what:
                self.failures.append(f"{what}: arguments changed")
            if expected is None:
                self.failures.append(f"{what}: NumPy refuses, got {result!r:.100}")
            elif not all(_close(a, b) for a, b in zip(_flat(result), expected, strict=True)):
                self.failures.append(f"{what}: {result!r:.300} is not {expected!r:.300}")

    def refused(
        self, what: str, error: BaseException, given: list[Any], before: list[bytes], *, legal: bool
    ) -> None:  # fmt: skip
        if legal:
            self.failures.append(f"{what}: refused: {error}")
        if _bytes(given) != before:
            self.failures.append(f"{what}: arguments changed before {error}")
        if not str(error):
            self.failures.append(f"{what}: {type(error).__name__} without a message")


def main() -> int:
    warnings.simplefilter("ignore")
    fuzzer = Fuzzer(int(sys.argv[1]))
    for _ in range(int(sys.argv[2])):
        fuzzer.one()
    for failure in dict.fromkeys(fuzzer.failures):
        print(failure)
    return bool(fuzzer.failures)


if __name__ == "__main__":
    sys.exit(main())
