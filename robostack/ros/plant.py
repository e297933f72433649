"""A cell behind ROS 2 topics as a plant: the real one and its mirror alike."""

# First, since it says what is missing where there is no ROS 2.
from robostack.ros import runtime

# isort: split
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, TwistStamped, WrenchStamped
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray, Header

from robostack.core import clock
from robostack.core.errors import BadValue, PlantFault, StaleSample
from robostack.core.plant import setup_as_dict
from robostack.core.robot import Robot
from robostack.core.task import Task
from robostack.core.types import Command, Sample, Samples
from robostack.ros import homing, messages, topics
from robostack.ros.calls import Calls
from robostack.ros.mailbox import Mailbox

STEP_S = 2.0  # s that a lockstep step may take before it counts as lost
NEWS_S = 0.3  # s after a reset until pictures come from a mirror that knows that somebody looks
LOOK_S = 2.0  # s in which a mirror that runs is seen
SILENCE_S = 0.25  # s without a message after which a signal counts as gone, in real time
CATCH_UP_S = 0.1  # s to take in what came while this process itself stood still
EARLY = 1e-6  # s; stamps this close are the same moment


class RosPlant:
    """Owns the connection to one cell in `namespace`. The guard is a node between send() and the controller.

    `has_mirror`: whether reset() asks a mirror or drives the arm to its start; None finds out by looking.
    `cameras` are read too, by name, uint8 (H, W, 3).
    """

    kind, is_guarded = "ros", True

    def __init__(
        self,
        task: Task,
        robot: Robot,
        lockstep: bool,
        namespace: str = "",
        cameras: tuple[str, ...] = (),
        has_mirror: bool | None = None,
    ):
        self.is_lockstep, self._robot, self._task = lockstep, robot, task
        self._has_mirror = True if lockstep else has_mirror
        self._cameras: dict[str, Any] = {}  # subscription by name
        self._mail = Mailbox()
        self._sent: float | None = None  # s, stamp of the first command since the reset
        self._sent_at = 0.0  # s, steady clock, of the same
        self._awaited: float | None = None  # s, stamp of the command that read() waits for
        self._before: dict[str, int] = {}  # letters per topic when it was sent
        self._reference: np.ndarray | None = None  # from the reset to the first command
        self._is_known = False  # whether the guard answered once
        self._session = runtime.Session(f"actor_{os.getpid()}", namespace)
        self._connect()
        self._calls = Calls(self._session)
        self._session.serve()
        self._session.loop_in_background()
        self.look_through(cameras)

    def _connect(self) -> None:
        session, states = self._session, topics.states(self.is_lockstep)
        commands = topics.commands(self.is_lockstep)
        self._pose_out = session.node.create_publisher(PoseStamped, topics.POLICY_POSE, commands)
        self._states: dict[str, type] = {
            topics.CURRENT_POSE: PoseStamped,
            topics.CURRENT_TWIST: TwistStamped,
            topics.EXTERNAL_WRENCH: WrenchStamped,
            topics.TASK_TARGET: PoseStamped,
        }
        if self._task.object:
            self._states[topics.TASK_OBJECT] = PoseStamped
        if self._task.gripper:
            gripper_out = session.node.create_publisher(JointState, topics.POLICY_GRIPPER, commands)
            self._gripper_out = gripper_out
            self._states[topics.GRIPPER_STATES] = JointState
            session.subscribe(
                Float64MultiArray, topics.GRIPPER_COMMAND, commands, self._take_opening
            )
        for topic, kind in self._states.items():
            self._listen(kind, topic, states)
        self._listen(PoseStamped, topics.TARGET_POSE, commands)
        self._listen(Header, topics.VERDICT, topics.REASONS)
        if self.is_lockstep:
            self._listen(Clock, topics.CLOCK, states)

    def look_through(self, cameras: Sequence[str]) -> None:
        """A camera that nobody serves is found out at the next reset."""
        call, session = self._session.call, self._session
        for name in [name for name in self._cameras if name not in cameras]:
            subscription = self._cameras.pop(name)
            call(lambda gone=subscription: session.unsubscribe(gone))
            del self._states[topics.image(name)]
            self._mail.forget(topics.image(name))
        for name in [name for name in cameras if name not in self._cameras]:
            topic, qos = topics.image(name), topics.states(self.is_lockstep)
            self._cameras[name] = call(lambda new=topic, qos=qos: self._listen(Image, new, qos))
            self._states[topic] = Image

    def _listen(self, kind: type, topic: str, qos):
        put = self._mail.put
        return self._session.subscribe(kind, topic, qos, lambda message: put(topic, message))

    def _take_opening(self, message: Float64MultiArray) -> None:
        with suppress(BadValue):  # the guard sends none such; the mirror complains of others'
            self._mail.put(topics.GRIPPER_COMMAND, messages.from_opening(message))

    @property
    def now(self) -> float:
        if not self.is_lockstep:
            return runtime.system_now()
        letter = self._mail.get(topics.CLOCK)
        return messages.from_time(letter.message.clock) if letter else 0.0

    def send(self, command: Command) -> None:
        stamp, frame = command.stamp, self._robot.base_frame
        if self.is_lockstep:
            self._awaited, self._before = stamp, self._mail.counts()
        if self._sent is None:
            self._sent, self._sent_at = stamp, clock.now()
        # Unchecked: a policy that yields NaN is the guard's to answer, with a hold and its reason.
        if self._task.gripper:
            self._gripper_out.publish(messages.to_gripper(command.gripper, stamp, is_checked=False))
        self._pose_out.publish(messages.to_pose(command.reference, stamp, frame, is_checked=False))

    def read(self) -> Samples:
        """In lockstep, after send(): waits for everything of that period. Raises StaleSample naming what is missing."""
        if self._awaited is not None:
            if missing := self._mail.wait_for(self._missing_of_step, STEP_S):
                raise self._stale(f"{STEP_S:g} s after the command", missing)
            self._awaited = None
        elif missing := self._mail.wait_for(self._silent, CATCH_UP_S):
            raise self._stale(f"for {SILENCE_S * 1e3:.0f} ms", missing)
        return self._samples()

    def reset(self, seed: int) -> dict[str, Any]:
        if self._has_mirror is None:
            self._has_mirror = self._calls.finds_mirror(LOOK_S)
        if self._has_mirror or not self._is_known:
            self._calls.begin()
            self._is_known = True
        self._awaited = None
        if not self._has_mirror:
            return self._go_to_start(seed)
        # A mirror that has not heard yet that we look serves no pictures: asked again, it does. Same seed, same start.
        patience = (NEWS_S, STEP_S) if self._cameras else (STEP_S,)
        missing: list[str] = []
        for seconds in patience:
            before = self._mail.counts()
            drawn = self._calls.reset(seed)
            # In lockstep exactly one set of samples follows, maybe here already; in real time old ones may still come.
            before = before if self.is_lockstep else self._mail.counts()
            if not (missing := self._await_news(before, seconds)):
                break
        else:
            raise self._stale(f"{STEP_S:g} s after the reset", missing)
        self._sent, self._reference = None, np.array(drawn.pop("reference"))
        return drawn

    def close(self) -> None:
        self._session.close()

    def _go_to_start(self, seed: int) -> dict[str, Any]:
        """A real cell: only the start can be chosen; where the target lies is the cell's to say."""
        if missing := self._await_news(self._mail.counts(), STEP_S):
            raise self._stale(f"for {STEP_S:g} s", missing)
        drawn = setup_as_dict(self._task.draw(self._task.options, np.random.default_rng(seed)))
        homing.go(self, np.array(drawn["start"]), self._task.period)
        return {"start": drawn["start"]}

    def _await_news(self, before: dict[str, int], seconds: float) -> list[str]:
        """Waits until everything has spoken since `before`; what has not."""
        names = [*self._states, *([topics.CLOCK] if self.is_lockstep else [])]

        def missing() -> list[str]:
            return [name for name in names if self._mail.count(name) <= before.get(name, 0)]

        return self._mail.wait_for(missing, seconds)

    def _missing_of_step(self) -> list[str]:
        """Topics of which the message that belongs to the last command has not come."""
        mail, sent = self._mail, self._awaited
        if sent is None:
            return []
        missing = [name for name in self._states if not self._news(name)]
        # It carries no stamp, but the guard sends one before each target.
        needed = max(1, self._news(topics.TARGET_POSE))
        if self._task.gripper and self._news(topics.GRIPPER_COMMAND) < needed:
            missing.append(topics.GRIPPER_COMMAND)
        if self.now < sent + self._task.period - EARLY:
            missing.append(topics.CLOCK)
        answers = {
            topics.VERDICT: (letter := mail.get(topics.VERDICT)) and letter.message.stamp,
            topics.TARGET_POSE: (letter := mail.get(topics.TARGET_POSE))
            and letter.message.header.stamp,
        }
        # The count too: after a step that was lost, the same stamp is sent again.
        time = messages.to_time(sent)
        return missing + [
            topic for topic, stamp in answers.items() if stamp != time or not self._news(topic)
        ]

    def _news(self, topic: str) -> int:
        """Letters since the last command."""
        return self._mail.count(topic) - self._before.get(topic, 0)

    def _expected(self) -> list[str]:
        """Topics that speak all the time: the cell's, and the guard's once it has something to repeat."""
        is_guarding = self._sent is not None and clock.now() - self._sent_at > SILENCE_S
        return [*self._states, *([topics.TARGET_POSE] if is_guarding else [])]

    def _silent(self) -> list[str]:
        return [name for name in self._expected() if self._is_silent(name)]

    def _is_silent(self, topic: str) -> bool:
        """Whether nothing came lately, whatever the stamps say; in lockstep, whether nothing ever came."""
        letter = self._mail.get(topic)
        if letter is None or self.is_lockstep:
            return letter is None
        return clock.now() - letter.received > SILENCE_S

    def _stale(self, since: str, missing: list[str]) -> Exception:
        if self._session.failure:
            return PlantFault(f"the connection to the cell ended: {self._session.failure}")
        guards = {topics.VERDICT, topics.TARGET_POSE, topics.GRIPPER_COMMAND}
        cell = f"node {topics.MIRROR}" if self._has_mirror else "the robot's driver"
        places = {f"node {topics.GUARD}" if name in guards else cell for name in missing}
        letter = self._mail.get(topics.VERDICT)
        said = (
            f" (the guard said: {letter.message.frame_id})"
            if letter and letter.message.frame_id
            else ""
        )
        return StaleSample(
            f"{since} no {', '.join(missing)}; check {' and '.join(sorted(places))}{said}"
        )

    def _samples(self) -> Samples:
        base, tool, at = self._robot.base_frame, self._robot.tool_frame, messages.stamp_of
        pose, twist, wrench, target = (
            self._mail.newest(topic)
            for topic in (
                topics.CURRENT_POSE,
                topics.CURRENT_TWIST,
                topics.EXTERNAL_WRENCH,
                topics.TASK_TARGET,
            )
        )
        place = Sample(at(pose), messages.from_pose(pose, base, topics.CURRENT_POSE))
        samples = {
            "tool_pose": place,
            "tool_twist": Sample(at(twist), messages.from_twist(twist, base)),
            "wrench": Sample(at(wrench), messages.from_wrench(wrench, tool)),
            "gripper": Sample(place.stamp, np.zeros(1)),
            "target": Sample(at(target), messages.from_pose(target, base, topics.TASK_TARGET)),
            **self._of_guard(place),
        }
        if self._task.object:
            seen = self._mail.newest(topics.TASK_OBJECT)
            pose = messages.from_pose(seen, base, topics.TASK_OBJECT)
            samples["object"] = Sample(at(seen), pose)
        if self._task.gripper:
            gripper = self._mail.newest(topics.GRIPPER_STATES)
            samples["gripper"] = Sample(at(gripper), np.array([messages.from_gripper(gripper)]))
        for camera in self._cameras:
            image = self._mail.newest(topics.image(camera))
            samples[camera] = Sample(at(image), messages.from_image(image))
        return samples

    def _of_guard(self, place: Sample) -> dict[str, Sample]:
        """What the guard let through and why; before the first command, where the arm was put."""
        target, verdict = self._mail.get(topics.TARGET_POSE), self._mail.get(topics.VERDICT)
        if self._sent is not None and target is not None and verdict is not None:
            stamp = messages.stamp_of(target.message)
            if stamp >= self._sent - EARLY:
                pose = messages.from_pose(
                    target.message, self._robot.base_frame, topics.TARGET_POSE
                )
                at = self.now if self.is_lockstep else stamp
                found = {"reference": Sample(at, pose)}
                found["guard"] = Sample(self.now, verdict.message.frame_id)
                opening = self._mail.get(topics.GRIPPER_COMMAND)
                if opening and opening.received >= self._sent_at:
                    found["gripper_reference"] = Sample(at, np.array([opening.message]))
                return found
        value = place.value if self._reference is None else self._reference
        return {"reference": Sample(place.stamp, value), "guard": Sample(self.now, "")}
