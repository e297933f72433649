"""Franka Research 3, without a hand: facts, limits and where each was published."""

from math import pi
from pathlib import Path

from robostack.core.robot import Impedance, Joint, Robot, SafetyLimits

FCI = "Franka FCI docs, robot_specifications (frankarobotics.github.io/docs)"
DESCRIPTION = "franka_description 1ddff9b, robots/fr3/"

# Denavit-Hartenberg, Craig's convention: (a m, d m, alpha rad) per joint, then flange. FCI docs.
# tests/test_every_robot.py holds robot.xml against it.
DH_CONVENTION = "craig"
DH = (
    (0.0, 0.333, 0.0),
    (0.0, 0.0, -pi / 2),
    (0.0, 0.316, pi / 2),
    (0.0825, 0.0, pi / 2),
    (-0.0825, 0.384, -pi / 2),
    (0.0, 0.0, pi / 2),
    (0.088, 0.0, pi / 2),
    (0.0, 0.107, 0.0),
)
DH_YAW = 0.0  # rad, base frame to frame 0 of the table, about z
MASS = 17.8  # kg, whole arm, FR3 datasheet

ROBOT = Robot(
    name="fr3",
    title="Franka Research 3",
    base_frame="base",
    tool_frame="fr3_hand_tcp",
    # lower, upper rad; velocity rad/s; torque N m: franka_description. The newer FCI docs allow
    # 0.03 to 0.16 rad more on all joints but the third; the tighter set is valid on any firmware.
    joints=(
        Joint("fr3_joint1", -2.7437, 2.7437, 2.62, 87.0, 0.0),
        Joint("fr3_joint2", -1.7837, 1.7837, 2.62, 87.0, -0.1879),
        Joint("fr3_joint3", -2.9007, 2.9007, 2.62, 87.0, 0.0),
        Joint("fr3_joint4", -3.0421, -0.1518, 2.62, 87.0, -2.3126),
        Joint("fr3_joint5", -2.8065, 2.8065, 5.26, 12.0, 0.0),
        Joint("fr3_joint6", 0.5445, 4.5169, 4.18, 12.0, 2.1248),
        Joint("fr3_joint7", -3.0159, 3.0159, 5.26, 12.0, 0.0),
    ),
    # GUESS, not measured: stiff enough to place a part, soft enough to touch. The least damped mode
    # at home has a damping ratio of 0.45. More damping costs speed: drag is a lag, and
    # reference_limits bound the lag.
    impedance=Impedance(
        stiffness=(1000.0, 1000.0, 1000.0, 50.0, 50.0, 50.0),
        damping=(80.0, 80.0, 80.0, 4.0, 4.0, 4.0),
    ),
    # Times stiffness: 12 N and 5 N m per axis, or 30 N and 6.5 N m. The norm over three axes stays
    # below the safety limits.
    reference_limits={
        "compliant": (0.012, 0.012, 0.012, 0.10, 0.10, 0.10),
        "precise": (0.03, 0.03, 0.03, 0.13, 0.13, 0.13),
    },
    # On steps of the reference. Published: 3.0 m/s, 2.5 rad/s, 9.0 m/s^2, 17.0 rad/s^2 (FCI docs).
    safety=SafetyLimits(
        workspace_lower=(0.30, -0.25, 0.00),  # a table top in front of the arm
        workspace_upper=(0.70, 0.25, 0.60),
        linear_speed=0.35,
        angular_speed=1.5,
        linear_acceleration=8.0,
        angular_acceleration=17.0,
        force=60.0,  # GUESS: twice what the "precise" spring pushes with along one axis
        torque=12.0,  # the wrist joints' own limit
    ),
    model=Path(__file__).parent / "robot.xml",
    sources={
        "kinematics": f"{FCI}, Denavit-Hartenberg table, Craig's convention",
        "position limits": f"{DESCRIPTION}joint_limits.yaml",
        "velocity limits": f"{DESCRIPTION}joint_limits.yaml; same in {FCI}, "
        "which shrinks them near the position limits",
        "torque limits": f"{DESCRIPTION}joint_limits.yaml; same in {FCI}",
        "inertia": "franka_description 14c5d63, robots/fr3/inertials.yaml, identified by the maker",
        "total mass": "FR3 datasheet, about 17.8 kg (from memory); the links sum to 17.89 kg",
        "end-effector limits": f"{FCI}, Cartesian-space limits; ours lie within them",
        "armature": "GUESS, not measured: 0.1 kg m^2 on every joint",
        "joint damping": "GUESS, not measured: 1 N m s/rad, for the null space",
        "impedance": "GUESS, not measured",
        "force limit": "GUESS, not measured",
        "shapes": "GUESS, not measured: primitives by eye",
    },
)
