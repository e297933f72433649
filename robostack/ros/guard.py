"""The guard as a node: the only publisher of target_pose. Messages in, core.guard, messages out."""

# First, since it says what is missing where there is no ROS 2.
from robostack.ros import runtime

# isort: split
import numpy as np
from geometry_msgs.msg import PoseStamped, WrenchStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64MultiArray, Header, String
from std_srvs.srv import Trigger

from robostack.core import clock
from robostack.core.errors import BadValue, PlantFault
from robostack.core.guard import Guard, Verdict
from robostack.core.robot import Robot
from robostack.core.task import Task
from robostack.core.types import Command, Sample
from robostack.ros import messages, topics

DISCOVERY_S = 1.0  # s in which another publisher is seen (measured: 0.1 to 1.1 on a busy machine)
ANSWER_S = 1.0  # s that a command waits for the samples of its period, in lockstep
FAREWELL_S = 0.2  # s of hold before the node leaves
SAME_RATE = 0.8  # commands this part of a period apart count as one whole period apart
NOWHERE = np.full(7, np.nan)


class GuardNode:
    """Owns the guard, the newest samples and the approved target; all in the loop's thread.

    In lockstep it answers each command once, when the samples of that period are there. In real time it also repeats
    the approved target at `rate` (Hz) and holds on silence, on stale or missing samples, and on force.
    """

    def __init__(
        self,
        session: runtime.Session,
        task: Task,
        robot: Robot,
        lockstep: bool,
        rate: float = 100.0,
    ):
        self.session, self._task, self._robot = session, task, robot
        self._is_lockstep, self._rate = lockstep, rate
        self._guard = Guard(robot.safety, task.period)
        self._samples: dict[str, Sample] = {}
        self._refused: dict[str, str] = {}  # signal -> why its newest message cannot be used
        self._counts = {"tool_pose": 0, "wrench": 0}
        self._seen = dict(self._counts)  # counts when the last command was answered
        self._asked: PoseStamped | None = None
        self._asked_at = self._judged_at = -np.inf  # s, steady clock
        self._asked_gripper: JointState | None = None
        self._target: np.ndarray | None = None  # approved; None until the first command
        self._opening = 0.0
        self._is_held, self._state, self._ticks = False, "", 0
        self._connect()

    def _connect(self) -> None:
        node, states = self.session.node, topics.states(self._is_lockstep)
        commands, subscribe = topics.commands(self._is_lockstep), self.session.subscribe
        self._require_alone()
        self._target_out = node.create_publisher(PoseStamped, topics.TARGET_POSE, commands)
        self._gripper_out = node.create_publisher(
            Float64MultiArray, topics.GRIPPER_COMMAND, commands
        )
        self._verdict_out = node.create_publisher(Header, topics.VERDICT, topics.REASONS)
        self._state_out = node.create_publisher(String, topics.STATE, topics.LATCHED)
        self._states_in = [
            subscribe(PoseStamped, topics.CURRENT_POSE, states, self._take_pose),
            subscribe(WrenchStamped, topics.EXTERNAL_WRENCH, states, self._take_wrench),
        ]
        subscribe(PoseStamped, topics.POLICY_POSE, commands, self._take_command)
        if self._task.gripper:
            subscribe(JointState, topics.POLICY_GRIPPER, commands, self._take_gripper)
        subscribe(Bool, topics.EMERGENCY_STOP, topics.STOPS, self._take_stop)
        # Services last: discovery keeps the order, so an answer proves that every topic is connected.
        self._serve(topics.STOP, lambda: self._stop("service guard/stop"))
        self._serve(topics.CLEAR_FAULT, self._clear)
        self._serve(topics.BEGIN, self._begin)
        self._tell("idle")

    def run(self) -> None:
        """Works until SIGINT or SIGTERM, then holds for a moment in real time."""
        self.session.serve()
        if self._is_lockstep:
            self.session.loop(self._expire, 0.1)
        else:
            self.session.loop(self._tick, 1.0 / self._rate)
            self._leave()

    # Messages in.

    def _take_pose(self, message: PoseStamped) -> None:
        frame = self._robot.base_frame
        self._keep("tool_pose", message, lambda: messages.from_pose(message, frame, "current_pose"))

    def _take_wrench(self, message: WrenchStamped) -> None:
        frame = self._robot.tool_frame
        self._keep("wrench", message, lambda: messages.from_wrench(message, frame))

    def _keep(self, name: str, message, convert) -> None:
        stamp = messages.stamp_of(message)
        try:
            value = convert()
            self._refused.pop(name, None)
        except BadValue as error:
            self._refused[name], value = str(error), NOWHERE
        if not self._is_lockstep:  # a machine whose clock is ahead must not look fresh forever
            stamp = min(stamp, runtime.system_now())
        self._samples[name] = Sample(stamp, value)
        self._counts[name] += 1
        if self._asked is not None:
            self._answer()

    def _take_command(self, message: PoseStamped) -> None:
        self._asked, self._asked_at = message, clock.now()
        self._answer()

    def _take_gripper(self, message: JointState) -> None:
        self._asked_gripper = message
        if self._asked is not None:
            self._answer()

    def _take_stop(self, message: Bool) -> None:
        if message.data:
            self._stop("emergency_stop")

    # The judgement.

    def _answer(self) -> None:
        """Judges the command that waits, once all that belongs to it has come."""
        asked, gripper = self._asked, self._asked_gripper
        assert asked is not None
        if self._task.gripper and (gripper is None or gripper.header.stamp != asked.header.stamp):
            return
        if self._is_lockstep and any(self._counts[name] <= self._seen[name] for name in self._seen):
            return
        stamp, opening, complaint = messages.stamp_of(asked), 0.0, ""
        try:
            opening = messages.from_gripper(gripper) if self._task.gripper else 0.0
            place = messages.from_pose(asked, self._robot.base_frame, topics.POLICY_POSE)
        except BadValue as error:
            place, complaint = NOWHERE, str(error)
        self._judge(Command(stamp, place, opening), complaint)

    def _judge(self, command: Command, complaint: str) -> None:
        complaint = complaint or next(iter(self._refused.values()), "")
        if self._is_lockstep:
            now, period = max([command.stamp, *(s.stamp for s in self._samples.values())]), None
        else:
            now = runtime.system_now()
            elapsed = (self._asked_at - self._judged_at) / self._task.period
            period = None if elapsed >= SAME_RATE else max(elapsed, 0.01) * self._task.period
        self._judged_at, self._seen = self._asked_at, dict(self._counts)
        self._asked = self._asked_gripper = None  # a stamp comes again after a reset: use each once
        if complaint:
            verdict = self._guard.hold(command, self._samples, f"hold: {complaint}")
        else:
            verdict = self._guard.check(command, self._samples, now, period)
        self._settle(verdict, command.stamp if self._is_lockstep else now)

    def _settle(self, verdict: Verdict, stamp: float) -> None:
        """Sends what was decided; `stamp` is the target's, the verdict carries the command's."""
        command = verdict.command
        self._is_held = verdict.is_hold
        if 0.0 <= command.gripper <= 1.0:
            self._opening = command.gripper
        if np.isfinite(command.reference).all():  # not so only before the first sample
            self._target = command.reference
            self._send(stamp)
        self._verdict_out.publish(messages.to_header(command.stamp, verdict.reason))
        state = "stopped" if self._guard.stop_reason else "hold"
        self._tell(f"{state}: {verdict.reason}" if verdict.is_hold else "policy")

    def _send(self, stamp: float) -> None:
        if self._task.gripper:
            self._gripper_out.publish(messages.to_opening(self._opening))
        frame = self._robot.base_frame
        self._target_out.publish(messages.to_pose(self._target, stamp, frame))

    # Time.

    def _tick(self) -> None:
        """Real time: repeats the target, or holds."""
        self._ticks += 1
        if self._ticks % max(1, int(0.1 * self._rate)) == 0:
            self._watch_for_others()
        if self._target is None:
            return
        now = runtime.system_now()
        if not self._is_held and (
            reason := self._silence() or self._guard.watch(self._samples, now)
        ):
            command = Command(now, self._target, self._opening)
            self._settle(self._guard.hold(command, self._samples, f"hold: {reason}"), now)
        else:
            self._send(now)

    def _silence(self) -> str:
        limit = self._guard.limits.command_age
        if (age := clock.now() - self._judged_at) <= limit:
            return ""
        alone = (
            " (policy/target_pose came, policy/gripper with its stamp did not)"
            if self._asked
            else ""
        )
        return f"no command for {age * 1e3:.0f} ms, limit {limit * 1e3:.0f} ms{alone}"

    def _expire(self) -> None:
        """Lockstep: a command whose samples do not come is answered with a hold."""
        self._watch_for_others()
        if self._asked is not None and clock.now() - self._asked_at > ANSWER_S:
            missing = [name for name, count in self._seen.items() if self._counts[name] <= count]
            command = Command(messages.stamp_of(self._asked), NOWHERE, self._opening)
            what = " and ".join(missing) or "policy/gripper with the command's stamp"
            self._judge(command, f"no new {what}; is node {topics.MIRROR} alive?")

    def _leave(self) -> None:
        """Holds at the measured pose for a moment: the last thing a controller hears is where it stands."""
        now = runtime.system_now()
        held = self._guard.hold(
            Command(now, NOWHERE, self._opening), self._samples, "hold: guard ends"
        )
        if not np.isfinite(held.command.reference).all():
            return
        self._settle(held, now)
        ticker = clock.Ticker(1.0 / self._rate)
        for _ in range(round(FAREWELL_S * self._rate)):
            ticker.wait()
            self._send(runtime.system_now())

    # The stop, and who else is there.

    def _stop(self, reason: str) -> tuple[bool, str]:
        self._guard.stop(reason)
        self._tell(f"stopped: {self._guard.stop_reason}")
        return True, self._guard.stop_reason

    def _clear(self) -> tuple[bool, str]:
        reason, self._target = self._guard.stop_reason, None
        self._guard.clear_stop()
        self._tell("idle")
        return True, f"cleared: {reason}" if reason else "nothing to clear"

    def _begin(self) -> tuple[bool, str]:
        if not all(states.get_publisher_count() for states in self._states_in):
            return False, f"{topics.NOT_YET}: nobody publishes current_pose and external_wrench"
        if not self._target_out.get_subscription_count():
            return False, f"{topics.NOT_YET}: nobody listens to target_pose"
        self._guard.reset()
        self._target = self._asked = self._asked_gripper = None
        self._is_held = False
        self._seen = dict(self._counts)
        if not self._guard.stop_reason:
            self._tell("idle")
        return True, ""

    def _require_alone(self) -> None:
        """Looks around before it becomes a publisher, so a guard that works is not disturbed by one that starts."""
        count, deadline = self.session.node.count_publishers, clock.now() + DISCOVERY_S
        while clock.now() < deadline:
            if count(topics.TARGET_POSE):
                clock.sleep(0.2)  # names come a little later than topics
                raise PlantFault(
                    f"{self._publishers()} publishes target_pose already, and a controller obeys one only; "
                    "stop it first (one that was killed is forgotten after 10 s)"
                )
            clock.sleep(0.02)

    def _watch_for_others(self) -> None:
        count = self.session.node.count_publishers
        if not self._guard.stop_reason and count(topics.TARGET_POSE) > 1:
            self._stop(f"several nodes publish target_pose: {self._publishers()}")

    def _publishers(self) -> str:
        found = self.session.node.get_publishers_info_by_topic(topics.TARGET_POSE)
        names = sorted(f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in found)
        return ", ".join("a node unknown" if "UNKNOWN" in name else name for name in names)

    def _serve(self, name: str, work) -> None:
        def answer(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            response.success, response.message = self.session.call(work)
            return response

        self.session.node.create_service(Trigger, name, answer)

    def _tell(self, state: str) -> None:
        if state != self._state:
            self._state = state
            self._state_out.publish(messages.to_text(state))

    def close(self) -> None:
        self.session.close()
