"""The guard as a node: the only publisher of target_pose. Messages in, core.guard, messages out."""

# First, since it says what is missing where there is no ROS 2.
from robostack.ros import runtime

# isort: split
from collections.abc import Callable

import numpy as np
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64MultiArray, Header, String
from std_srvs.srv import Trigger

from robostack.core import clock
from robostack.core.errors import BadValue
from robostack.core.guard import Guard, Verdict
from robostack.core.robot import Robot
from robostack.core.task import Task
from robostack.core.types import Command
from robostack.ros import messages, rivals, topics
from robostack.ros.diagnostics import ERROR, OK, WARN, Diagnostics
from robostack.ros.senses import NOTHING, Senses

ANSWER_S = 1.0  # s that a command waits for the samples of its period, in lockstep
FAREWELL_S = 0.2  # s of hold before the node leaves
LOOK_S = 0.1  # s between looks for other publishers
STOP_SILENCE_S = 0.25  # s; an emergency_stop that was heard and falls silent for longer has stopped
LEVELS = {"hold": WARN, "stopped": ERROR}  # of states, for /diagnostics
SET_S = 0.01  # s; a clock that moved further was set
SAME_RATE = 0.8  # commands this part of a period apart count as one whole period apart


class GuardNode:
    """Owns the guard and the approved target; all in the loop's thread.

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
        self._asked: PoseStamped | None = (
            None  # the command to be judged, until its samples are there
        )
        self._asked_gripper: JointState | None = None
        self._asked_at = self._judged_at = -np.inf  # s, steady clock
        self._judged_stamp = -np.inf  # s, of the last command judged
        self._target: np.ndarray | None = None  # approved; None until the first command
        self._opening = 0.0
        self._is_held, self._state, self._ticks = False, "", 0
        self._commands, self._sent = 0, 0  # received, and targets sent, for /diagnostics
        self._stop_heard_at: float | None = None  # s, steady clock, the newest emergency_stop
        rivals.require_none(session)
        self._connect()

    def _connect(self) -> None:
        commands, session = topics.commands(self._is_lockstep), self.session
        publish = session.node.create_publisher
        self._target_out = publish(PoseStamped, topics.TARGET_POSE, commands)
        self._gripper_out = publish(Float64MultiArray, topics.GRIPPER_COMMAND, commands)
        self._verdict_out = publish(Header, topics.VERDICT, topics.REASONS)
        self._state_out = publish(String, topics.STATE, topics.LATCHED)
        self._diagnostics = None if self._is_lockstep else Diagnostics(session, self._robot.name)
        self._senses = Senses(session, self._task, self._robot, self._is_lockstep, self._answer)
        session.subscribe(PoseStamped, topics.POLICY_POSE, commands, self._take_command)
        if self._task.gripper:
            session.subscribe(JointState, topics.POLICY_GRIPPER, commands, self._take_gripper)
        session.subscribe(Bool, topics.EMERGENCY_STOP, topics.STOPS, self._take_stop)
        # Services last: discovery keeps the order, so an answer proves that every topic is connected.
        self._serve(topics.STOP, lambda: self._stop("service guard/stop"))
        self._serve(topics.CLEAR_FAULT, self._clear)
        self._serve(topics.BEGIN, self._begin)
        self._tell("idle")

    def run(self) -> None:
        """Works until SIGINT or SIGTERM, then holds for a moment in real time."""
        self.session.serve()
        if self._is_lockstep:
            self.session.loop(self._expire, LOOK_S)
        else:
            self.session.loop(self._tick, 1.0 / self._rate)
            self._leave()

    def close(self) -> None:
        self.session.close()

    # Messages in.

    def _take_command(self, message: PoseStamped) -> None:
        self._asked, self._asked_at = message, clock.now()
        self._commands += 1
        self._answer()

    def _take_gripper(self, message: JointState) -> None:
        self._asked_gripper = message
        self._answer()

    def _take_stop(self, message: Bool) -> None:
        self._stop_heard_at = clock.now()
        if message.data:
            self._stop("emergency_stop")

    # The judgement.

    def _answer(self) -> None:
        """Judges the command that waits, once all that belongs to it has come."""
        asked, gripper = self._asked, self._asked_gripper
        if asked is None or (self._is_lockstep and self._senses.missing):
            return
        place, opening, complaint = NOTHING, 0.0, self._senses.complaint
        try:
            if self._task.gripper:
                if gripper is None or gripper.header.stamp != asked.header.stamp:
                    return
                opening = messages.from_gripper(gripper)
            place = messages.from_pose(asked, self._robot.base_frame, topics.POLICY_POSE)
        except BadValue as error:
            complaint = str(error)
        self._judge(Command(messages.stamp_of(asked), place, opening), complaint)

    def _judge(self, command: Command, complaint: str) -> None:
        now, samples = self._now(command), self._senses.samples
        period = self._period_since_last(command, now)
        self._judged_at, self._judged_stamp = self._asked_at, command.stamp
        self._asked = self._asked_gripper = None  # a stamp comes again after a reset: use each once
        self._senses.mark()
        if complaint:
            verdict = self._guard.hold(command, samples, f"hold: {complaint}")
        else:
            verdict = self._guard.check(command, samples, now, period)
        self._settle(verdict, command.stamp if self._is_lockstep else now)

    def _now(self, command: Command) -> float:
        """s. In lockstep the newest stamp is the time: nothing else moves it."""
        if not self._is_lockstep:
            return runtime.system_now()
        return max([command.stamp, *(sample.stamp for sample in self._senses.samples.values())])

    def _period_since_last(self, command: Command, now: float) -> float | None:
        """s, for commands that come faster than the task's; by arrival or stamp, so a delayed one is not punished."""
        period = self._task.period
        gap = self._asked_at - self._judged_at
        if command.stamp <= now:
            gap = max(gap, command.stamp - self._judged_stamp)
        return None if self._is_lockstep or gap >= SAME_RATE * period else max(gap, 0.01 * period)

    def _settle(self, verdict: Verdict, stamp: float) -> None:
        """Sends what was decided; `stamp` is the target's, the verdict carries the command's."""
        command = verdict.command
        self._is_held = verdict.is_hold
        if 0.0 <= command.gripper <= 1.0:
            self._opening = command.gripper
        if np.isfinite(command.reference).all():  # not so only before the first sample
            self._target = command.reference
            self._send(command.reference, stamp)
        self._verdict_out.publish(messages.to_header(command.stamp, verdict.reason))
        stop = self._guard.stop_reason
        state = f"stopped: {stop}" if stop else verdict.reason  # which begins with "hold: "
        self._tell(state if verdict.is_hold else "policy")

    def _send(self, target: np.ndarray, stamp: float) -> None:
        if self._task.gripper:
            self._gripper_out.publish(messages.to_opening(self._opening))
        self._target_out.publish(messages.to_pose(target, stamp, self._robot.base_frame))
        self._sent += 1

    def _hold(self, now: float, reason: str) -> None:
        """Holds without a command to judge."""
        command = Command(now, NOTHING, self._opening)
        self._settle(self._guard.hold(command, self._senses.samples, f"hold: {reason}"), now)

    # Time.

    def _tick(self) -> None:
        """Real time: repeats the target, or holds."""
        self._ticks += 1
        self._listen_for_stop()
        self._report()
        if self._ticks % max(1, int(LOOK_S * self._rate)) == 0:
            self._look_for_rivals()
        if self._target is None:
            return
        now = runtime.system_now()
        if not self._is_held and (reason := self._silence() or self._fault(now)):
            self._hold(now, reason)
        else:
            self._send(self._target, now)

    def _fault(self, now: float) -> str:
        return self._senses.complaint or self._guard.watch(self._senses.samples, now)

    def _silence(self) -> str:
        limit, age = self._guard.limits.command_age, clock.now() - self._judged_at
        if age <= limit:
            return ""
        alone = " (policy/target_pose came, policy/gripper with its stamp did not)"
        return f"no command for {age * 1e3:.0f} ms, limit {limit * 1e3:.0f} ms{alone if self._asked else ''}"

    def _expire(self) -> None:
        """Lockstep: a command whose samples do not come is answered with a hold."""
        self._look_for_rivals()
        if self._asked is None or clock.now() - self._asked_at < ANSWER_S:
            return
        what = " and ".join(self._senses.missing) or "policy/gripper with the command's stamp"
        command = Command(messages.stamp_of(self._asked), NOTHING, self._opening)
        self._judge(command, f"no new {what}; is node {topics.MIRROR} alive?")

    def _leave(self) -> None:
        """Holds at the measured pose for a moment: the last thing a controller hears is where it stands."""
        self._hold(runtime.system_now(), "the guard ends")
        ticker = clock.Ticker(1.0 / self._rate)
        for _ in range(round(FAREWELL_S * self._rate)):
            ticker.wait()
            if self._target is not None:
                self._send(self._target, runtime.system_now())

    # The stop, and what others may ask.

    def _look_for_rivals(self) -> None:
        if not self._guard.stop_reason and (names := rivals.found(self.session.node)):
            self._stop(f"several nodes publish target_pose: {names}")

    def _stop(self, reason: str) -> tuple[bool, str]:
        self._guard.stop(reason)
        self._tell(f"stopped: {self._guard.stop_reason}")
        return True, self._guard.stop_reason

    def _listen_for_stop(self) -> None:
        """A stop that has spoken once must go on speaking: its cable may be cut."""
        if self._stop_heard_at is None or self._guard.stop_reason:
            return
        if (age := clock.now() - self._stop_heard_at) > STOP_SILENCE_S:
            self._stop(f"emergency_stop silent for {age * 1e3:.0f} ms")

    def _clear(self) -> tuple[bool, str]:
        """For a person, who knows whether emergency_stop is still there: it counts again when it speaks again."""
        reason, self._target = self._guard.stop_reason, None
        self._stop_heard_at = None
        self._guard.clear_stop()
        self._tell("idle")
        return True, f"cleared: {reason}" if reason else "nothing to clear"

    def _begin(self) -> tuple[bool, str]:
        if unheard := self._senses.unheard:
            return False, f"{topics.NOT_YET}: nobody publishes {' and '.join(unheard)}"
        if not self._target_out.get_subscription_count():
            return False, f"{topics.NOT_YET}: nobody listens to target_pose"
        self._guard.reset()
        is_set = abs(runtime.read_date()) > SET_S
        if is_set and not self._is_lockstep:
            self._senses.samples.clear()  # dated by the old clock, they could look fresh for hours
        self._target = self._asked = self._asked_gripper = None
        self._is_held = False
        self._senses.mark()
        if not self._guard.stop_reason:
            self._tell("idle")
        return True, ""

    def _serve(self, name: str, work: Callable[[], tuple[bool, str]]) -> None:
        def answer(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            response.success, response.message = self.session.call(work)
            return response

        self.session.node.create_service(Trigger, name, answer)

    def _tell(self, state: str) -> None:
        if state != self._state:
            self._state = state
            self._state_out.publish(messages.to_text(state))

    def _report(self) -> None:
        """Once a second in real time: the state again, and /diagnostics."""
        if self._diagnostics is None or not self._diagnostics.is_due:
            return
        self._state_out.publish(messages.to_text(self._state))
        now, samples = runtime.system_now(), self._senses.samples
        ages = {name: now - sample.stamp for name, sample in samples.items()}
        ages["command"] = clock.now() - self._asked_at
        if self._stop_heard_at is not None:
            ages[topics.EMERGENCY_STOP] = clock.now() - self._stop_heard_at
        self._diagnostics.tell(
            LEVELS.get(self._state.partition(":")[0], OK),
            self._state,
            {"command": self._commands, "target": self._sent, **self._senses.counts},
            {f"age of {name}, s": f"{age:.3f}" for name, age in ages.items()},
        )
