"""SE(3): the group's axioms, exp and log, the adjoint and its block order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robostack.core import lie


def vectors(most: float, size: int = 3):
    return hnp.arrays(float, size, elements=st.floats(-most, most))


def unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v)


axes = vectors(1.0).filter(lambda v: np.linalg.norm(v) > 1e-3).map(unit)
# Tiny angles among them: where the closed forms become series.
angles = st.floats(0.0, np.pi - 1e-3) | st.sampled_from([1e-15, 1e-9, 1e-8, 1e-5, 9e-5, 1e-4])
rotation_vectors = st.builds(np.multiply, axes, angles)
positions = vectors(5.0)
twists = st.builds(lambda v, w: np.concatenate([v, w]), positions, rotation_vectors)
poses = st.builds(lambda p, w: lie.pose(p, lie.so3_exp(w)), positions, rotation_vectors)


def matrix(T: np.ndarray) -> np.ndarray:
    """(..., 4, 4) homogeneous matrix, built apart from the code under test's own composition."""
    M = np.zeros((*T.shape[:-1], 4, 4))
    M[..., :3, :3], M[..., :3, 3], M[..., 3, 3] = lie.quat_matrix(T[..., 3:]), T[..., :3], 1.0
    return M


def assert_same(a: np.ndarray, b: np.ndarray, atol: float = 1e-9) -> None:
    np.testing.assert_allclose(matrix(a), matrix(b), atol=atol)


@given(poses, poses, poses)
def test_composition_is_associative(a, b, c):
    assert_same(lie.compose(lie.compose(a, b), c), lie.compose(a, lie.compose(b, c)))


@given(poses)
def test_identity_and_inverse(T):
    assert_same(lie.compose(T, lie.IDENTITY), T)
    assert_same(lie.compose(lie.IDENTITY, T), T)
    assert_same(lie.compose(T, lie.inverse(T)), lie.IDENTITY)
    assert_same(lie.compose(lie.inverse(T), T), lie.IDENTITY)


@given(poses, poses)
def test_composition_is_the_product_of_matrices(a, b):
    np.testing.assert_allclose(matrix(lie.compose(a, b)), matrix(a) @ matrix(b), atol=1e-9)


@given(poses, poses)
def test_between_leads_from_one_pose_to_the_other(a, b):
    assert_same(lie.compose(a, lie.between(a, b)), b)


@given(rotation_vectors)
def test_rotation_matrices_are_rotations(omega):
    R = lie.quat_matrix(lie.so3_exp(omega))
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(R) == pytest.approx(1.0)


@given(rotation_vectors, positions)
def test_rotate_is_the_matrix_times_the_vector(omega, v):
    q = lie.so3_exp(omega)
    np.testing.assert_allclose(lie.rotate(q, v), lie.quat_matrix(q) @ v, atol=1e-12)


@given(positions, positions)
def test_cross_and_skew_are_the_cross_product(a, b):
    np.testing.assert_allclose(lie.cross(a, b), np.cross(a, b), atol=1e-12)
    np.testing.assert_allclose(lie.skew(a) @ b, np.cross(a, b), atol=1e-12)


@given(twists)
def test_log_undoes_exp(tau):
    np.testing.assert_allclose(lie.log(lie.exp(tau)), tau, rtol=0, atol=1e-9)


@given(poses)
def test_exp_undoes_log(T):
    assert_same(lie.exp(lie.log(T)), T)


@given(axes, positions, st.integers(1, 12))
def test_exp_and_log_hold_up_to_half_a_turn(axis, v, digits):
    omega = axis * (np.pi - 10.0**-digits)
    T = lie.exp(np.concatenate([v, omega]))
    back = lie.log(T)
    assert np.linalg.norm(back[3:]) <= np.pi + 1e-12
    assert_same(lie.exp(back), T, atol=1e-8)
    np.testing.assert_allclose(lie.so3_log(lie.so3_exp(omega)), omega, atol=1e-8)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("axis", [*np.eye(3), *-np.eye(3), np.array([0.0, 0.6, -0.8])])
def test_half_a_turn_exactly_has_a_logarithm_and_warns_of_nothing(axis):
    q = np.array([0.0, *axis])  # qw is zero; a cell whose tool looks straight down has such poses
    np.testing.assert_allclose(lie.so3_log(q), np.pi * axis, atol=1e-12)
    T = lie.pose([0.1, 0.2, 0.3], q)
    assert_same(lie.exp(lie.log(T)), T)


@given(twists, st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
def test_following_a_twist_for_a_while_and_a_while_is_following_it_for_both(tau, a, b):
    assert_same(lie.compose(lie.exp(a * tau), lie.exp(b * tau)), lie.exp((a + b) * tau))


@given(poses)
def test_a_quaternion_and_its_negative_are_one_rotation(T):
    other = np.concatenate([T[:3], -T[3:]])
    np.testing.assert_allclose(lie.log(other), lie.log(T), atol=1e-9)
    np.testing.assert_allclose(lie.quat_normalize(-T[3:]), lie.quat_normalize(T[3:]))


@given(vectors(1.0, 4).filter(lambda q: np.linalg.norm(q) > 1e-3))
def test_normalizing_twice_is_normalizing_once(q):
    once = lie.quat_normalize(q)
    assert np.linalg.norm(once) == pytest.approx(1.0)
    assert once[0] >= 0
    np.testing.assert_allclose(lie.quat_normalize(once), once, atol=1e-15)


def test_a_quarter_turn_on_a_circle_by_hand():
    quarter = (
        np.pi / 2
    )  # forward and turning left, radius 1: ends 1 ahead and 1 to the left, facing left
    T = lie.exp(np.array([quarter, 0.0, 0.0, 0.0, 0.0, quarter]))
    np.testing.assert_allclose(T, [1, 1, 0, np.sqrt(0.5), 0, 0, np.sqrt(0.5)], atol=1e-12)


@given(poses, twists)
def test_the_adjoint_moves_a_twist_to_the_other_side(T, tau):
    left = lie.compose(lie.exp(lie.adjoint(T) @ tau), T)
    assert_same(left, lie.compose(T, lie.exp(tau)), atol=1e-7)


@given(poses)
def test_the_adjoint_is_what_finite_differences_say(T):
    step = 1e-6
    columns = [
        lie.log(lie.compose(lie.compose(T, lie.exp(step * axis)), lie.inverse(T))) / step
        for axis in np.eye(6)
    ]
    np.testing.assert_allclose(lie.adjoint(T), np.stack(columns, -1), atol=2e-5)


@given(poses, poses)
def test_the_adjoint_of_a_product_is_the_product_of_adjoints(a, b):
    product = lie.adjoint(lie.compose(a, b))
    np.testing.assert_allclose(product, lie.adjoint(a) @ lie.adjoint(b), atol=1e-9)


def test_the_linear_block_comes_first_by_hand():
    # b stands 1 m above a. Turning about b's x axis moves a point at a's origin along +y.
    T_a_b = lie.pose([0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0])
    twist = np.array([0.0, 0.0, 0.0, 1.0, 0.0, 0.0])
    np.testing.assert_array_equal(lie.adjoint(T_a_b) @ twist, [0, 1, 0, 1, 0, 0])
    straight = np.array([1.0, 2.0, 3.0, 0.0, 0.0, 0.0])
    np.testing.assert_array_equal(lie.adjoint(T_a_b) @ straight, straight)


def test_rotate_twist_turns_both_halves_by_hand():
    left = lie.from_yaw(np.zeros(3), np.pi / 2)[3:]
    turned = lie.rotate_twist(left, np.array([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]))
    np.testing.assert_allclose(turned, [0, 1, 0, -1, 0, 0], atol=1e-15)


@pytest.mark.parametrize(
    ("function", "sizes"),
    [
        (lie.skew, (3,)), (lie.cross, (3, 3)), (lie.quat_multiply, (4, 4)), (lie.quat_conjugate, (4,)),
        (lie.quat_normalize, (4,)), (lie.rotate, (4, 3)), (lie.so3_exp, (3,)), (lie.so3_log, (4,)),
        (lie.quat_matrix, (4,)), (lie.pose, (3, 4)), (lie.compose, (7, 7)), (lie.inverse, (7,)),
        (lie.between, (7, 7)), (lie.exp, (6,)), (lie.log, (7,)), (lie.adjoint, (7,)),
        (lie.rotate_twist, (4, 6)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_a_batch_gives_what_its_members_give(function, sizes):
    rng = np.random.default_rng(0)
    arguments = [_valid(rng.normal(size=(2, 3, size))) for size in sizes]
    batch = function(*arguments)
    for place in np.ndindex(2, 3):
        np.testing.assert_allclose(
            batch[place], function(*(a[place] for a in arguments)), atol=1e-15
        )


def _valid(x: np.ndarray) -> np.ndarray:
    """With quaternions of unit length."""
    if x.shape[-1] in (4, 7):
        x[..., -4:] /= np.linalg.norm(x[..., -4:], axis=-1, keepdims=True)
    return x


def test_one_pose_broadcasts_against_a_batch():
    poses = lie.exp(np.random.default_rng(0).normal(size=(5, 6)))
    assert lie.compose(lie.IDENTITY, poses).shape == (5, 7)
    assert lie.between(poses, lie.IDENTITY).shape == (5, 7)
    assert lie.from_yaw(np.zeros(3), np.zeros(5)).shape == (5, 7)
