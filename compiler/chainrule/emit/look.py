"""How long loops notice an interrupt: they look for one between two turns.

What is asked is a native function of its own, one for the process, so that a loop that looks costs
a counter and a branch a turn.  It does its work in the thread that runs Python's signal handlers,
and there only ten times a second: then it takes the GIL, lets Python run the handlers, and keeps
what they raised for whoever called the loop.
"""

from __future__ import annotations

from typing import Final

from chainrule.emit.builder import I32, I64, PTR, VOID, Builder, LType, Module, Value

__all__ = ["LOOK", "LOOK_SLOTS", "LOOK_TABLE", "emit_look", "turns_between"]

LOOK: Final = "chainrule_look"
LOOK_TABLE: Final = "chainrule_look_table"
LOOK_SLOTS: Final = (
    "thread", "last", "clock", "keep", "clock_gettime", "PyThread_get_thread_ident",
    "PyGILState_Ensure", "PyGILState_Release", "PyErr_CheckSignals", "PyErr_Fetch",
    "PyErr_NormalizeException", "PyException_SetTraceback", "PyObject_CallOneArg", "PyErr_Clear",
    "Py_DecRef",
)  # fmt: skip
"""The words of the table: the thread that handles signals and the time of the last look, the number
of the clock, the function that keeps an exception, and functions to call."""

INTERVAL: Final = 100_000_000
"Nanoseconds between two looks: another thread of Python's may make one wait for milliseconds."
WORK: Final = 100_000
"Operations between two looks, about: some ten microseconds."
MOST_TURNS: Final = 1024
"Turns between two looks at most: moves count as no operation, and named extents may be large."
_WORD: Final = 8
_SECOND: Final = 1_000_000_000


def turns_between(work: int) -> int:
    """Return after how many turns of so many operations to look: a power of two."""
    turns = 1
    while turns < MOST_TURNS and turns * max(work, 1) < WORK:
        turns *= 2
    return turns


def emit_look(module: Module) -> None:
    """Write `i64 chainrule_look(i64 now)`: not 0 if Python has an exception for the caller.

    With `now` it does not go by the clock.  Some 30 ns where nothing is due; the table has to be
    filled before.
    """
    size = len(LOOK_SLOTS)
    table = module.add_global(LOOK_TABLE, f"global [{size} x i64] zeroinitializer, align 64")
    b, (now,) = module.function(LOOK, I64, [(I64, "now")], internal=False)
    look = _Look(b, table)
    moment = b.alloca(2 * _WORD, align=16)
    mine = look.call("PyThread_get_thread_ident", I64)
    look.go_on_if(b.icmp("eq", mine, look.word("thread")))
    clock = b.cast("trunc", look.word("clock"), I32)
    look.call("clock_gettime", I32, clock, moment)
    seconds, rest = b.load(I64, moment), b.load(I64, b.offset(moment, _WORD))
    time = b.add(b.mul(seconds, _SECOND), rest)
    due = b.icmp("sge", b.sub(time, look.word("last")), b.i64(INTERVAL))
    look.go_on_if(b.or_(due, b.icmp("ne", now, b.i64(0))))
    b.store(time, look.place("last"))
    state = look.call("PyGILState_Ensure", I32)
    found = look.call("PyErr_CheckSignals", I32)
    b.if_(b.icmp("ne", found, b.const(I32, 0)), look.keep)
    look.call("PyGILState_Release", VOID, state)
    b.ret(b.cast("sext", found, I64))
    b.close()


class _Look:
    """The function being written."""

    def __init__(self, b: Builder, table: Value) -> None:
        self.b, self._table = b, table
        self._exception = [b.alloca(_WORD, align=16) for _ in range(3)]

    def place(self, slot: str) -> Value:
        return self.b.offset(self._table, _WORD * LOOK_SLOTS.index(slot))

    def word(self, slot: str) -> Value:
        return self.b.load(I64, self.place(slot))

    def call(self, name: str, result: LType, *arguments: Value) -> Value:
        function = self.b.load(PTR, self.place(name))
        return self.b.call_pointer(function, result, arguments)

    def go_on_if(self, condition: Value) -> None:
        """Return 0 unless a condition holds."""
        on, out = self.b.new_label("on"), self.b.new_label("out")
        self.b.branch_if(condition, on, out)
        self.b.start(out)
        self.b.ret(self.b.i64(0))
        self.b.start(on)

    def keep(self) -> None:
        """Take the exception that is set and hand it to `keep`."""
        b, (kind, value, trace) = self.b, self._exception
        for place in self._exception:
            b.store(b.zero(PTR), place)
        self.call("PyErr_Fetch", VOID, kind, value, trace)
        self.call("PyErr_NormalizeException", VOID, kind, value, trace)
        raised, frames = b.load(PTR, value), b.load(PTR, trace)

        def attach() -> None:
            self.call("PyException_SetTraceback", I32, raised, frames)
            self.call("Py_DecRef", VOID, frames)

        b.if_(b.icmp("ne", frames, b.zero(PTR)), attach)
        kept = self.call("PyObject_CallOneArg", PTR, b.load(PTR, self.place("keep")), raised)
        # Interrupted once more: one exception is enough.
        self.call("PyErr_Clear", VOID)
        b.if_(b.icmp("ne", kept, b.zero(PTR)), lambda: self._drop(kept))
        self._drop(raised)
        self._drop(b.load(PTR, kind))

    def _drop(self, thing: Value) -> None:
        self.call("Py_DecRef", VOID, thing)
