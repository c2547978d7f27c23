"""`jit`: compile a function on its first call for each signature."""

from __future__ import annotations

import functools
import time
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, Unpack, overload

from chainrule.api.calls import (
    MISSED,
    Direct,
    Form,
    Kinds,
    Static,
    as_names,
    check_names,
    kinds_of,
    leaf_paths,
    make_form,
    not_hashable,
)
from chainrule.api.limit import within_recursion_limit
from chainrule.api.loading import load_compiler
from chainrule.errors import ChainruleError, StructureError, UnsupportedError, explain
from chainrule.frontend.arguments import Arguments, bind_arguments, is_arraylike, signature_of
from chainrule.frontend.context import is_tracing
from chainrule.frontend.dispatch import InGraph
from chainrule.frontend.keywords import Keywords
from chainrule.frontend.known import known_leaves
from chainrule.frontend.naming import Dims
from chainrule.frontend.pytree import TreeDef, tree_flatten
from chainrule.frontend.trace import Traced, trace
from chainrule.ir.dims import Extent, named, show_extent
from chainrule.numerics import numerics_called
from chainrule.plan.amounts import Budget, as_bytes
from chainrule.transform.transformed import has_traced
from chainrule_runtime.forks import LongLock
from chainrule_runtime.native_callable import attach, callable_type

if TYPE_CHECKING:
    from chainrule.api.stages import LoweredFunction
    from chainrule.api.variant import Compilation, Variant
    from chainrule.link.cache import Cache
    from chainrule.options import Options

__all__ = ["Jitted", "jit"]

Key: TypeAlias = tuple[Any, ...]
Spelling: TypeAlias = tuple[Any, ...]
"How a call is written: the number of positional arguments, the keywords, the static names."
Group: TypeAlias = tuple[tuple[str, ...], Static]
"What calls agree in that one chain of native entries is for."
Function: TypeAlias = Callable[..., Any]


class _Jitted:
    """A function that compiles itself.

    Attributes:
        compilations: Every compilation with its reason and its seconds.
        keywords: Those of `jit`.
        __wrapped__: The function as it was written.
    """

    compilations: list[Compilation]
    keywords: Keywords

    def __init__(self, fn: Callable[..., Any], keywords: Keywords) -> None:
        functools.update_wrapper(self, fn, updated=())
        self.compilations = []
        self.keywords = keywords
        self._fn = fn
        self._variants: dict[Key, list[Variant]] = {}
        self._forms: dict[Spelling, Form] = {}
        self._usual: dict[Spelling, Form] = {}
        self._groups: dict[Group, tuple[Variant, Callable[..., Any]]] = {}
        # Code of an equal program that another function was compiled for.
        self._lent: set[Variant] = set()
        self._lock = LongLock()
        # A function with a parameter of its own called `out`, which then does not name memory.
        self._own_out = _has_out(fn)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call natively if a compilation fits, else by way of Python."""
        return self._call_slowly(*args, **kwargs)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __reduce__(self) -> Any:
        return _again, (self._fn, self.keywords)

    def __repr__(self) -> str:
        return f"jit({getattr(self._fn, '__name__', self._fn)})"

    def _call_slowly(self, *args: Any, **kwargs: Any) -> Any:
        """Handle any call: inside a trace, the first of its kind, or with unusual arguments."""
        out = None if self._own_out else kwargs.pop("out", None)
        form = self._usual.get((len(args), *kwargs))
        if form is not None and not form.direct:
            found = self._call_reordered(form, args, out, kwargs)
            if found is not MISSED:
                return found
        # Before the arguments are bound: within a trace the function itself says what is wrong.
        if is_tracing() or (form is None and has_traced((args, kwargs))):
            args, kwargs = known_leaves((args, kwargs))
            return self._fn(*args, **kwargs)
        form, _, leaves, tree = self._take_apart(args, kwargs)
        static = [v for _, v in form.settings(args, kwargs)]
        if any(isinstance(x, InGraph) for x in leaves) or (static and has_traced(static)):
            return self._fn(*args, **kwargs)
        kinds, shapes = kinds_of(leaves, form.names, tree)
        key = self._key(form, tree, kinds, args, kwargs)
        for variant in self._variants.get(key, ()):
            # An entry checks shapes faster than Python does.
            if variant.flat and (found := variant.run(leaves, out)) is not MISSED:
                return found
        variant = self._variant(key, form, tree, shapes, args, kwargs)
        return variant.call(leaves, out)

    def _call_reordered(
        self, form: Form, args: Sequence[Any], out: Any, kwargs: Mapping[str, Any]
    ) -> Any:
        """Call native code with the traced arguments alone, all by position."""
        try:
            group = self._groups.get((form.group, form.static_key(args, kwargs)))
        except TypeError:  # not hashable
            return MISSED
        if group is None:
            return MISSED
        values = form.values(args, kwargs)
        return group[1](*values) if out is None else group[1](*values, out=out)

    def lower(self, *args: Any, **kwargs: Any) -> LoweredFunction:
        """Return the stages of compiling for these arguments (arrays or specs), without running.

        >>> import numpy as np, chainrule as cr
        >>> lowered = cr.jit(lambda x: x * 2.0).lower(np.ones(3))
        >>> print(lowered.as_text("expr").splitlines()[2].strip())
        %1 = mul(%0, 2.0)  : f64[3]
        """
        load_compiler()
        from chainrule.api.stages import LoweredFunction

        form, _, leaves, tree = self._take_apart(args, kwargs)
        kinds, shapes = kinds_of(leaves, form.names, tree)
        for variant in self._variants.get(self._key(form, tree, kinds, args, kwargs), []):
            if all(isinstance(e, int) for s in shapes for e in s) and variant.fits(shapes):
                return LoweredFunction(variant.traced, variant.lowered, shapes)
        with within_recursion_limit(self._fn):
            traced = self._trace(args, kwargs, self.keywords.dims)
        return LoweredFunction(
            traced,
            None,
            shapes,
            options=_options(self.keywords),
        )

    # Finding or making the code

    def _take_apart(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[Form, tuple[Any, ...], list[Any], TreeDef]:
        """Return how a call binds, its traced arguments, and their leaves and structure."""
        spelling = (len(args), *kwargs)
        form = self._form(spelling, self.keywords.static)
        values = form.values(args, kwargs)
        leaves, tree = tree_flatten(values)
        if self.keywords.lenient and not all(map(is_arraylike, leaves)):
            # A transformed function takes its settings where they stand.
            loose = [
                n.split("/")[0] for n, v in zip(form.names, values, strict=True)
                if not all(map(is_arraylike, tree_flatten(v)[0]))
            ]  # fmt: skip
            form = self._form(spelling, (*self.keywords.static, *loose))
            values = form.values(args, kwargs)
            leaves, tree = tree_flatten(values)
        self._usual[spelling] = form
        return form, values, leaves, tree

    def _form(self, spelling: Spelling, static: tuple[str, ...]) -> Form:
        known = self._forms.get((spelling, static))
        if known is None:
            known = make_form(self._fn, spelling[0], spelling[1:], static)
            self._forms[spelling, static] = known
        return known

    def bind(self, args: Sequence[Any]) -> Arguments:
        """Return which arguments are traced, and which static, when called with these."""
        form = self._take_apart(args, {})[0]
        return bind_arguments(self._fn, args, {}, [n.split("/")[0] for n, _ in form.static])

    def _key(
        self, form: Form, tree: TreeDef, kinds: Kinds, args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Key:  # fmt: skip
        key = (tree, form.names, form.static_key(args, kwargs), kinds)
        try:
            hash(key)
        except TypeError:
            raise StructureError(not_hashable(form.settings(args, kwargs))) from None
        return key

    def _variant(
        self, key: Key, form: Form, tree: TreeDef, shapes: list[Any], args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Variant:  # fmt: skip
        with self._lock.held():
            known = self._variants.get(key, [])
            static = form.static_key(args, kwargs)
            for i, variant in enumerate(known):
                if variant.fits(shapes):
                    if variant in self._lent:
                        # Called again: worth an entry of its own.
                        self._take_over(known[: i + 1], key, form, static)
                        return self._variants[key][i]
                    return variant
            labels = leaf_paths(form.names, tree)
            with within_recursion_limit(self._fn):
                variant = self._compile(key, known, labels, shapes, args, kwargs)
            if variant not in self._lent:
                self._take_over(known, key, form, static)
                self._link(variant, form, static)
            return variant

    def _take_over(self, lent: Sequence[Variant], key: Key, form: Form, static: Static) -> None:
        """Give lent code entries of its own, in the order in which calls are to try them."""
        if self.keywords.shared:
            return
        for i, variant in enumerate(lent):
            if variant in self._lent:
                self._lent.discard(variant)
                own = variant.bound(self._cache())
                self._variants[key][i] = own
                self._link(own, form, static)

    def _compile(
        self, key: Key, known: list[Variant], labels: list[str], shapes: list[tuple[int, ...]],
        args: Sequence[Any], kwargs: Mapping[str, Any],
    ) -> Variant:  # fmt: skip
        began = time.perf_counter()
        load_compiler()
        from chainrule.api.shared import lend
        from chainrule.api.variant import Compilation, compile_variant

        if not known:
            first = not self._variants
            reason = "first call" if first else "another structure, dtype or rank of arguments"
            traced, inferred = self._trace(args, kwargs, self.keywords.dims), frozenset[str]()
        else:
            traced, inferred, reason = self._widened(known[-1], labels, shapes, args, kwargs)
        self._check_donated(traced)
        options = replace(_options(self.keywords), interruptible=True)
        options = options.called_with(traced.numbers(shapes))
        kept: Any = {"cache": self._cache(), "inferred": inferred}
        if self.keywords.lenient:
            # Of transformed functions many are made that compute the same.
            variant, lent = lend(traced, options, chained=not self.keywords.shared, **kept)
            if lent:
                self._lent.add(variant)
        else:
            variant = compile_variant(traced, options, **kept)
        self._variants[key] = [*known, variant]
        inputs = zip(traced.program.paths, traced.program.inputs, strict=True)
        self.compilations.append(
            Compilation(
                reason, ", ".join(f"{path}: {node.type}" for path, node in inputs),
                time.perf_counter() - began, variant.lowered.seconds, variant.lowered.kernels,
            )
        )  # fmt: skip
        return variant

    def _cache(self) -> Cache | None:
        load_compiler()
        from chainrule.link.cache import default_cache

        return default_cache() if self.keywords.cache else None

    def _trace(self, args: Sequence[Any], kwargs: Mapping[str, Any], dims: Dims | None) -> Traced:
        static = list(self.keywords.static)
        if self.keywords.lenient:
            # Of a starred parameter one setting makes every argument of it static.
            names = [n.split("/")[0] for n, _ in self._take_apart(args, kwargs)[0].static]
            static += [n for n in dict.fromkeys(names) if n not in static]
        return trace(
            self._fn, *args, dims=dims, static_argnames=static, kwargs=kwargs,
            numerics=self.keywords.numerics,
        )  # fmt: skip

    def _widened(
        self, before: Variant, labels: list[str], shapes: list[tuple[int, ...]],
        args: Sequence[Any], kwargs: Mapping[str, Any],
    ) -> tuple[Traced, frozenset[str], str]:  # fmt: skip
        """Trace with a name for every extent that changed since an earlier compilation.

        Extents that were and became equal get one name, until a call tells them apart.  If the
        function needs the numbers, or a 1 is involved, which broadcasts, the new numbers are
        compiled for as they are.  Returns the program, the names made up, and the reason.
        """
        names = _Names(before.inferred)
        dims: dict[str, tuple[Extent | None, ...]] = {}
        for path, node, shape in zip(labels, before.traced.program.inputs, shapes, strict=True):
            if shape:
                axes = enumerate(zip(node.shape, shape, strict=True))
                dims[path] = tuple([names.of(path, axis, old, new) for axis, (old, new) in axes])
        known = before.traced.numbers(shapes)
        broken = [g.text for g in before.guards if g.names <= known.keys() and not g.holds(known)]
        reason = "; ".join(names.changes) or next(iter(broken), "other extents")
        with suppress(ChainruleError):
            traced = self._trace(args, kwargs, dims)
            numbers = traced.numbers(shapes)
            if all(g.holds(numbers) for g in traced.program.guards):
                return traced, frozenset(names.made), reason
        # Outside of the handler: an error of the numbers themselves stands alone.
        traced = self._trace(args, kwargs, self.keywords.dims)
        return traced, frozenset(), f"{reason} (its number is used)"

    def _link(self, variant: Variant, form: Form, static: Static) -> None:
        """Put a new native entry behind those there are."""
        if variant.binding is None or variant.flat or self.keywords.shared:
            return
        group = (form.group, static)
        known = self._groups.get(group)
        if known is None:
            direct: Callable[..., Any] = Direct()
            attach(direct, variant.binding.entry, variant.binding)
            if form.plain and not self._own_out:
                attach(self, variant.binding.entry, variant.binding)
        else:
            last, direct = known
            assert last.binding is not None, "a group consists of entries"
            last.binding.chain(variant.binding)
        self._groups[group] = variant, direct

    def _check_donated(self, traced: Traced) -> None:
        known = {name.split("/")[0] for name in traced.names}
        loose = [name for name in self.keywords.donated if name not in known]
        if loose:
            raise StructureError(
                explain(f"donate_argnames: {self!r} has no array argument {', '.join(loose)}",
                        f"arguments  {', '.join(sorted(known))}")
            )  # fmt: skip


Jitted = callable_type(_Jitted)


def _again(fn: Callable[..., Any], keywords: Keywords) -> Any:
    return Jitted(fn, keywords)


def _options(keywords: Keywords) -> Options:
    load_compiler()
    from chainrule.options import Options

    return Options(
        keywords.numerics, memory_budget=keywords.memory_budget, donated=keywords.donated
    )


class _Names:
    """Makes up names for extents that change from one call to another.

    Attributes:
        made: The names that are not the user's.
        numbers: What those are in this call.
        changes: What changed, for people.
    """

    def __init__(self, inferred: Collection[str]) -> None:
        self.made: set[str] = set(inferred)
        self.changes: list[str] = []
        self.numbers: dict[str, int] = {}
        self._fresh: dict[tuple[Extent, int], str] = {}

    def of(self, path: str, axis: int, old: Extent, new: int) -> Extent | None:
        """Return what `dims` says of an axis that was `old` and is `new`: a name, or a number."""
        if isinstance(old, int):
            if old == new:
                return new
        elif str(old) not in self.made or (
            new != 1 and self.numbers.setdefault(str(old), new) == new
        ):
            return old
        change = f"{path} axis {axis} is {new}, was {show_extent(old)}"
        if 1 in (old, new):
            self.changes.append(change)
            return None
        name = self._fresh.setdefault((old, new), f"{path.replace('/', '_')}_{axis}")
        self.made.add(name)
        self.numbers[name] = new
        self.changes.append(f"{change}: named {name}")
        return named(name)


def _has_out(fn: Callable[..., Any]) -> bool:
    """Tell whether a function has a parameter `out` that is not what NumPy means by it."""
    signature = signature_of(fn)
    out = None if signature is None else signature.parameters.get("out")
    if out is None or out.kind not in (out.POSITIONAL_OR_KEYWORD, out.KEYWORD_ONLY):
        return False
    return out.default is not None


class KeywordTypes(TypedDict, total=False):
    """The keywords of `jit`."""

    dims: Dims | None
    static_argnames: Sequence[str] | str
    donate_argnames: Sequence[str] | str
    threads: int | None
    numerics: str
    memory_budget: Budget | None
    cache: bool
    lenient: bool


@overload
def jit(fn: Callable[..., Any], **options: Unpack[KeywordTypes]) -> _Jitted: ...
@overload
def jit(
    fn: None = None, **options: Unpack[KeywordTypes]
) -> Callable[[Callable[..., Any]], _Jitted]: ...
def jit(
    fn: Callable[..., Any] | None = None, *, dims: Dims | None = None,
    static_argnames: Sequence[str] | str = (), donate_argnames: Sequence[str] | str = (),
    threads: int | None = None, numerics: str = "fast", memory_budget: Budget | None = None,
    cache: bool = True, lenient: bool = False,
) -> Any:  # fmt: skip
    """Compile `fn` on its first call for each signature: structure, dtypes, ranks, fixed extents.

    Args:
        fn: A function of pytrees of arrays.  It runs once for each compilation, on traced values.
        dims: Names of extents that may change from call to call: `{"x": ("batch", 8)}`, or
            expressions of names, `{"x": ("n",), "y": ("2*n + 1",)}`; a name that no axis has alone
            is solved for where they are linear in it.  Without `dims`, an extent that changes at a
            later call becomes a named dim, at the cost of one more compilation; after that, none.
        static_argnames: Arguments that stay Python values; each value compiles anew.
        donate_argnames: Arguments whose memory the results may take over: the same arrays come
            back, updated in place.
        threads: Number of threads; 1 is the only one there is so far.
        numerics: `"fast"`, `"strict"` or `"reproducible"`.
        memory_budget: Bytes of scratch memory a call may use, as a number or a text such as
            `"512 MB"` or `"1.5 GiB"`.  What does not fit is made to, by
            computing values again (for extents named in `dims`: those of the first call).
        cache: Keep object code on disk, so that a later process need not generate it again.
        lenient: Treat arguments that are no arrays as static.

    Returns:
        A callable with `fn`'s signature and the keyword `out=`, unless that is a parameter of
        `fn`; arrays in, NumPy arrays out.

    Raises:
        StructureError: `fn` is no function, or has no parameter that `static_argnames` or
            `donate_argnames` names.
        UnsupportedError: An option asks for what does not exist yet, or the memory budget cannot be
            met; the message lists what is large and the smallest budget that can.

    >>> import numpy as np, chainrule as cr
    >>> double = cr.jit(lambda x: x + x)
    >>> double(np.array([1.0, 2.5])).tolist()
    [2.0, 5.0]
    """
    if threads not in (None, 1):
        raise UnsupportedError(explain("compiled code runs on one thread", f"threads  {threads}"))
    keywords = Keywords(
        dims, tuple(as_names(static_argnames, "static_argnames")),
        tuple(as_names(donate_argnames, "donate_argnames")), numerics_called(numerics),
        None if memory_budget is None else as_bytes(memory_budget), cache, lenient,
    )  # fmt: skip

    def made(function: Callable[..., Any]) -> Any:
        check_names(function, static_argnames, donate_argnames)
        return Jitted(function, keywords)

    return made if fn is None else made(fn)


def sharing(function: Function) -> Function:
    """Compile a function that will soon be gone; code is shared by all that compute the same.

    Each function is traced, so what it closes over is looked at anew.
    """
    return Jitted(function, Keywords(lenient=True, shared=True))
