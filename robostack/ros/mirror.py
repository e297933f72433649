"""A simulated cell on a driver's topics: what listens to it cannot tell it from the robot."""

# First, since it says what is missing where there is no ROS 2.
from robostack.ros import runtime

# isort: split
import json
from typing import Any, Protocol, runtime_checkable

import numpy as np
from geometry_msgs.msg import PoseStamped, TwistStamped, WrenchStamped
from rcl_interfaces.msg import IntegerRange, ParameterDescriptor
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from robostack.core import clock
from robostack.core.errors import BadValue, RobostackError
from robostack.core.plant import Cell
from robostack.core.robot import Robot
from robostack.core.task import Task
from robostack.core.types import Command, Sample
from robostack.ros import messages, topics
from robostack.ros.diagnostics import OK, WARN, Diagnostics

MOST_OWED_S = 0.1  # s that a late mirror catches up with at once; beyond, the cell slept too
EARLY = 1e-6  # s; stamps this close are the same moment
SEED = ParameterDescriptor(
    description="what chance draws at the next reset",
    integer_range=[IntegerRange(from_value=0, to_value=2**62, step=1)],
)


@runtime_checkable
class Eyes(Protocol):
    """What a cell with cameras can do beside a Cell."""

    @property
    def cameras(self) -> tuple[str, ...]: ...

    def picture(self, name: str) -> np.ndarray:
        """uint8 (H, W, 3), as the camera sees the cell now."""
        ...

    def intrinsics(self, name: str) -> np.ndarray:
        """K (3, 3), px."""
        ...


class MirrorNode:
    """Owns a cell and serves it. Everything happens in the loop's thread, rendering too.

    In lockstep each target moves time on by one control period. In real time the cell runs at `rate` (Hz) on the
    system's clock and follows the newest target. A cell with Eyes gives one picture of each camera a control period.
    """

    def __init__(
        self,
        session: runtime.Session,
        cell: Cell,
        task: Task,
        robot: Robot,
        lockstep: bool,
        rate: float = 100.0,
    ):
        self.session, self._cell, self._task, self._robot = session, cell, task, robot
        self._is_lockstep, self._rate = lockstep, rate
        self._eyes = cell if isinstance(cell, Eyes) else None
        self._cameras = self._eyes.cameras if self._eyes else ()
        self._target: PoseStamped | None = None  # newest that the cell has not got yet
        self._opening: float | None = None  # newest; in lockstep None until it came
        self._reset_at = 0.0  # s, system clock
        self._started, self._done = 0.0, 0  # s, steady clock, of the reset; ticks since
        self._shown = 0  # control periods since the reset at the newest pictures
        # For /diagnostics: ticks done, ticks slept through, targets; s, steady clock, of the newest target.
        self._ticks, self._slept, self._targets, self._target_at = 0, 0, 0, -np.inf
        self._joints = [joint.name for joint in robot.joints]
        self._out: dict[str, Any] = {}
        self._connect()
        self._require_rate()
        self._reset(self._seed)

    def _connect(self) -> None:
        node, commands = self.session.node, topics.commands(self._is_lockstep)
        self._diagnostics = (
            None if self._is_lockstep else Diagnostics(self.session, self._robot.name)
        )
        for kind, topic in (
            (PoseStamped, topics.CURRENT_POSE),
            (TwistStamped, topics.CURRENT_TWIST),
            (WrenchStamped, topics.EXTERNAL_WRENCH),
            (PoseStamped, topics.TASK_TARGET),
            *([(PoseStamped, topics.TASK_OBJECT)] if self._task.object else []),
            (JointState, topics.JOINT_STATES),
            (JointState, topics.GRIPPER_STATES),
            (Clock, topics.CLOCK),
            *((Image, topics.image(camera)) for camera in self._cameras),
            *((CameraInfo, topics.camera_info(camera)) for camera in self._cameras),
        ):
            if topic != topics.GRIPPER_STATES or self._task.gripper:
                self._out[topic] = node.create_publisher(kind, topic, commands)
        self._target_in = self.session.subscribe(
            PoseStamped, topics.TARGET_POSE, commands, self._take_target
        )
        if self._task.gripper:
            self.session.subscribe(
                Float64MultiArray, topics.GRIPPER_COMMAND, commands, self._take_gripper
            )
        node.declare_parameter("seed", 0, SEED)
        # Last: discovery keeps the order, so an answer proves that every topic is connected.
        node.create_service(Trigger, topics.RESET, self._answer_reset)

    def run(self) -> None:
        """Works until SIGINT or SIGTERM."""
        self.session.serve()
        if self._is_lockstep:
            self.session.loop()
        else:
            self.session.loop(self._tick, 1.0 / self._rate)

    def close(self) -> None:
        self.session.close()
        self._cell.close()

    def _require_rate(self) -> None:
        """Raises BadValue when the cell cannot move by one tick. It is moved by one: a reset follows."""
        if self._is_lockstep:
            return
        self._cell.reset(self._seed)
        try:
            self._cell.advance(1.0 / self._rate)
        except BadValue as error:
            raise BadValue(f"parameter rate is {self._rate} Hz: {error}") from error

    # Messages in.

    def _take_target(self, message: PoseStamped) -> None:
        stamp = messages.stamp_of(message)
        # Sent before a reset, arrived after it: in lockstep from the future, in real time from the past.
        if (stamp > self._cell.now + EARLY) if self._is_lockstep else (stamp < self._reset_at):
            return
        self._target, self._target_at = message, clock.now()
        self._targets += 1
        self._step_if_complete()

    def _take_gripper(self, message: Float64MultiArray) -> None:
        try:
            self._opening = messages.from_opening(message)
        except BadValue as error:
            self._opening = np.nan  # refused with the target it belongs to
            self._complain(error)
        self._step_if_complete()

    def _step_if_complete(self) -> None:
        """Lockstep: one control period, once the whole command is there."""
        needs_opening = self._task.gripper and self._opening is None
        if not self._is_lockstep or self._target is None or needs_opening:
            return
        if self._follow():
            self._cell.advance(self._task.period)
            self._publish()
        self._opening = None

    def _follow(self) -> bool:
        """Hands the newest target to the cell, unless it is not finite."""
        message, self._target = self._target, None
        assert message is not None
        opening = 0.0 if self._opening is None else self._opening
        try:
            place = messages.from_pose(message, self._robot.base_frame, topics.TARGET_POSE)
            if not np.isfinite([*place, opening]).all():
                raise BadValue(f"target_pose {place} with gripper {opening} is not a command")
        except BadValue as error:
            self._complain(error)
            return False
        self._cell.follow(Command(messages.stamp_of(message), place, opening))
        return True

    def _complain(self, error: BadValue) -> None:
        self.session.node.get_logger().error(f"refused: {error}", throttle_duration_sec=1.0)

    # Time.

    def _tick(self) -> None:
        """Real time: lets as much of the cell's time pass as is due."""
        if self._target is not None:
            self._follow()
        due = int((clock.now() - self._started) * self._rate)
        slept = max(0, due - int(MOST_OWED_S * self._rate) - self._done)
        self._done += slept
        self._slept += slept
        while self._done < due:
            self._cell.advance(1.0 / self._rate)
            self._done += 1
        # By periods gone by, not by this tick's number: a skipped tick must not cost a picture.
        periods = int(due / (self._rate * self._task.period) + EARLY)
        self._publish(has_images=periods != self._shown)
        self._shown = periods
        self._ticks += 1
        self._report()

    def _report(self) -> None:
        """Once a second."""
        if self._diagnostics is None or not self._diagnostics.is_due:
            return
        slept, self._slept = self._slept / self._rate, 0
        self._diagnostics.tell(
            WARN if slept else OK,
            f"the cell stood still for {slept:.2f} s: this machine is too busy"
            if slept
            else "runs",
            {"tick": self._ticks, "target": self._targets},
            {"age of target, s": f"{clock.now() - self._target_at:.3f}"},
        )

    # Messages out.

    def _publish(self, has_images: bool = True) -> None:
        """Everything the cell measures; the clock last."""
        samples = self._cell.read()
        # In real time a sample is as old as the cell says, on the system's clock.
        zero = 0.0 if self._is_lockstep else runtime.system_now() - self._cell.now
        base, out = self._robot.base_frame, self._out

        def at(sample: Sample) -> float:
            return zero + sample.stamp

        pose, twist = samples["tool_pose"], samples["tool_twist"]
        wrench, target = samples["wrench"], samples["target"]
        out[topics.CURRENT_POSE].publish(messages.to_pose(pose.value, at(pose), base))
        out[topics.CURRENT_TWIST].publish(messages.to_twist(twist.value, at(twist), base))
        out[topics.EXTERNAL_WRENCH].publish(
            messages.to_wrench(wrench.value, at(wrench), self._robot.tool_frame)
        )
        out[topics.TASK_TARGET].publish(messages.to_pose(target.value, at(target), base))
        if self._task.object:
            seen = samples["object"]
            out[topics.TASK_OBJECT].publish(messages.to_pose(seen.value, at(seen), base))
        if self._task.gripper:
            gripper = samples["gripper"]
            out[topics.GRIPPER_STATES].publish(messages.to_gripper(gripper.value[0], at(gripper)))
        if "joint_position" in samples and self._is_wanted(topics.JOINT_STATES):
            joints, speed = samples["joint_position"], samples["joint_velocity"].value
            out[topics.JOINT_STATES].publish(
                messages.to_joints(self._joints, joints.value, at(joints), speed)
            )
        if self._eyes and has_images:
            self._publish_pictures(self._eyes, zero + self._cell.now)
        out[topics.CLOCK].publish(messages.to_clock(zero + self._cell.now))

    def _publish_pictures(self, eyes: Eyes, stamp: float) -> None:
        """Of the cameras that somebody looks through: rendering is most of a tick's work."""
        for camera in self._cameras:
            image, info = topics.image(camera), topics.camera_info(camera)
            if not self._is_wanted(image) and not self._is_wanted(info):
                continue
            pixels, frame = eyes.picture(camera), topics.camera_frame(camera)
            self._out[image].publish(messages.to_image(pixels, stamp, frame))
            K = eyes.intrinsics(camera)
            self._out[info].publish(messages.to_camera_info(pixels, stamp, frame, K))

    def _is_wanted(self, topic: str) -> bool:
        return self._out[topic].get_subscription_count() > 0

    # The reset.

    @property
    def _seed(self) -> int:
        return int(self.session.node.get_parameter("seed").value or 0)

    def _reset(self, seed: int) -> dict[str, Any]:
        """What was drawn and, beside it, what the controller follows now: only the cell knows that exactly."""
        drawn = self._cell.reset(seed)
        self._target = self._opening = None
        runtime.read_date()
        self._reset_at, self._started, self._done = runtime.system_now(), clock.now(), 0
        self._shown = 0
        self._publish()
        return {**drawn, "reference": self._cell.read()["reference"].value.tolist()}

    def _answer_reset(self, request: Trigger.Request, response: Trigger.Response):
        if self._is_lockstep and not self._target_in.get_publisher_count():
            response.message = (
                f"{topics.NOT_YET}: nobody publishes target_pose; is node guard alive?"
            )
            return response
        try:
            # All of it in the loop's thread: the cell may render, and OpenGL belongs to one thread.
            response.message = json.dumps(self.session.call(lambda: self._reset(self._seed)))
            response.success = True
        except RobostackError as error:
            response.message = str(error)
        return response
