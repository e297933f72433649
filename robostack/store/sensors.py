"""A plant's samples as ROS 2 messages, the way they stand in episode files: what Foxglove and `ros2 bag` open.

Serialised by rosbags, which needs no ROS 2. Names are those of the cell's own topics.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from rosbags.typesys import Stores, get_typestore

from robostack.core.types import Sample, Samples

SCHEMA_ENCODING, ENCODING = "ros2msg", "cdr"
TEXT = "std_msgs/msg/String"
TOOL_POSE = "/current_pose"
_IMAGE = "/camera/{}/color/image_raw"
_PIXELS = 3  # channels of rgb8


class _Topic(NamedTuple):
    name: str
    kind: str
    frame: str


_TOPICS = {
    "tool_pose": _Topic(TOOL_POSE, "geometry_msgs/msg/PoseStamped", "base"),
    "tool_twist": _Topic("/current_twist", "geometry_msgs/msg/TwistStamped", "base"),
    "wrench": _Topic("/external_wrench", "geometry_msgs/msg/WrenchStamped", "tool"),
    "target": _Topic("/task/target", "geometry_msgs/msg/PoseStamped", "base"),
    "object": _Topic("/task/object", "geometry_msgs/msg/PoseStamped", "base"),
    "reference": _Topic("/target_pose", "geometry_msgs/msg/PoseStamped", "base"),
    "gripper": _Topic("/gripper/joint_states", "sensor_msgs/msg/JointState", ""),
    "joint_position": _Topic("/joint_states", "sensor_msgs/msg/JointState", ""),
}


class Message(NamedTuple):
    """One sample, ready to be written."""

    topic: str
    stamp: float  # s, plant clock, when it was measured
    data: memoryview


def topic_of_camera(name: str) -> str:
    return _IMAGE.format(name)


def kinds(samples: Samples) -> dict[str, str]:
    """Message type by topic, of the samples that files keep."""
    return {
        topic.name: topic.kind
        for name, sample in samples.items()
        if (topic := _topic(name, sample)) is not None
    }


@cache
def definition(kind: str) -> str:
    """The .msg text of a type with everything it uses, as MCAP wants it."""
    return _types().generate_msgdef(kind, ros_version=2)[0]


def messages(samples: Samples) -> Iterator[Message]:
    """The samples that files keep, serialised."""
    for name, sample in samples.items():
        if (topic := _topic(name, sample)) is not None:
            content = _content(name, topic, sample, samples)
            data = _types().serialize_cdr(content, topic.kind)
            yield Message(topic.name, sample.stamp, data)


def to_text(text: str) -> bytes:
    """A serialised String."""
    return bytes(_types().serialize_cdr(_types().types[TEXT](text), TEXT))


def from_text(data: bytes) -> bytes:
    """The UTF-8 in a serialised String of ours: little-endian, its length, a zero at the end. Raises ValueError."""
    if data[:4] != b"\0\1\0\0" or int.from_bytes(data[4:8], "little") != len(data) - 8 or data[-1]:
        raise ValueError("a text is not serialised as expected")
    return data[8:-1]


def picture(data: bytes | memoryview) -> np.ndarray:
    """(H, W, 3) uint8 of a serialised Image, a view. Raises ValueError for one that is not ours."""
    try:
        image: Any = _types().deserialize_cdr(data, "sensor_msgs/msg/Image")
    except (
        Exception
    ) as error:  # rosbags raises what the damage leads to: struct.error, IndexError, …
        raise ValueError(f"a picture cannot be read: {error}") from None
    if image.encoding != "rgb8" or image.step != image.width * _PIXELS:
        raise ValueError(f'a picture is "{image.encoding}" with step {image.step}, expected rgb8')
    return image.data.reshape(image.height, image.width, _PIXELS)


def pose(data: bytes | memoryview) -> np.ndarray:
    """(7,) of a serialised PoseStamped, as messages() wrote it. Raises ValueError for one that is not ours."""
    try:
        found: Any = _types().deserialize_cdr(data, "geometry_msgs/msg/PoseStamped")
    except Exception as error:  # as above
        raise ValueError(f"a pose cannot be read: {error}") from None
    p, q = found.pose.position, found.pose.orientation
    return np.array([p.x, p.y, p.z, q.w, q.x, q.y, q.z])


@cache
def _types():
    return get_typestore(Stores.ROS2_JAZZY)


def _topic(name: str, sample: Sample) -> _Topic | None:
    if isinstance(sample.value, np.ndarray) and sample.value.ndim == _PIXELS:
        frame = f"{name}_color_optical_frame"
        return _Topic(topic_of_camera(name), "sensor_msgs/msg/Image", frame)
    return _TOPICS.get(name)


def _content(name: str, topic: _Topic, sample: Sample, samples: Samples) -> Any:
    types, value = _types().types, sample.value
    nanoseconds = round(sample.stamp * 1e9)
    time = types["builtin_interfaces/msg/Time"](*divmod(nanoseconds, 1_000_000_000))
    header = types["std_msgs/msg/Header"](time, topic.frame)

    def vector(numbers: np.ndarray) -> Any:
        return types["geometry_msgs/msg/Vector3"](*map(float, numbers))

    def floats(*numbers: float) -> np.ndarray:
        return np.array(numbers, np.float64)

    make = types[topic.kind]
    if topic.kind.endswith("Image"):
        height, width, _ = value.shape
        pixels = np.ascontiguousarray(value, np.uint8).reshape(-1)
        return make(header, height, width, "rgb8", 0, width * _PIXELS, pixels)
    if topic.kind.endswith("PoseStamped"):
        x, y, z, qw, qx, qy, qz = map(float, value)
        place = types["geometry_msgs/msg/Point"](x, y, z)
        turn = types["geometry_msgs/msg/Quaternion"](qx, qy, qz, qw)
        return make(header, types["geometry_msgs/msg/Pose"](place, turn))
    if topic.kind.endswith("TwistStamped"):
        return make(header, types["geometry_msgs/msg/Twist"](vector(value[:3]), vector(value[3:])))
    if topic.kind.endswith("WrenchStamped"):
        return make(header, types["geometry_msgs/msg/Wrench"](vector(value[:3]), vector(value[3:])))
    if name == "gripper":
        return make(header, ["gripper"], floats(*value), floats(), floats())
    names = [f"joint_{number}" for number in range(1, len(value) + 1)]
    velocity = samples.get("joint_velocity")
    speeds = floats(*velocity.value) if velocity is not None else floats()
    return make(header, names, floats(*value), speeds, floats())
