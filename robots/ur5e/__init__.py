"""Universal Robots UR5e: facts, limits and where each was published."""

from math import pi, tau
from pathlib import Path

from robostack.core.robot import Impedance, Joint, Robot, SafetyLimits

DESCRIPTION = "Universal_Robots_ROS2_Description config/ur5e/"
ARTICLE = "UR article 'DH parameters for calculations of kinematics and dynamics'"

# Denavit-Hartenberg, standard convention: (a m, d m, alpha rad) per joint. UR article.
# tests/test_every_robot.py holds robot.xml against it.
DH_CONVENTION = "standard"
DH = (
    (0.0, 0.1625, pi / 2),
    (-0.425, 0.0, 0.0),
    (-0.3922, 0.0, 0.0),
    (0.0, 0.1333, pi / 2),
    (0.0, 0.0997, -pi / 2),
    (0.0, 0.0996, 0.0),
)
DH_YAW = pi  # rad, base_link (REP-103) to the controller's `base` (frame 0 of the table), about z
MASS = 20.6  # kg, whole arm with cable, UR5e datasheet

ROBOT = Robot(
    name="ur5e",
    title="Universal Robots UR5e",
    base_frame="base_link",
    tool_frame="tool0",
    # lower, upper rad; velocity rad/s; torque N m: joint_limits.yaml. The elbow's drive could turn
    # 360 deg, but the upper arm is in the way: 180 deg there and here.
    joints=(
        Joint("shoulder_pan_joint", -tau, tau, pi, 150.0, -0.2814),
        Joint("shoulder_lift_joint", -tau, tau, pi, 150.0, -1.6296),
        Joint("elbow_joint", -pi, pi, pi, 150.0, 1.8017),
        Joint("wrist_1_joint", -tau, tau, pi, 28.0, -1.7429),
        Joint("wrist_2_joint", -tau, tau, pi, 28.0, -1.5708),
        Joint("wrist_3_joint", -tau, tau, pi, 28.0, -1.8522),
    ),
    # GUESS, not measured: as on the FR3, a little more damping. The least damped mode at home has a
    # damping ratio of 0.52. More damping costs speed: drag is a lag, and reference_limits bound it.
    impedance=Impedance(
        stiffness=(1000.0, 1000.0, 1000.0, 50.0, 50.0, 50.0),
        damping=(100.0, 100.0, 100.0, 5.0, 5.0, 5.0),
    ),
    # Times stiffness: 12 N and 5 N m per axis, or 28 N and 5.5 N m. The norm over three axes stays
    # below the safety limits.
    reference_limits={
        "compliant": (0.012, 0.012, 0.012, 0.10, 0.10, 0.10),
        "precise": (0.028, 0.028, 0.028, 0.11, 0.11, 0.11),
    },
    # On steps of the reference. UR publishes no tool acceleration limits: as on the FR3, GUESS.
    safety=SafetyLimits(
        workspace_lower=(0.30, -0.25, 0.00),  # a table top in front of the arm
        workspace_upper=(0.70, 0.25, 0.60),
        linear_speed=0.35,  # UR5e datasheet: typical tool speed 1 m/s (from memory)
        angular_speed=1.5,  # half the joints' 180 deg/s
        linear_acceleration=8.0,
        angular_acceleration=17.0,
        force=50.0,  # range of the sensor in the tool flange: beyond it the robot is blind
        torque=10.0,  # range of the sensor in the tool flange
    ),
    model=Path(__file__).parent / "robot.xml",
    sources={
        "kinematics": f"{ARTICLE}; same in {DESCRIPTION}default_kinematics.yaml. "
        "Each arm has its own calibration, millimetres off: read it from the robot",
        "position limits": f"{DESCRIPTION}joint_limits.yaml 1c32d8f, from the UR5e manual 5.8",
        "velocity limits": f"{DESCRIPTION}joint_limits.yaml 1c32d8f, from the UR5e manual 5.8",
        "torque limits": f"{DESCRIPTION}joint_limits.yaml 1c32d8f, from the UR article on torques",
        "inertia": f"{DESCRIPTION}physical_parameters.yaml 3426d67; masses also in the {ARTICLE}",
        "total mass": "UR5e datasheet, 20.6 kg (from memory); the links sum to 21.7 kg, of which "
        "4.0 kg of base 'might be incorrect'",
        "flange sensor range": "UR5e datasheet, 50 N and 10 N m (from memory)",
        "armature": "GUESS, not measured: 0.1 kg m^2 on every joint",
        "joint damping": "GUESS, not measured: 1 N m s/rad",
        "impedance": "GUESS, not measured",
        "end-effector limits": "GUESS, not measured: as on the FR3",
        "shapes": "GUESS, not measured: primitives by eye",
    },
)
