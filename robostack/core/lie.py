"""SE(3) and SO(3) on numpy arrays. Quaternions are wxyz; a pose is (..., 7): x y z, qw qx qy qz.

Every function takes leading batch dimensions. A twist is (..., 6): linear part first, then angular, for tangent
vectors, velocities and the adjoint alike. `T_a_b` maps coordinates in b to a: `T_a_c = compose(T_a_b, T_b_c)`.
Source of the closed forms: Sola, Deray, Atchuthan, "A micro Lie theory", arXiv 1812.01537.
"""

import numpy as np
from numpy.typing import ArrayLike

SMALL = 1e-8  # rad; below this the series is exact to double precision

IDENTITY = np.array([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0])


def skew(v: np.ndarray) -> np.ndarray:
    """(..., 3, 3) matrix of the cross product: skew(v) @ w = v x w."""
    zero = np.zeros_like(v[..., 0])
    x, y, z = v[..., 0], v[..., 1], v[..., 2]
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*v.shape[:-1], 3, 3)


def cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a x b. numpy's own costs ten times as much on single vectors, and this runs in every tick."""
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    out = np.empty(a.shape if a.shape == b.shape else np.broadcast_shapes(a.shape, b.shape))
    out[..., 0], out[..., 1], out[..., 2] = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    return out


def quat_multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Hamilton product a * b."""
    aw, av, bw, bv = a[..., :1], a[..., 1:], b[..., :1], b[..., 1:]
    w = aw * bw - np.sum(av * bv, -1, keepdims=True)
    return np.concatenate([w, aw * bv + bw * av + cross(av, bv)], -1)


def quat_conjugate(q: np.ndarray) -> np.ndarray:
    """The inverse of a unit quaternion."""
    return q * np.array([1.0, -1.0, -1.0, -1.0])


def quat_normalize(q: np.ndarray) -> np.ndarray:
    """Unit length and qw >= 0, so equal rotations have equal quaternions."""
    q = q / np.linalg.norm(q, axis=-1, keepdims=True)
    return np.where(q[..., :1] < 0, -q, q)


def rotate(q: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Vectors v (..., 3) turned by q."""
    w, u = q[..., :1], q[..., 1:]
    t = 2.0 * cross(u, v)
    return v + w * t + cross(u, t)


def so3_exp(omega: np.ndarray) -> np.ndarray:
    """Quaternion of a rotation vector (..., 3), rad."""
    angle = np.linalg.norm(omega, axis=-1, keepdims=True)
    half = 0.5 * angle
    factor = np.where(angle < SMALL, 0.5 - angle**2 / 48.0, np.sin(half) / np.maximum(angle, SMALL))
    return np.concatenate([np.cos(half), factor * omega], -1)


def so3_log(q: np.ndarray) -> np.ndarray:
    """Rotation vector (..., 3), rad, of length at most pi."""
    q = np.where(q[..., :1] < 0, -q, q)
    sine = np.linalg.norm(q[..., 1:], axis=-1, keepdims=True)
    angle = 2.0 * np.arctan2(sine, q[..., :1])
    near = 2.0 / np.maximum(q[..., :1], SMALL)  # for small angles; qw is zero at half a turn
    return np.where(sine < SMALL, near, angle / np.maximum(sine, SMALL)) * q[..., 1:]


def quat_matrix(q: np.ndarray) -> np.ndarray:
    """(..., 3, 3) rotation matrix of a unit quaternion."""
    w, x, y, z = q[..., 0], q[..., 1], q[..., 2], q[..., 3]
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return np.stack(rows, -1).reshape(*q.shape[:-1], 3, 3)


def pose(p: ArrayLike, q: ArrayLike) -> np.ndarray:
    """(..., 7) pose of a position and a quaternion, broadcast against each other."""
    p, q = np.asarray(p, float), np.asarray(q, float)
    if p.shape[:-1] != q.shape[:-1]:
        lead = np.broadcast_shapes(p.shape[:-1], q.shape[:-1])
        p, q = np.broadcast_to(p, (*lead, 3)), np.broadcast_to(q, (*lead, 4))
    return np.concatenate([p, q], -1)


def compose(T_a_b: np.ndarray, T_b_c: np.ndarray) -> np.ndarray:
    """T_a_c."""
    q_ab = T_a_b[..., 3:]
    p = T_a_b[..., :3] + rotate(q_ab, T_b_c[..., :3])
    return pose(p, quat_multiply(q_ab, T_b_c[..., 3:]))


def inverse(T_a_b: np.ndarray) -> np.ndarray:
    """T_b_a."""
    q = quat_conjugate(T_a_b[..., 3:])
    return pose(-rotate(q, T_a_b[..., :3]), q)


def between(T_a_b: np.ndarray, T_a_c: np.ndarray) -> np.ndarray:
    """T_b_c: where c is, seen from b."""
    return compose(inverse(T_a_b), T_a_c)


def _left_jacobian_terms(angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(1 - cos a) / a^2 and (a - sin a) / a^3, by series below 1e-4 rad where the quotients lose digits."""
    near = angle < 1e-4
    safe = np.where(near, 1.0, angle)
    b = np.where(near, 0.5 - angle**2 / 24.0, (1 - np.cos(safe)) / safe**2)
    c = np.where(near, 1 / 6 - angle**2 / 120.0, (safe - np.sin(safe)) / safe**3)
    return b, c


def exp(tau: np.ndarray) -> np.ndarray:
    """Pose of a twist (..., 6) followed for one unit of time. Sola eq. 172."""
    v, omega = tau[..., :3], tau[..., 3:]
    b, c = _left_jacobian_terms(np.linalg.norm(omega, axis=-1, keepdims=True))
    turn = cross(omega, v)
    return pose(v + b * turn + c * cross(omega, turn), so3_exp(omega))


def log(T: np.ndarray) -> np.ndarray:
    """Twist (..., 6) whose exp is T; rotation at most pi. Sola eq. 173."""
    omega = so3_log(T[..., 3:])
    angle = np.linalg.norm(omega, axis=-1, keepdims=True)
    near = angle < 1e-4
    safe = np.where(near, 1.0, angle)
    half = 0.5 * safe
    factor = np.where(near, 1 / 12 + angle**2 / 720.0, (1 - half / np.tan(half)) / safe**2)
    turn = cross(omega, T[..., :3])
    return np.concatenate([T[..., :3] - 0.5 * turn + factor * cross(omega, turn), omega], -1)


def adjoint(T_a_b: np.ndarray) -> np.ndarray:
    """(..., 6, 6) matrix that turns a twist seen in b into the same motion seen in a: [[R, [p]R], [0, R]]."""
    R = quat_matrix(T_a_b[..., 3:])
    top = np.concatenate([R, skew(T_a_b[..., :3]) @ R], -1)
    bottom = np.concatenate([np.zeros_like(R), R], -1)
    return np.concatenate([top, bottom], -2)


def rotate_twist(q: np.ndarray, twist: np.ndarray) -> np.ndarray:
    """Both halves of a twist or wrench (..., 6) turned by q; the point of reference stays."""
    return np.concatenate([rotate(q, twist[..., :3]), rotate(q, twist[..., 3:])], -1)


def from_yaw(p: np.ndarray, yaw: np.ndarray | float) -> np.ndarray:
    """Upright pose at p, turned by yaw (rad) about z."""
    yaw = np.asarray(yaw, float)
    zero = np.zeros_like(yaw)
    return pose(p, np.stack([np.cos(yaw / 2), zero, zero, np.sin(yaw / 2)], -1))
