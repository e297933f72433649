"""Every folder in robots/ is tested by existing: its MJCF and its facts tell the same story."""

from importlib import import_module
from pathlib import Path

import mujoco
import numpy as np
import pytest

from robostack.core.robot import Robot

ROOT = Path(__file__).resolve().parent.parent / "robots"
NAMES = sorted(folder.parent.name for folder in ROOT.glob("*/__init__.py"))
WANTED = ("ROBOT", "DH", "DH_CONVENTION", "DH_YAW", "MASS")


@pytest.fixture(scope="module", params=NAMES)
def facts(request):
    module = import_module(f"robostack.robots.{request.param}")
    missing = [name for name in WANTED if not hasattr(module, name)]
    assert not missing, f"robots/{request.param}/__init__.py lacks {missing}; robots/fr3 shows them"
    return module


@pytest.fixture(scope="module")
def robot(facts) -> Robot:
    return facts.ROBOT


@pytest.fixture(scope="module")
def model(robot):
    return mujoco.MjModel.from_xml_path(str(robot.model))


@pytest.fixture
def data(model):
    return mujoco.MjData(model)


def _flange(model, data, q) -> np.ndarray:
    """T_base_flange (4, 4) at joint angles q (n,), by MuJoCo."""
    data.qpos[:] = q
    mujoco.mj_kinematics(model, data)
    T_world = []
    for name in ("base", "flange"):
        T = np.eye(4)
        T[:3, :3] = data.site(name).xmat.reshape(3, 3)
        T[:3, 3] = data.site(name).xpos
        T_world.append(T)
    return np.linalg.inv(T_world[0]) @ T_world[1]


def _turn(axis: str, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    T = np.eye(4)
    i, j = {"x": (1, 2), "z": (0, 1)}[axis]
    T[[i, i, j, j], [i, j, i, j]] = c, -s, s, c
    return T


def _shift(x: float, z: float) -> np.ndarray:
    T = np.eye(4)
    T[0, 3], T[2, 3] = x, z
    return T


def _flange_by_table(facts, q) -> np.ndarray:
    """T_base_flange (4, 4) from the published Denavit-Hartenberg table alone."""
    T = _turn("z", facts.DH_YAW)
    thetas = [*q, *[0.0] * (len(facts.DH) - len(q))]  # rows after the last joint are fixed
    for (a, d, alpha), theta in zip(facts.DH, thetas, strict=True):
        if facts.DH_CONVENTION == "craig":
            T = T @ _turn("x", alpha) @ _shift(a, 0) @ _turn("z", theta) @ _shift(0, d)
        elif facts.DH_CONVENTION == "standard":
            T = T @ _turn("z", theta) @ _shift(0, d) @ _shift(a, 0) @ _turn("x", alpha)
        else:
            pytest.fail(f"DH_CONVENTION {facts.DH_CONVENTION!r}; expected 'craig' or 'standard'")
    return T


def _draws(robot, count=20) -> np.ndarray:
    """Joint angles within limits (count, n), rad; the same ones every time."""
    lower = [joint.lower for joint in robot.joints]
    upper = [joint.upper for joint in robot.joints]
    return np.random.default_rng(0).uniform(lower, upper, (count, len(lower)))


def _jacobian(model, data, q) -> np.ndarray:
    """Flange Jacobian (6, n): m/rad over rad/rad, world axes."""
    data.qpos[:] = q
    mujoco.mj_forward(model, data)
    J = np.zeros((6, model.nv))
    mujoco.mj_jacSite(model, data, J[:3], J[3:], data.site("flange").id)
    return J


def test_there_are_robots():
    assert NAMES


def test_folder_and_name_agree(facts, robot):
    assert facts.__name__.endswith(f".{robot.name}")
    assert robot.model.parent.name == robot.name


def test_joints_and_limits_agree_with_the_model(robot, model):
    names = [model.joint(i).name for i in range(model.njnt)]
    assert names == [joint.name for joint in robot.joints]
    assert model.nq == model.nv == len(robot.joints)
    limits = [(joint.lower, joint.upper) for joint in robot.joints]
    np.testing.assert_allclose(model.jnt_range, limits, atol=1e-6)
    assert model.jnt_limited.all() and model.jnt_actfrclimited.all()
    torques = [(-joint.torque, joint.torque) for joint in robot.joints]
    np.testing.assert_allclose(model.jnt_actfrcrange, torques)


def test_model_is_an_arm_and_nothing_else(model):
    assert (model.nu, model.nkey, model.nlight, model.ncam, model.nsensor, model.nmesh) == (0,) * 6
    assert not (model.geom_bodyid == 0).any(), "the scene brings the floor, not the robot"


def test_robot_never_collides_with_itself(model):
    assert (model.geom_contype == 2).all()
    assert (model.geom_conaffinity == 0).all()
    assert (model.geom_group == 2).all()


def test_base_site_is_the_origin(model, data):
    mujoco.mj_kinematics(model, data)
    np.testing.assert_allclose(data.site("base").xpos, 0, atol=1e-12)
    np.testing.assert_allclose(data.site("base").xmat.reshape(3, 3), np.eye(3), atol=1e-12)


def test_kinematics_follow_the_published_table(facts, robot, model, data):
    for q in _draws(robot):
        np.testing.assert_allclose(_flange(model, data, q), _flange_by_table(facts, q), atol=1e-6)


def test_home_is_away_from_limits(robot):
    for joint in robot.joints:
        assert joint.home - joint.lower >= 0.1 and joint.upper - joint.home >= 0.1, joint.name


def test_home_points_down_in_the_workspace(robot, model, data):
    T = _flange(model, data, robot.home)
    assert np.arccos(np.clip(-T[2, 2], -1, 1)) < 1e-3
    assert T[0, 0] > np.cos(1e-3), "flange x looks along base x"
    assert (T[:3, 3] > robot.safety.workspace_lower).all()
    assert (T[:3, 3] < robot.safety.workspace_upper).all()


def test_home_is_far_from_singularities(robot, model, data):
    assert np.linalg.cond(_jacobian(model, data, robot.home)) < 15


def test_masses_and_inertias_are_physical(facts, model):
    links = slice(1, None)  # body 0 is the world
    assert (model.body_mass[links] > 0).all()
    principal = np.sort(model.body_inertia[links], axis=1)
    assert (principal > 0).all()
    # Rounded tables may miss the triangle inequality by a rounding.
    assert (principal[:, 0] + principal[:, 1] >= principal[:, 2] * (1 - 1e-3)).all()
    assert model.body_mass.sum() == pytest.approx(facts.MASS, rel=0.15)


def test_gravity_is_compensated(robot, model, data):
    for q in _draws(robot):
        mujoco.mj_resetData(model, data)
        data.qpos[:] = q
        mujoco.mj_forward(model, data)
        assert np.abs(data.qacc).max() < 1e-6


def test_impedance_at_home_is_damped(robot, model, data):
    """Damping ratio of every mode of M ddq + (D + J'BJ) dq + J'KJ q = 0 at home."""
    J = _jacobian(model, data, robot.home)
    J = np.kron(np.eye(2), data.site("flange").xmat.reshape(3, 3).T) @ J  # into flange axes
    M = np.zeros((model.nv, model.nv))
    mujoco.mj_fullM(model, data, M)
    K = J.T @ np.diag(robot.impedance.stiffness) @ J
    B = J.T @ np.diag(robot.impedance.damping) @ J + np.diag(model.dof_damping)
    n = model.nv
    A = np.block([[np.zeros((n, n)), np.eye(n)], [-np.linalg.solve(M, K), -np.linalg.solve(M, B)]])
    modes = np.linalg.eigvals(A)
    modes = modes[np.abs(modes) > 1e-3]  # the null space has no spring
    assert (-modes.real / np.abs(modes) > 0.4).all()


@pytest.mark.parametrize("mode", ["compliant", "precise"])
def test_reference_limits_keep_the_spring_below_the_safety_limits(robot, mode):
    wrench = np.multiply(robot.impedance.stiffness, robot.reference_limits[mode])
    assert wrench.shape == (6,) and (wrench > 0).all()
    assert np.linalg.norm(wrench[:3]) < robot.safety.force
    assert np.linalg.norm(wrench[3:]) < robot.safety.torque


def test_every_source_is_told(robot):
    assert {"kinematics", "position limits", "torque limits", "inertia"} <= set(robot.sources)
    assert all(text.strip() for text in robot.sources.values())


def test_readme_tells_published_from_guessed(robot):
    text = (robot.model.parent / "README.md").read_text()
    assert "Published" in text and "guess" in text.lower()
