"""Messages to numpy and back. The only conversion code.

Jazzy checks no types: an int or a float32 in a float64 field arrives as about 0. So every number goes through float()
or int() here. Quaternions are xyzw in messages and wxyz everywhere else.
"""

import array
import math
from collections.abc import Mapping

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped, TwistStamped, WrenchStamped
from numpy.typing import ArrayLike
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Bool, Float64MultiArray, Header, String

from robostack.core.errors import BadValue

CHANNELS = {"rgb8": 3, "bgr8": 3}
GRIPPER = "gripper"  # joint name of a gripper's opening, 0 closed .. 1 open


def nanoseconds(stamp: float) -> int:
    """A stamp in s as whole ns. The parts are split first: 1e9 times a date would lose 256 ns."""
    second = math.floor(stamp)
    return second * 1_000_000_000 + round((stamp - second) * 1e9)


def to_time(stamp: float) -> Time:
    second, nano = divmod(nanoseconds(stamp), 1_000_000_000)
    return Time(sec=second, nanosec=nano)


def from_time(time: Time) -> float:
    """s. Exact to the ns up to 48 days, to 0.24 us for dates: that is all a double holds."""
    return (time.sec * 1_000_000_000 + time.nanosec) / 1_000_000_000


def stamp_of(message) -> float:
    """s, from the header."""
    return from_time(message.header.stamp)


def to_header(stamp: float, frame: str = "") -> Header:
    return Header(stamp=to_time(stamp), frame_id=frame)


def _finite(values: ArrayLike, what: str) -> list[float]:
    numbers = np.asarray(values, float).tolist()
    if not all(map(math.isfinite, numbers)):
        raise BadValue(f"{what} is not finite: {numbers}")
    return numbers


def _require_frame(message, frame: str, what: str) -> None:
    if message.header.frame_id != frame:
        raise BadValue(f'{what} is in frame "{message.header.frame_id}", expected "{frame}"')


def to_pose(T: np.ndarray, stamp: float, frame: str, is_checked: bool = True) -> PoseStamped:
    """A pose (7,). Unchecked only on the way to the guard, whose answer to NaN is a hold with a reason."""
    x, y, z, qw, qx, qy, qz = _finite(T, "pose") if is_checked else np.asarray(T, float).tolist()
    message = PoseStamped(header=to_header(stamp, frame))
    place, turn = message.pose.position, message.pose.orientation
    place.x, place.y, place.z = x, y, z
    turn.x, turn.y, turn.z, turn.w = qx, qy, qz, qw
    return message


def from_pose(message: PoseStamped, frame: str, what: str = "pose") -> np.ndarray:
    """(7,), not necessarily finite."""
    _require_frame(message, frame, what)
    place, turn = message.pose.position, message.pose.orientation
    return np.array([place.x, place.y, place.z, turn.w, turn.x, turn.y, turn.z])


def to_twist(twist: np.ndarray, stamp: float, frame: str) -> TwistStamped:
    message = TwistStamped(header=to_header(stamp, frame))
    _fill(message.twist.linear, message.twist.angular, _finite(twist, "twist"))
    return message


def from_twist(message: TwistStamped, frame: str) -> np.ndarray:
    _require_frame(message, frame, "twist")
    return _vectors(message.twist.linear, message.twist.angular)


def to_wrench(wrench: np.ndarray, stamp: float, frame: str) -> WrenchStamped:
    message = WrenchStamped(header=to_header(stamp, frame))
    _fill(message.wrench.force, message.wrench.torque, _finite(wrench, "wrench"))
    return message


def from_wrench(message: WrenchStamped, frame: str) -> np.ndarray:
    _require_frame(message, frame, "wrench")
    return _vectors(message.wrench.force, message.wrench.torque)


def _fill(first, second, numbers: list[float]) -> None:
    first.x, first.y, first.z, second.x, second.y, second.z = numbers


def _vectors(first, second) -> np.ndarray:
    return np.array([first.x, first.y, first.z, second.x, second.y, second.z])


def to_joints(
    names: list[str], position: np.ndarray, stamp: float, velocity: ArrayLike = ()
) -> JointState:
    return JointState(
        header=to_header(stamp),
        name=list(names),
        position=_finite(position, "joint positions"),
        velocity=_finite(velocity, "joint velocities"),
    )


def to_gripper(opening: float, stamp: float, is_checked: bool = True) -> JointState:
    """0 closed .. 1 open. Unchecked only on the way to the guard."""
    if is_checked:
        _finite(np.array([opening]), "gripper")
    return JointState(header=to_header(stamp), name=[GRIPPER], position=[float(opening)])


def from_gripper(message: JointState) -> float:
    """0 closed .. 1 open, not necessarily finite."""
    if len(message.position) != 1:
        raise BadValue(f"the gripper's message has {len(message.position)} positions, expected 1")
    return float(message.position[0])


def to_opening(opening: float) -> Float64MultiArray:
    return Float64MultiArray(data=_finite(np.array([opening]), "gripper"))


def from_opening(message: Float64MultiArray) -> float:
    """0 closed .. 1 open."""
    if len(message.data) != 1 or not 0.0 <= message.data[0] <= 1.0:
        values = ", ".join(f"{value:g}" for value in message.data[:3])
        raise BadValue(f"gripper/command is [{values}], expected one value from 0 to 1")
    return float(message.data[0])


def to_clock(stamp: float) -> Clock:
    return Clock(clock=to_time(stamp))


def to_text(text: str) -> String:
    return String(data=str(text))


def to_flag(value: bool) -> Bool:
    return Bool(data=bool(value))


def to_diagnostics(
    stamp: float, name: str, hardware: str, level: int, summary: str, values: Mapping[str, str]
) -> DiagnosticArray:
    """One status. `level`: 0 ok, 1 warning, 2 error."""
    status = DiagnosticStatus(
        level=bytes([level]),
        name=name,
        message=summary,
        hardware_id=hardware,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
    return DiagnosticArray(header=to_header(stamp), status=[status])


def to_image(pixels: np.ndarray, stamp: float, frame: str) -> Image:
    """uint8 (H, W, 3) RGB. Through array.array: any other way to fill `data` takes up to 500 times as long."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise BadValue(f"image is {pixels.dtype} {pixels.shape}, expected uint8 (H, W, 3)")
    height, width, _ = map(int, pixels.shape)
    data = array.array("B")
    data.frombytes(pixels.tobytes())
    message = Image(header=to_header(stamp, frame), height=height, width=width, encoding="rgb8")
    message.step, message.data = width * 3, data
    return message


def from_image(message: Image) -> np.ndarray:
    """uint8 (H, W, 3) RGB; a view into the message where it is rgb8."""
    if message.encoding not in CHANNELS:
        raise BadValue(f'image is "{message.encoding}", expected one of {", ".join(CHANNELS)}')
    height, width, step = message.height, message.width, message.step
    if step < width * 3 or len(message.data) < height * step:
        raise BadValue(f"image of {width}x{height} has step {step} and {len(message.data)} bytes")
    rows = np.frombuffer(message.data, np.uint8)[: height * step].reshape(height, step)
    pixels = rows[:, : width * 3].reshape(height, width, 3)
    return pixels[..., ::-1] if message.encoding == "bgr8" else pixels


def to_camera_info(
    pixels: np.ndarray, stamp: float, frame: str, K: np.ndarray | None = None
) -> CameraInfo:
    """K is (3, 3) in pixels; without one it stays zero, which says "not calibrated"."""
    height, width = map(int, pixels.shape[:2])
    message = CameraInfo(header=to_header(stamp, frame), height=height, width=width)
    message.distortion_model = "plumb_bob"
    if K is not None:
        k = _finite(np.ravel(K), "camera matrix")
        message.d, message.k = [0.0] * 5, k
        message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
        message.p = [*k[0:3], 0.0, *k[3:6], 0.0, *k[6:9], 0.0]
    return message
