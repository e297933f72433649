"""Names, types and quality of service of a cell's topics. Names are relative to the cell's namespace."""

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

# Nodes.
MIRROR, GUARD = "mirror", "guard"

# From the cell.
CURRENT_POSE = "current_pose"  # PoseStamped, base frame
CURRENT_TWIST = "current_twist"  # TwistStamped, base frame
EXTERNAL_WRENCH = "external_wrench"  # WrenchStamped, tool frame: what the world does to the tool
JOINT_STATES = "joint_states"  # JointState
GRIPPER_STATES = "gripper/joint_states"  # JointState, one position, 0 closed .. 1 open
TASK_TARGET = "task/target"  # PoseStamped, base frame: where the cell believes the target to be
TASK_OBJECT = (
    "task/object"  # PoseStamped, base frame: where it sees the loose thing, if there is one
)
CLOCK = "/clock"  # rosgraph Clock; the pace in lockstep

# To the guard, and from it.
POLICY_POSE = "policy/target_pose"  # PoseStamped, base frame; its stamp names the command
POLICY_GRIPPER = (
    "policy/gripper"  # JointState with the same stamp, only where the task has a gripper
)
VERDICT = "guard/verdict"  # Header: the command's stamp, and why it was changed or held
STATE = "guard/state"  # String, latched: idle, policy, hold, stopped, and the reason
DIAGNOSTICS = "/diagnostics"  # DiagnosticArray, 1 Hz in real time; for people, never for stopping
# Bool, true stops. In real time so does silence, once it was heard. Only a person clears it.
EMERGENCY_STOP = "emergency_stop"

# To the controller: published by the guard and by nobody else.
TARGET_POSE = "target_pose"  # PoseStamped, base frame
GRIPPER_COMMAND = "gripper/command"  # Float64MultiArray, one value, 0 closed .. 1 open

# Services, std_srvs/Trigger.
RESET = "mirror/reset"  # answers with what was drawn, as JSON; the seed is the node's parameter
SET_PARAMETERS = "mirror/set_parameters"
BEGIN = "guard/begin"  # the arm is about to be moved by other means: forget the motion so far
STOP = "guard/stop"
CLEAR_FAULT = "guard/clear_fault"  # for a person

NOT_YET = "not connected yet"  # how a service's answer starts when asking again helps


def image(camera: str) -> str:
    """Image, rgb8; the tree of realsense2_camera."""
    return f"/camera/{camera}/color/image_raw"


def camera_info(camera: str) -> str:
    return f"/camera/{camera}/color/camera_info"


def camera_frame(camera: str) -> str:
    return f"{camera}_color_optical_frame"


def _qos(depth: int, reliability: ReliabilityPolicy, durability=DurabilityPolicy.VOLATILE):
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=reliability,
        durability=durability,
    )


# Publishers of states and commands: reliable, so that every subscriber matches; only the newest counts.
NEWEST = _qos(1, ReliabilityPolicy.RELIABLE)
# Subscribers of states in real time: a late sample is worth nothing, and every publisher matches.
SENSOR = _qos(1, ReliabilityPolicy.BEST_EFFORT)
# Lockstep, both ends: nothing may be lost, or time would stand still.
EVERY = _qos(20, ReliabilityPolicy.RELIABLE)
# Verdicts: a reason that is overtaken by the next one still belongs into the log.
REASONS = _qos(10, ReliabilityPolicy.RELIABLE)
# The guard's state: who comes late must see it too.
LATCHED = _qos(1, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
# The stop: matches every publisher, also those with sensor quality.
STOPS = _qos(5, ReliabilityPolicy.BEST_EFFORT)


def states(lockstep: bool) -> QoSProfile:
    """For who listens to the cell."""
    return EVERY if lockstep else SENSOR


def commands(lockstep: bool) -> QoSProfile:
    """For who sends, and for who listens to commands."""
    return EVERY if lockstep else NEWEST
