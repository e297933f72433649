"""Conversions: what goes through a message and its bytes comes back as it was."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

pytestmark = pytest.mark.ros
pytest.importorskip("rclpy")

from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image

from robostack.core.errors import BadValue
from robostack.ros import messages

numbers = st.floats(allow_nan=False, allow_infinity=False)
sixes, sevens = (arrays(float, n, elements=numbers) for n in (6, 7))
short_stamps = st.floats(-10.0, 1e6)
images = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))


def sent(message):
    """The message as it arrives elsewhere."""
    return deserialize_message(serialize_message(message), type(message))


@given(st.integers(0, 2**22 - 1), st.integers(0, 999_999_999))
def test_time_keeps_its_nanoseconds(sec, nanosec):
    time = Time(sec=sec, nanosec=nanosec)
    assert messages.to_time(messages.from_time(time)) == time


@given(st.floats(1.0, 2.0**31 - 1))
def test_stamp_survives_to_the_nanosecond_or_to_its_last_digit(stamp):
    back = messages.from_time(sent(messages.to_header(stamp)).stamp)
    assert abs(back - stamp) <= max(0.5e-9, np.spacing(stamp) / 2)


@given(st.floats(2.0**30, 2.0**31 - 1))
def test_date_survives_exactly(stamp):
    assert messages.from_time(messages.to_time(stamp)) == stamp


def test_stamp_before_zero_is_a_time():
    assert messages.to_time(-0.25) == Time(sec=-1, nanosec=750_000_000)
    assert messages.from_time(messages.to_time(-0.25)) == -0.25


@given(sevens, short_stamps)
def test_pose_comes_back(T, stamp):
    message = sent(messages.to_pose(T, stamp, "base"))
    assert np.array_equal(messages.from_pose(message, "base"), T)
    assert messages.to_time(stamp) == message.header.stamp


def test_quaternion_is_xyzw_on_the_wire():
    turn = messages.to_pose(np.array([1, 2, 3, 0.1, 0.2, 0.3, 0.4]), 0.0, "base").pose.orientation
    assert (turn.w, turn.x, turn.y, turn.z) == (0.1, 0.2, 0.3, 0.4)


@given(sixes)
def test_twist_and_wrench_come_back(six):
    twist, wrench = messages.to_twist(six, 0.0, "base"), messages.to_wrench(six, 0.0, "tool")
    assert np.array_equal(messages.from_twist(sent(twist), "base"), six)
    assert np.array_equal(messages.from_wrench(sent(wrench), "tool"), six)


@given(st.floats(0.0, 1.0))
def test_gripper_comes_back(opening):
    assert messages.from_gripper(sent(messages.to_gripper(opening, 1.0))) == opening
    assert messages.from_opening(sent(messages.to_opening(opening))) == opening


@given(images)
def test_image_comes_back(pixels):
    assert np.array_equal(messages.from_image(sent(messages.to_image(pixels, 0.0, "c"))), pixels)


def test_foreign_image_with_padding_and_bgr_is_read():
    rows = np.arange(2 * 8, dtype=np.uint8).reshape(2, 8)  # 2x2 pixels, two bytes of padding a row
    message = Image(height=2, width=2, step=8, encoding="bgr8", data=rows.tobytes())
    pixels = messages.from_image(message)
    assert pixels[1, 0].tolist() == [10, 9, 8]


@pytest.mark.parametrize("kind", [np.float32, np.int64, np.float64])
def test_every_number_type_arrives_as_its_value(kind):
    """Jazzy sends an int or a float32 in a float64 field as about 0."""
    T = np.array([1, 2, 3, 1, 0, 0, 0], kind)
    message = sent(messages.to_pose(T, kind(7), "base"))
    assert messages.from_pose(message, "base").tolist() == T.tolist()
    assert messages.stamp_of(message) == 7.0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_not_sent(bad):
    T = np.array([bad, 0, 0, 1, 0, 0, 0])
    with pytest.raises(BadValue, match="not finite"):
        messages.to_pose(T, 0.0, "base")
    with pytest.raises(BadValue, match="not finite"):
        messages.to_gripper(bad, 0.0)
    assert np.isnan(messages.to_pose(T * np.nan, 0.0, "base", is_checked=False).pose.position.x)


def test_wrong_frame_is_refused_by_name():
    with pytest.raises(BadValue, match='current_pose is in frame "map", expected "base"'):
        message = PoseStamped()
        message.header.frame_id = "map"
        messages.from_pose(message, "base", "current_pose")


@pytest.mark.parametrize(
    "image", [Image(encoding="mono8"), Image(height=2, width=2, step=6, encoding="rgb8")]
)
def test_image_that_is_not_what_it_says_is_refused(image):
    with pytest.raises(BadValue, match="image"):
        messages.from_image(image)
