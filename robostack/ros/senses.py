"""What the guard knows of the cell: the newest samples, how many came, and which cannot be used."""

from collections.abc import Callable

import numpy as np
from geometry_msgs.msg import PoseStamped, WrenchStamped
from sensor_msgs.msg import JointState

from robostack.core.errors import BadValue
from robostack.core.robot import Robot
from robostack.core.task import Task
from robostack.core.types import Sample
from robostack.ros import messages, runtime, topics

NOTHING = np.full(7, np.nan)


class Senses:
    """Owns the guard's samples. `on_news` is called after each."""

    def __init__(
        self,
        session: runtime.Session,
        task: Task,
        robot: Robot,
        lockstep: bool,
        on_news: Callable[[], None],
    ):
        self.samples: dict[str, Sample] = {}
        self._robot, self._is_lockstep, self._on_news = robot, lockstep, on_news
        self._refused: dict[str, str] = {}
        self.counts = {"tool_pose": 0, "wrench": 0}
        qos = topics.states(lockstep)
        self._subscriptions = {
            topic: session.subscribe(kind, topic, qos, take)
            for kind, topic, take in (
                (PoseStamped, topics.CURRENT_POSE, self._take_pose),
                (WrenchStamped, topics.EXTERNAL_WRENCH, self._take_wrench),
            )
        }
        if task.gripper:
            self.counts["gripper"] = 0
            topic = topics.GRIPPER_STATES
            self._subscriptions[topic] = session.subscribe(
                JointState, topic, qos, self._take_gripper
            )
        self._seen = dict(self.counts)

    @property
    def unheard(self) -> list[str]:
        """Topics that nobody publishes."""
        return [name for name, at in self._subscriptions.items() if not at.get_publisher_count()]

    @property
    def complaint(self) -> str:
        """Why the newest message of a kind cannot be used; empty when all can."""
        return next(iter(self._refused.values()), "")

    @property
    def missing(self) -> list[str]:
        """Samples of which none came since mark()."""
        return [name for name, count in self.counts.items() if count <= self._seen[name]]

    def mark(self) -> None:
        """From here on, missing asks for new samples."""
        self._seen = dict(self.counts)

    def _take_pose(self, message: PoseStamped) -> None:
        frame = self._robot.base_frame
        self._keep("tool_pose", message, lambda: messages.from_pose(message, frame, "current_pose"))

    def _take_wrench(self, message: WrenchStamped) -> None:
        frame = self._robot.tool_frame
        self._keep("wrench", message, lambda: messages.from_wrench(message, frame))

    def _take_gripper(self, message: JointState) -> None:
        try:
            opening = messages.from_gripper(message)
        except BadValue:  # no reason for the arm to hold
            opening = np.nan
        self._put("gripper", message, np.array([opening]))

    def _keep(self, name: str, message, convert: Callable[[], np.ndarray]) -> None:
        value = NOTHING
        try:
            value = convert()
            self._refused.pop(name, None)
        except BadValue as error:
            self._refused[name] = str(error)
        self._put(name, message, value)

    def _put(self, name: str, message, value: np.ndarray) -> None:
        stamp = messages.stamp_of(message)
        if not self._is_lockstep:  # a machine whose clock is ahead must not look fresh forever
            stamp = min(stamp, runtime.system_now())
        self.samples[name] = Sample(stamp, value)
        self.counts[name] += 1
        self._on_news()
