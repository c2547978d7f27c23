"""Bundle adjustment: cameras and points from pictures, by a sparse Jacobian.

Each camera has a rotation vector, a shift, a focal length and two numbers for its lens; each
picture of a point is two residuals (Agarwal et al. 2010, "Bundle adjustment in the large").  A row
of the Jacobian has 12 numbers of a thousand that are not 0, and all rows together cost two reverse
sweeps.  Levenberg-Marquardt eliminates the points first, a block of 3 x 3 each (Schur complement);
`minimize`, which knows nothing of blocks, has to arrive at the same place.
"""

import time

import numpy as np

import chainrule as cr
import chainrule.numpy as cnp

CAMERAS, POINTS, SEEN_BY, NOISE = 12, 300, 9, 0.5
INSIDE, WIDE = 9, 3  # numbers of a camera, of a point


def rotated(v: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Return points p[n, 3] turned by rotation vectors v[n, 3] (Rodrigues' formula)."""
    angle = cnp.linalg.norm(v, axis=1)[:, None]
    half = cnp.sinc(angle / (2 * np.pi))
    across = cnp.cross(v, p)
    return p + cnp.sinc(angle / np.pi) * across + 0.5 * half**2 * cnp.cross(v, across)


def residual(
    params: dict, camera: np.ndarray, point: np.ndarray, picture: np.ndarray
) -> np.ndarray:
    """Return by how many pixels points are off in pictures, [picture, 2]."""
    c, p = params["cameras"][camera], params["points"][point]
    p = rotated(c[:, :3], p) + c[:, 3:6]
    flat = p[:, :2] / p[:, 2:]
    r2 = cnp.sum(flat**2, axis=1)[:, None]
    return c[:, 6:7] * (1 + r2 * (c[:, 7:8] + r2 * c[:, 8:9])) * flat - picture


rng = np.random.default_rng(0)
truth = {
    "cameras": np.column_stack([
        rng.normal(scale=0.3, size=(CAMERAS, 3)),
        rng.normal(scale=0.5, size=(CAMERAS, 2)), rng.uniform(5, 7, CAMERAS),
        rng.uniform(400, 600, CAMERAS), rng.normal(scale=0.02, size=(CAMERAS, 2)),
    ]),
    "points": rng.uniform(-2, 2, (POINTS, 3)),
}  # fmt: skip
point = np.repeat(np.arange(POINTS), SEEN_BY)
camera = np.concatenate([rng.permutation(CAMERAS)[:SEEN_BY] for _ in range(POINTS)])
nothing = np.zeros((len(point), 2))
picture = residual(truth, camera, point, nothing) + rng.normal(scale=NOISE, size=nothing.shape)

jacobian, compiled = cr.sparse_jacobian(residual), cr.jit(residual)


def seconds(call: object, times: int = 50) -> float:
    """Return what a call takes, the quickest of several."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return min(found)


def added(blocks: np.ndarray, where: np.ndarray, count: int) -> np.ndarray:
    """Return the sums of the blocks that go to the same place, of `count` places."""
    total = np.zeros((count, *blocks.shape[1:]))
    np.add.at(total, where, blocks)
    return total


def damped_step(data: np.ndarray, r: np.ndarray, damping: float) -> tuple[dict, float]:
    """Return the step p of (JᵀJ + damping diag(JᵀJ)) p = -Jᵀ r, and the decrease it promises.

    JᵀJ is [[B, E], [Eᵀ, C]], where C has a block of 3 x 3 for each point: the cameras solve
    (B - E C⁻¹ Eᵀ) a = b - E C⁻¹ c, and then each point its own three equations.
    """
    rows = data.reshape(-1, 2, INSIDE + WIDE)
    of_camera, of_point = rows[..., :INSIDE], rows[..., INSIDE:]
    b = -added(np.einsum("nra,nr->na", of_camera, r), camera, CAMERAS)
    c = -added(np.einsum("nra,nr->na", of_point, r), point, POINTS)
    B = added(np.einsum("nra,nrb->nab", of_camera, of_camera), camera, CAMERAS)
    C = added(np.einsum("nra,nrb->nab", of_point, of_point), point, POINTS)
    E = np.zeros((CAMERAS, INSIDE, POINTS, WIDE))
    E[camera, :, point] = np.einsum("nra,nrb->nab", of_camera, of_point)
    scales = [np.einsum("naa->na", x).copy() for x in (B, C)]
    B += damping * scales[0][:, :, None] * np.eye(INSIDE)
    C += damping * scales[1][:, :, None] * np.eye(WIDE)
    EC = np.einsum("iapb,pbc->iapc", E, np.linalg.inv(C))
    n = CAMERAS * INSIDE
    schur = -EC.reshape(n, -1) @ E.reshape(n, -1).T
    for i in range(CAMERAS):
        schur[i * INSIDE : (i + 1) * INSIDE, i * INSIDE : (i + 1) * INSIDE] += B[i]
    a = np.linalg.solve(schur, (b - np.einsum("iapb,pb->ia", EC, c)).ravel())
    a = a.reshape(CAMERAS, INSIDE)
    p = np.linalg.solve(C, (c - np.einsum("iapb,ia->pb", E, a))[..., None])[..., 0]
    promised = sum(
        0.5 * np.sum(step * (damping * scale * step + slope))
        for step, scale, slope in zip((a, p), scales, (b, c), strict=True)
    )
    return {"cameras": a, "points": p}, promised


start = {
    "cameras": truth["cameras"] + rng.normal(size=truth["cameras"].shape)
    * [0.05, 0.05, 0.05, 0.1, 0.1, 0.1, 20, 0.02, 0.02],
    "points": truth["points"] + rng.normal(scale=0.1, size=truth["points"].shape),
}  # fmt: skip
params, given = start, (camera, point, picture)
began = time.perf_counter()
J, r, sweeps = jacobian(params, *given), compiled(params, *given), jacobian.colors(params, *given)
print(f"{J} after {time.perf_counter() - began:.1f} s, by {int(sweeps)} sweeps over {sweeps.mode}")
of_cameras = INSIDE * camera[:, None] + np.arange(INSIDE)
of_points = INSIDE * CAMERAS + WIDE * point[:, None] + np.arange(WIDE)
np.testing.assert_array_equal(
    J.indices, np.repeat(np.hstack([of_cameras, of_points]), 2, axis=0).ravel()
)
assert sweeps == 2

# Along a direction, the Jacobian is what a difference of two residuals says it is.
v = {name: rng.normal(size=x.shape) for name, x in params.items()}
flat = np.concatenate([v["cameras"].ravel(), v["points"].ravel()])
product = np.add.reduceat(J.data * flat[J.indices], J.indptr[:-1])
ahead, behind = ({k: params[k] + h * v[k] for k in v} for h in (1e-6, -1e-6))
by_difference = (compiled(ahead, *given) - compiled(behind, *given)).ravel() / 2e-6
np.testing.assert_allclose(product, by_difference, rtol=1e-6, atol=1e-5 * abs(product).max())

one = seconds(lambda: compiled(params, *given))
whole = seconds(lambda: jacobian(params, *given))
print(f"a Jacobian takes as long as {whole / one:.1f} residuals ({1e6 * one:.0f} us each); "
      f"differences would take {flat.size} of them")  # fmt: skip

value, damping, growth = 0.5 * np.sum(r**2), 1e-3, 2.0
for step in range(50):
    move, promised = damped_step(J.data, r, damping)
    moved = {name: params[name] + move[name] for name in params}
    new_r = compiled(moved, *given)
    kept = (value - 0.5 * np.sum(new_r**2)) / promised
    print(f"step {step}  root mean square {np.sqrt(np.mean(r**2)):7.4f} px  damping {damping:.0e}")
    if kept <= 0:
        damping, growth = damping * growth, 2 * growth
        continue
    done = promised < 1e-10 * value
    params, r, value = moved, new_r, 0.5 * np.sum(new_r**2)
    if done:
        break
    # Nielsen (1999), "Damping parameter in Marquardt's method"
    damping, growth = damping * max(1 / 3, 1 - (2 * kept - 1) ** 3), 2.0
    J = jacobian(params, *given)

# Turning, moving or enlarging everything changes no picture: 7 unknowns of those 1008 are free.
freedom = r.size - (flat.size - 7)
per_freedom = 2 * value / NOISE**2 / freedom
print(f"noise found {NOISE * np.sqrt(per_freedom):.4f} px, put in {NOISE} px")
assert abs(per_freedom - 1) < 4 * np.sqrt(2 / freedom)
assert len(jacobian.compilations) == 1

found = cr.minimize(residual, start, *given, method="levenberg-marquardt")
print(f"minimize: {found.nit} steps, root mean square {np.sqrt(2 * found.fun / r.size):.4f} px")
assert found.converged
np.testing.assert_allclose(found.fun, value, rtol=1e-8)
