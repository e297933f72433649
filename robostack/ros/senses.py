"""What the guard knows of the cell: the newest pose and wrench, how many came, and which cannot be used."""

from collections.abc import Callable

import numpy as np
from geometry_msgs.msg import PoseStamped, WrenchStamped

from robostack.core.errors import BadValue
from robostack.core.robot import Robot
from robostack.core.types import Sample
from robostack.ros import messages, runtime, topics

NOTHING = np.full(7, np.nan)


class Senses:
    """Owns the guard's samples. `on_news` is called after each."""

    def __init__(
        self, session: runtime.Session, robot: Robot, lockstep: bool, on_news: Callable[[], None]
    ):
        self.samples: dict[str, Sample] = {}
        self._robot, self._is_lockstep, self._on_news = robot, lockstep, on_news
        self._refused: dict[str, str] = {}
        self._counts = {"tool_pose": 0, "wrench": 0}
        self._seen = dict(self._counts)
        qos = topics.states(lockstep)
        self._subscriptions = [
            session.subscribe(PoseStamped, topics.CURRENT_POSE, qos, self._take_pose),
            session.subscribe(WrenchStamped, topics.EXTERNAL_WRENCH, qos, self._take_wrench),
        ]

    @property
    def is_connected(self) -> bool:
        """Whether somebody publishes each."""
        return all(subscription.get_publisher_count() for subscription in self._subscriptions)

    @property
    def complaint(self) -> str:
        """Why the newest message of a kind cannot be used; empty when all can."""
        return next(iter(self._refused.values()), "")

    @property
    def missing(self) -> list[str]:
        """Samples of which none came since mark()."""
        return [name for name, count in self._counts.items() if count <= self._seen[name]]

    def mark(self) -> None:
        """From here on, missing asks for new samples."""
        self._seen = dict(self._counts)

    def _take_pose(self, message: PoseStamped) -> None:
        frame = self._robot.base_frame
        self._keep("tool_pose", message, lambda: messages.from_pose(message, frame, "current_pose"))

    def _take_wrench(self, message: WrenchStamped) -> None:
        frame = self._robot.tool_frame
        self._keep("wrench", message, lambda: messages.from_wrench(message, frame))

    def _keep(self, name: str, message, convert: Callable[[], np.ndarray]) -> None:
        stamp, value = messages.stamp_of(message), NOTHING
        try:
            value = convert()
            self._refused.pop(name, None)
        except BadValue as error:
            self._refused[name] = str(error)
        if not self._is_lockstep:  # a machine whose clock is ahead must not look fresh forever
            stamp = min(stamp, runtime.system_now())
        self.samples[name] = Sample(stamp, value)
        self._counts[name] += 1
        self._on_news()
