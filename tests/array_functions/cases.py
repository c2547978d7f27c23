"""One line for each function of `chainrule.numpy`, and more for those with many forms.

A case is an expression in `m` (the module: NumPy or `chainrule.numpy`) and in the arrays below.
"""

# ruff: noqa: E501  (one line a case)

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

# Extents of the arrays; a case with named dims is run with other extents too.
SHAPES: Mapping[str, tuple[int, ...]] = {
    "x": (4, 5), "y": (4, 5), "p": (4, 5), "q": (4, 5), "g": (4, 5), "w": (5, 6), "v": (5,),
    "u": (4,), "s": (6, 6), "t": (4, 5, 6), "r": (4, 6, 5), "i": (4, 5), "l": (4, 5), "j": (4,),
    "b": (4, 5), "c": (4, 5), "z": (), "h": (1, 5), "d": (5, 4),
}  # fmt: skip
OTHER = {4: 7, 5: 3, 6: 8, 1: 1}


def arrays(
    names: list[str], extents: Mapping[int, int] | None = None, seed: int = 0
) -> list[Array]:
    """Make the arrays of a case: p in (0.2, 0.9), g above 1, integers i l, places j, masks b c."""
    generator = np.random.default_rng(seed)
    made: list[Array] = []
    for name in names:
        shape = tuple((extents or {}).get(n, n) for n in SHAPES[name])
        if name in "pq":
            made.append(generator.uniform(0.2, 0.9, shape))
        elif name == "g":
            made.append(generator.uniform(1.2, 3.0, shape))
        elif name in "il":
            made.append(generator.integers(1, 6, shape))
        elif name == "j":
            made.append(generator.integers(-3, 3, shape))
        elif name in "bc":
            made.append(generator.uniform(size=shape) > 0.5)
        else:
            made.append(generator.normal(size=shape))
    return made


@dataclass(frozen=True)
class Case:
    """An expression, and which checks it takes."""

    text: str
    smooth: bool = True
    named: bool = True
    "it is written without numbers that depend on extents"
    batched: bool = True
    own: bool = True
    "NumPy's own functions reach it too: no Python lists of traced values outside of them"
    ulp: bool = False
    "it is computed by another formula than NumPy's"

    @property
    def names(self) -> list[str]:
        found = re.findall(r"(?<![\w.])([a-z])(?![\w(])", self.text)
        return [n for n in SHAPES if n in found]

    def value(self, module: Any, *values: Any) -> Any:
        given = dict(zip(self.names, values, strict=True))
        return eval(self.text, {"m": module, "np": np, **given})  # noqa: S307

    def __str__(self) -> str:
        return self.text


def _all(*texts: str, **facts: bool) -> list[Case]:
    return [Case(t, **facts) for t in texts]


UNARY = _all(
    "m.negative(x)", "m.sin(x)", "m.cos(x)", "m.tan(p)", "m.arcsin(p)", "m.asin(p)", "m.arccos(p)",
    "m.acos(p)", "m.arctan(x)", "m.atan(x)", "m.sinh(x)", "m.cosh(x)", "m.tanh(x)", "m.arcsinh(x)",
    "m.asinh(x)", "m.arccosh(g)", "m.acosh(g)", "m.arctanh(p)", "m.atanh(p)", "m.exp(x)",
    "m.expm1(x)", "m.log(p)", "m.log1p(p)", "m.sqrt(p)", "m.square(x)", "m.reciprocal(p)",
    "m.abs(x)", "m.absolute(x)", "m.fabs(x)", "m.positive(x)", "m.sinc(x)", "m.deg2rad(x)",
    "m.radians(x)", "m.rad2deg(x)", "m.degrees(x)", "m.conj(x)", "m.conjugate(x)", "m.real(x)",
    "m.nan_to_num(x)", "m.copy(x)", "m.asarray(x)", "m.array(x)", "m.ascontiguousarray(x)",
) + _all(
    "m.exp2(x)", "m.log2(p)", "m.log10(p)", "m.cbrt(x)", "m.modf(g)[0]", ulp=True,
) + _all(
    "m.sign(x)", "m.floor(x)", "m.ceil(x)", "m.trunc(x)", "m.rint(x)", "m.fix(x)", "m.round(x)",
    "m.round(x, 2)", "m.round(i, -1)", "m.imag(x)", "m.isnan(x)", "m.isinf(x)", "m.isfinite(x)",
    "m.isposinf(x)", "m.isneginf(x)", "m.isreal(x)", "m.signbit(x)", "m.invert(i)",
    "m.bitwise_not(i)", "m.bitwise_invert(b)", "m.logical_not(x)", "m.logical_not(b)", "m.abs(i)",
    "m.abs(b)", "m.floor(i)", "m.isnan(i)", "m.isinf(i)", "m.isfinite(i)", "m.sqrt(i)", "m.exp(i)",
    "m.square(i)", "m.reciprocal(i)", "m.astype(x, np.float32)", "m.astype(x, np.int32)",
    "m.asarray(b, np.float32)", "m.modf(x)[1]", "m.sign(i)", "m.nan_to_num(i)", "m.signbit(i)",
    smooth=False,
)  # fmt: skip

BINARY = _all(
    "m.add(x, y)", "m.subtract(x, y)", "m.multiply(x, y)", "m.divide(x, p)", "m.true_divide(x, v)",
    "m.power(p, y)", "m.pow(p, 3)", "p**2.5", "x**2", "2.0**x", "m.float_power(p, 2)",
    "m.hypot(x, y)", "m.arctan2(x, y)", "m.atan2(x, y)", "m.logaddexp(x, y)",
    "m.logaddexp2(x, y)", "m.maximum(x, y)", "m.minimum(x, 0.1)", "m.fmax(x, y)", "m.fmin(x, y)",
    "m.remainder(x, p)", "m.mod(x, 0.7)", "m.fmod(x, p)", "m.copysign(x, y)", "x + v", "x - h",
    "x * z", "1 / p", "2 - x", "x @ v + u", "x % 0.7", "-x + abs(y)", "+x", "m.where(b, x, y)",
    "m.where(x > 0, x, 0.0)", "m.clip(x, -0.5, 0.5)", "m.clip(x, None, 0.3)", "m.clip(x, -0.2, None)",
    "m.clip(x, min=-0.1, max=v)", "x.clip(-1, 1)", "m.polyval([1.0, 2.0, 3.0], x)",
) + _all(
    "m.floor_divide(x, p)", "x // 0.3", "m.floor_divide(i, l)", "i // 2", "i % 3", "-i % l", "i + l",
    "i * 2", "i / l", "i - 2.5", "i**2", "m.power(i, l)", "b + c", "b * c", "b & c", "b | c", "b ^ c", "~b",
    "i & l", "i | 6", "i ^ l", "i << 2", "i >> 1", "m.left_shift(i, l)", "m.right_shift(i, l)",
    "m.bitwise_left_shift(i, l)", "m.bitwise_right_shift(i, l)", "m.bitwise_and(i, l)",
    "m.bitwise_or(i, l)", "m.bitwise_xor(i, l)", "m.logical_and(x, b)", "m.logical_or(x, i)",
    "m.logical_xor(b, c)", "m.equal(i, l)", "m.not_equal(i, l)", "m.less(x, y)",
    "m.less_equal(x, 0)", "m.greater(x, i)", "m.greater_equal(x, y)", "x < y", "x >= 0.5", "i == 3",
    "i != l", "b == True", "m.maximum(i, 2)", "m.maximum(b, c)", "m.heaviside(x, 0.5)",
    "m.divmod(i, 3)", "m.divmod(x, p)", "divmod(i, l)", "m.isclose(x, y)", "m.isclose(i, l)",
    "m.array_equal(x, x)", "m.allclose(x, x)", "x + i", "b + 1", "b * x", "b + 1.5", "m.where(b, i, 2)",
    "m.where(b, 1, 2)", "m.where(b, 1.0, x)", "m.minimum(b, 3)", "m.clip(i, 2, 4)", "m.fmod(i, 4)",
    "m.result_type(x, i) == np.float64", smooth=False,
)  # fmt: skip

REDUCTIONS = _all(
    "m.sum(x)", "m.sum(x, axis=0)", "m.sum(t, axis=(0, -1))", "m.sum(x, axis=1, keepdims=True)",
    "m.sum(x, axis=())", "m.prod(x)", "m.prod(x, axis=1)", "m.prod(x, axis=0, keepdims=True)",
    "m.mean(x)", "m.mean(t, axis=(0, 2))", "m.mean(x, axis=-1, keepdims=True)", "m.var(x)",
    "m.var(x, axis=1, ddof=1)", "m.var(x, axis=0, keepdims=True)", "m.std(x)",
    "m.std(t, axis=(0, 1), ddof=1)", "m.var(x, correction=1)", "m.std(x, correction=1)", "m.max(x)",
    "m.max(x, axis=0)", "m.amax(t, axis=(0, 2))", "m.min(x, axis=1, keepdims=True)", "m.amin(x)",
    "m.ptp(x, axis=1)", "m.average(x)", "m.average(x, axis=0, weights=u)",
    "m.average(x, axis=1, weights=v)", "m.average(x, weights=p)", "m.cumsum(x)",
    "m.cumsum(x, axis=0)", "m.cumsum(x, axis=-1)", "m.cumprod(x, axis=1)", "m.cumprod(x)",
    "m.nansum(x, axis=0)", "m.nanmean(x)", "m.nanmax(x, axis=1)", "m.nanmin(x)",
    "m.linalg.norm(x)", "m.linalg.norm(x, axis=1)", "m.linalg.norm(x, 1, axis=0)",
    "m.linalg.norm(x, np.inf, axis=0)", "m.linalg.norm(x, -np.inf, axis=1, keepdims=True)",
    "m.linalg.norm(x, 3, axis=1)", "m.linalg.norm(x, 'fro')", "m.linalg.norm(x, 1)",
    "m.linalg.norm(x, -np.inf)", "m.linalg.norm(t, np.inf, axis=(0, 2))", "m.linalg.norm(v, 1)",
    "m.linalg.vector_norm(x)", "m.linalg.vector_norm(t, axis=(0, 1))", "m.linalg.matrix_norm(t)",
    "x.sum()", "x.mean(0)", "x.std(axis=1, ddof=1)", "x.var()", "x.max(axis=0)", "x.min()",
    "x.prod(axis=0)", "x.cumsum(axis=1)", "x.cumprod(0)", "m.trapezoid(x)", "m.trapezoid(x, dx=0.5, axis=0)",
    "m.trapezoid(x, v)", "np.add.reduce(x)", "np.maximum.reduce(x, axis=1)", "np.add.accumulate(x)",
) + _all(
    "m.sum(i)", "m.sum(b)", "m.prod(i, axis=0)", "m.mean(i)", "m.mean(b)", "m.var(i)", "m.cumsum(i)",
    "m.sum(x, dtype=np.float32)", "m.max(i)", "m.max(b)", "m.argmax(x)", "m.argmax(x, axis=0)",
    "m.argmin(x, axis=1, keepdims=True)", "m.argmin(x)", "x.argmax(1)", "x.argmin()", "m.any(b)",
    "m.any(b, axis=0)", "m.all(b)", "m.all(x > -9, axis=1)", "b.any()", "b.all(axis=0)",
    "m.count_nonzero(i)", "m.count_nonzero(x > 0, axis=1)", "m.linalg.norm(x, 0, axis=0)",
    "np.logical_and.reduce(b, axis=1)", "m.nansum(i)", smooth=False,
)  # fmt: skip

SHAPING = _all(
    "m.reshape(x, (5, 4))", "m.reshape(t, (2, -1))", "x.reshape(20)", "x.reshape(2, 2, 5)", "x[2]",
    "x[1:3, ::2]", "x[-1, -2]", "x[3:0:-1]", "t[1, ..., 2]", "t[::-2, None, 1:4]", "x[[0, 2]]",
    "x[[1, -1], [0, 2]]", "t[:, [0, 1], [1, 2]]", "t[[0, 1], :, [1, 2]]", "t[0, :, [1, 2]]",
    "x[np.array([[0, 1], [2, 3]])]", "x[[0, 0, 1]]", "x[5:2]", "m.pad(x, ((1, 2), (0, 3)))",
    "m.split(x, 2)", "m.split(x, [1, 3], axis=1)", "m.array_split(x, 3, axis=1)", "m.vsplit(x, 2)",
    "m.hsplit(t, 5)", "m.dsplit(t, 2)", "m.roll(x, 2)", "m.roll(x, (1, -1), axis=(0, 1))",
    "m.repeat(x, [1, 0, 2, 1], axis=0)", "m.take(x, [0, 2, -1], axis=1)", "m.take(x, 3)",
    "m.take(x, [[0, 9], [-2, 1]], mode='clip')", "m.take(x, [7, -9], axis=0, mode='wrap')",
    "m.diag(v, 1)", "m.diag(x, -1)", "m.diag(x)", "m.diagflat(x)", "m.diagonal(t, 1, 0, 2)",
    "m.trace(x)", "m.trace(t, 0, 1, 2)", "x.trace(1)", "x.diagonal()", "m.linalg.diagonal(t)",
    "m.linalg.trace(t)", "m.diff(x, 2)", "m.vander(v, 3)", "m.vander(v)", "m.vander(v, increasing=True)",
    "m.cross(t[:, :, :3], t[:, :, 3:])", "m.linalg.cross(t[:, :, :3], t[:, :, 3:])",
    "m.cross(s[:3], s[3:], axis=0)", "m.full((2, 5), v)", "m.stack([*x])", "m.unstack(x)",
    "m.tril(x, -1)", "m.triu(x, 1)", "m.concatenate([x, y[:1]])", "m.rot90(x)", "m.rot90(x, 2)",
    "m.rot90(x, 3)", "m.meshgrid(u, v)", "m.meshgrid(u, v, v, indexing='ij')",
    "m.meshgrid(u, v, sparse=True)", "m.broadcast_to(v, (3, 5))", "m.full_like(x, 2.5) * x",
    "m.pad(x, 2, mode='reflect')", "m.pad(x, 2, mode='symmetric')", "m.pad(x, 1, mode='edge')",
    "m.pad(x, 3, mode='wrap')", "m.pad(x, 1, constant_values=2.0)", "x.take([1, 2], axis=0)",
    named=False,
) + _all(
    "m.ravel(x)", "x.ravel()", "x.flatten()", "m.transpose(x)", "m.transpose(t, (2, 0, 1))", "x.T",
    "t.mT", "m.permute_dims(t, (1, 0, 2))", "t.transpose(1, 2, 0)", "m.matrix_transpose(t)",
    "m.linalg.matrix_transpose(t)", "m.swapaxes(t, 0, 2)", "t.swapaxes(0, 1)",
    "m.moveaxis(t, 0, -1)", "m.moveaxis(t, (0, 1), (1, 2))", "m.rollaxis(t, 2)",
    "m.expand_dims(x, 1)", "m.expand_dims(x, (0, -1))", "m.squeeze(h)", "m.squeeze(h, 0)",
    "h.squeeze()", "m.broadcast_arrays(x, v)", "m.broadcast_to(h, x.shape)",
    "m.concatenate([x, y])", "m.concat([x, y], axis=1)", "m.concatenate([x, y], axis=None)",
    "m.stack([x, y])", "m.stack([x, y], axis=-1)", "m.vstack([x, v])", "m.hstack([x, y])",
    "m.hstack([u, v])", "m.dstack([x, y])", "m.column_stack([u, u])", "m.atleast_1d(z)",
    "m.atleast_2d(v)", "m.atleast_3d(x)", "m.flip(x)", "m.flip(x, 0)", "m.flipud(x)",
    "m.fliplr(x)", "m.roll(x, 1, axis=1)", "m.roll(x, -1)", "m.tile(x, 2)", "m.tile(v, (2, 3))",
    "m.repeat(x, 2)", "m.repeat(x, 3, axis=1)", "x.repeat(2, 0)", "m.tril(s)", "m.triu(s)",
    "m.tril(v)", "m.diag(v)", "m.trace(s)", "m.diagonal(s)", "m.diff(x)", "m.diff(x, axis=0)",
    "m.pad(x, 1)", "m.pad(x, ((1, 0), (0, 2)), constant_values=1.5)", "m.pad(x, 1, mode='edge')",
    "m.pad(x, 1, mode='wrap')", "m.pad(x, 1, mode='reflect')", "x[1:]", "x[:-1]", "x[::2]",
    "x[::-1]", "x[:, 1:-1]", "x[0]", "x[..., -1]", "x[:, None]", "x[j]", "t[j, :, j]", "x[j, 1]",
    "x[m.arange(x.shape[0]), j % 3]", "m.take(x, j, axis=0)", "m.take(x, j)",
    "m.take_along_axis(x, i % 3, 1)", "m.take_along_axis(x, i % 3, axis=0)",
    "m.take_along_axis(x, j, None)", "m.zeros_like(x) + x", "m.ones_like(x) * x",
    "m.full_like(x, z)", "m.where(x == x, x, m.empty_like(x))", "m.linspace(z, z + 2, 7)",
    "m.linspace(u, 2.0, 5, axis=-1)", "m.linspace(z, 3.0, 4, endpoint=False)",
    "m.linspace(z, 2.0, 5, retstep=True)", "m.logspace(z, 1.0, 4)", "m.geomspace(p[0, 0], 8.0, 4)",
    "m.array([z, 1.0])", "m.array([[x[0, 0], 1.0], [2.0, z]])", "m.asarray([x, y])",
    "m.nan_to_num(x, nan=1.0)", "m.full(v.shape, z)",
) + _all(
    "m.zeros(x.shape)", "m.ones(x.shape, np.float32)", "m.eye(x.shape[0])",
    "m.eye(x.shape[0], x.shape[1], 1)", "m.identity(x.shape[0])", "m.tri(x.shape[0])",
    "m.arange(x.shape[1])", "m.arange(1, x.shape[0] + 3, 2)", "m.zeros_like(i)",
    "m.ones_like(x, dtype=np.int32)", "m.tril(i)", "m.concatenate([i, b])", "m.diff(b)", "m.size(x)",
    "m.ndim(x)", "m.shape(x)[0]", "m.empty((2,)) * 0", "m.full((2, 2), 3)",
    "m.isscalar(x)", "m.can_cast(x, np.float64)", "m.iinfo(np.int32).max", smooth=False,
    batched=False,
)  # fmt: skip

SHAPING.append(Case("m.diag_indices_from(x[:, :4])", smooth=False, named=False, batched=False))
SHAPING.append(Case("m.einsum('iij->j', t[:, :4])", named=False))

PRODUCTS = _all(
    "m.matmul(x, w)", "x @ w", "x @ v", "u @ x", "v @ v", "t @ w.T @ v", "t @ r", "x @ t[:1]",
    "t[:, None] @ r", "t @ r[:1]", "m.matmul(t[:1], r[0])", "m.dot(x, w)", "m.dot(x, v)", "m.dot(v, v)",
    "m.dot(x, 2.0)", "m.dot(t, r)", "x.dot(v)", "m.vdot(x, y)", "m.inner(x, y)", "m.inner(x, v)",
    "m.inner(z, v)", "m.outer(u, v)", "m.outer(x, v)", "m.linalg.outer(u, v)", "m.vecdot(x, y)",
    "m.vecdot(x, v)", "m.linalg.vecdot(x, y)", "m.linalg.matmul(x, w)", "m.tensordot(x, w, 1)",
    "m.tensordot(x, y)", "m.tensordot(t, r, ([1, 2], [2, 1]))", "m.tensordot(u, v, 0)",
    "m.linalg.tensordot(x, w, axes=1)", "m.kron(x, w)", "m.kron(v, x)", "m.linalg.multi_dot([x, w, s])",
    "m.linalg.multi_dot([u, x, v])", "m.linalg.matrix_power(s, 3)", "m.linalg.matrix_power(s, 0) @ s",
    "m.einsum('ij,jk->ik', x, w)", "m.einsum('ij,jk', x, w)", "m.einsum('ij->ji', x)",
    "m.einsum('ij->', x)", "m.einsum('ij->j', x)", "m.einsum('ii->i', s)", "m.einsum('ii', s)",
    "m.einsum('ij,ij->ij', x, y)", "m.einsum('ij,j->i', x, v)", "m.einsum('i,j->ij', u, v)",
    "m.einsum('i,j->ji', u, v)", "m.einsum('aij,ajk->aik', t, r)", "m.einsum('...ij,...jk->...ik', t, r)",
    "m.einsum('...i,i->...', t, s[0])", "m.einsum('i...->...', t)", "m.einsum('ij,jk,kl->il', x, w, s)",
    "m.einsum('i,ij,j->', u, x, v)", "m.einsum('ij,ij,ij->i', x, y, p)", "m.einsum('bij,ij->b', t, w)",
    "m.einsum('i,i,i->', u, u, u)", "m.einsum('ij,kj->ki', x, y)", "m.einsum('ij,hj->i', x, h)",
    "m.einsum('...,...->...', x, v)", "m.einsum('a,b,c->abc', u, v, v)",
    "m.einsum('ij,jk,kl,lm->im', x, w, s, s)",
) + _all(
    "m.matmul(i, i.T)", "m.einsum('ij,ij->i', b, c)", "m.dot(b, c.T)", "m.inner(i, l)", smooth=False,
)  # fmt: skip

# Matrices far from singular: heavy on the diagonal, or on another one.
SYSTEMS = _all(
    "m.linalg.solve(s + 9 * m.linalg.matrix_power(s, 0), w.T)",
    "m.linalg.solve(s + 9 * m.linalg.matrix_power(s, 0), s[0])",
    "m.linalg.solve(m.roll(s + 9 * m.linalg.matrix_power(s, 0), 1, 0), t.mT)",
    "m.linalg.solve(m.matmul(r, t) + 90 * m.linalg.matrix_power(s, 0), w.T)",
    "m.linalg.inv(s + 9 * m.linalg.matrix_power(s, 0))",
    "m.linalg.matrix_power(s + 9 * m.linalg.matrix_power(s, 0), -2)",
    "m.linalg.det(m.roll(s + 9 * m.linalg.matrix_power(s, 0), 1, 0) / 9)",
    "m.linalg.slogdet(m.roll(s + 9 * m.linalg.matrix_power(s, 0), 1, 0))[1]",
    "m.linalg.cholesky(s @ s.T + 9 * m.linalg.matrix_power(s, 0))",
    "m.linalg.cholesky(r @ r.mT + 9 * m.linalg.matrix_power(s, 0), upper=True)",
) + _all("m.linalg.slogdet(s + 9 * m.linalg.matrix_power(s, 0))[0]", smooth=False)  # fmt: skip

UPDATES = [
    "x.at[1].set(v)", "x.at[1, 2].add(3.0)", "x.at[:, 1:3].set(0.0)", "x.at[::2].add(v)",
    "x.at[j].add(v)", "x.at[j].set(x[::-1])", "x.at[j, 2].add(u)", "x.at[j, 1].set(u)",
    "x.at[1:3].multiply(2.0)", "x.at[0].divide(p[0])", "p.at[0].power(2.0)", "x.at[0].max(0.3)",
    "x.at[:, -1].min(u)", "x.at[[0, 2]].multiply(2.0)", "v.at[2].set(z)", "x.at[::-1].set(y)",
    "x.at[0].subtract(v)", "t.at[:, [0, 1], 2:4].add(1.0)", "t.at[[0, 1], :, [1, 2]].set(0.5)",
    "x.at[...].set(y)", "x.at[1].get()", "t.at[j, 1:3].add(z)", "x.at[None, 1].add(2.0)",
]  # fmt: skip


def _current(case: Case) -> bool:
    """Tell whether this NumPy has the case's functions and does not advise against them."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("error", DeprecationWarning)
        warnings.simplefilter("error", PendingDeprecationWarning)
        try:
            case.value(np, *arrays(case.names))
        except (AttributeError, DeprecationWarning, PendingDeprecationWarning):
            return ".at[" in case.text
        except TypeError as error:
            # A keyword that a newer NumPy has.
            return not re.search("unexpected keyword|missing", str(error))
    return True


WRITTEN = [*UNARY, *BINARY, *REDUCTIONS, *SHAPING, *PRODUCTS, *SYSTEMS]
CASES = [c for c in WRITTEN if _current(c)]
