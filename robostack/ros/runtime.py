"""One ROS context with one node, and the loop that serves it. The only file that starts and ends rclpy.

rclpy's executor builds its wait set anew for every message: through it five messages and their answer took
0.50 ms between two processes, through one standing wait set 0.21 ms. So topics are taken here, in one thread with
the ticks; services and parameters, rare, stay with the executor in a thread of its own.
"""

import atexit
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from robostack.core import clock
from robostack.core.errors import BadValue, Unavailable
from robostack.ros import environment, leftovers
from robostack.store import pulse

try:
    import rclpy
except ImportError as error:
    raise Unavailable(
        f'ROS 2 is missing ({error}); mend it with `pip install "robostack[ros]"` '
        "or `source /opt/ros/jazzy/setup.bash`"
    ) from error

from rclpy.callback_groups import CallbackGroup
from rclpy.exceptions import InvalidNamespaceException, InvalidNodeNameException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions

WAKE_S = 0.05  # s, longest sleep; a signal is seen after it
JOB_S = 5.0  # s that a service waits for the loop


_date = time.time() - clock.now()  # s, of the steady clock's zero


def system_now() -> float:
    """s, the clock of ROS in real time: dates, shared between machines as far as they are synchronized.

    Steady between two read_date(): a clock that is set in the middle of an episode makes no sample old or young.
    """
    return _date + clock.now()


def read_date() -> float:
    """Takes over the machine's date, between episodes, and returns how far it was set since, s."""
    global _date
    before, _date = _date, time.time() - clock.now()
    return _date - before


class _Kept(CallbackGroup):
    """Marks what the executor must leave to the loop."""

    def can_execute(self, entity) -> bool:
        return False

    def beginning_execution(self, entity) -> bool:
        return False

    def ending_execution(self, entity) -> None:
        pass


class Session:
    """Owns a ROS context, its node and their threads. Several may live in one process.

    `args` are ROS arguments (`--ros-args -r __ns:=/cell`); the process's own are never read.
    """

    def __init__(self, name: str, namespace: str = "", args: Sequence[str] = ()):
        environment.prepare()
        leftovers.sweep()
        self.context = rclpy.Context()
        self.failure: BaseException | None = None
        try:
            # NO: rclpy's own handlers end the context before a last "hold" could be sent.
            options = SignalHandlerOptions.NO
            rclpy.init(args=list(args), context=self.context, signal_handler_options=options)
        except Exception as error:
            raise BadValue(f"ROS 2 refuses its arguments: {_line(error)}") from error
        try:
            self.node = Node(name, context=self.context, namespace=namespace)
        except (InvalidNamespaceException, InvalidNodeNameException) as error:
            rclpy.try_shutdown(context=self.context)
            raise BadValue(f"ROS 2 refuses the node's name: {_line(error)}") from error
        except Exception as error:  # rclpy has no type for it
            rclpy.try_shutdown(context=self.context)
            raise Unavailable(
                f"ROS 2 cannot join domain {environment.domain()} ({_line(error)}); are its ports taken? "
                "Try another one: `export ROS_DOMAIN_ID=7`"
            ) from error
        self._kept = _Kept()
        self._wake = self.node.create_guard_condition(lambda: None, callback_group=self._kept)
        self._takers: list[tuple[Any, Callable[[Any], None]]] = []
        self._jobs: deque[tuple[Callable[[], Any], Future]] = deque()
        self.is_stopped, self._is_closed = False, False
        self._executor = SingleThreadedExecutor(context=self.context)
        self._threads: list[threading.Thread] = []
        atexit.register(self.close)  # a process that forgot would abort, or never end

    def subscribe(self, kind: type, topic: str, qos: QoSProfile, take: Callable[[Any], None]):
        """Hands every message to `take`, in the loop's thread. Once the loop runs: through `call`."""
        subscription = self.node.create_subscription(
            kind, topic, take, qos, callback_group=self._kept
        )
        self._takers.append((subscription, take))
        return subscription

    def unsubscribe(self, subscription) -> None:
        """Once the loop runs: through `call`."""
        self._takers = [pair for pair in self._takers if pair[0] is not subscription]
        self.node.destroy_subscription(subscription)

    def serve(self) -> None:
        """Starts answering services, parameters and futures, in a thread."""
        self._executor.add_node(self.node)
        self._start(self._spin, "services")

    def loop_in_background(self) -> None:
        """Starts the loop in a thread, without ticks."""
        self._start(self.loop, "topics")

    def loop(self, tick: Callable[[], None] | None = None, period: float = WAKE_S) -> None:
        """Messages, jobs and ticks until stop(), all in this thread. Ticks are due at absolute deadlines, s."""
        waits, size = None, -1
        deadline = clock.now() + period
        while not self.is_stopped:
            if size != len(self._takers):
                size = len(self._takers)
                waits = _rclpy.WaitSet(size, 1, 0, 0, 0, 0, self.context.handle)
            pulse.beat()
            rest = max(0.0, min(WAKE_S, deadline - clock.now() if tick else WAKE_S))
            self._take(waits, rest)
            while self._jobs:
                _do(*self._jobs.popleft())
            if tick and (now := clock.now()) >= deadline:
                tick()
                # A missed tick is skipped, not caught up with.
                deadline += period * (1 + int((now - deadline) / period))

    def _take(self, waits, rest: float) -> None:
        """Waits up to `rest` s for messages and hands out all there are."""
        waits.clear_entities()
        for subscription, _ in self._takers:
            waits.add_subscription(subscription.handle)
        waits.add_guard_condition(self._wake.handle)
        waits.wait(int(rest * 1e9))
        ready = waits.get_ready_entities("subscription")
        for subscription, take in self._takers:
            if subscription.handle.pointer in ready:
                while (
                    got := subscription.handle.take_message(subscription.msg_type, False)
                ) is not None:
                    take(got[0])

    def call(self, job: Callable[[], Any]) -> Any:
        """Runs `job` in the loop's thread and returns its result: what services use instead of locks."""
        done: Future = Future()
        self._jobs.append((job, done))
        self._wake.trigger()
        return done.result(JOB_S)

    def stop(self) -> None:
        """Ends the loop; safe in a signal handler, so no lock is taken."""
        self.is_stopped = True

    def stop_on_signals(self) -> None:
        """SIGINT and SIGTERM end the loop; a second one changes nothing. Main thread only."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self.stop())

    def close(self) -> None:
        """Ends the threads, then the node, then the context: any other order aborts the process."""
        if self._is_closed:
            return
        self._is_closed = True
        atexit.unregister(self.close)
        self.stop()
        self._executor.shutdown()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            self._executor.spin()

    def _start(self, work: Callable[[], None], name: str) -> None:
        def guarded():
            try:
                work()
            except Exception as error:  # a silent thread would look like a silent cell
                self.failure = error
                self.stop()
                raise  # ends a program of ours: ros.threads

        thread = threading.Thread(
            target=guarded, name=f"{self.node.get_name()}-{name}", daemon=True
        )
        self._threads.append(thread)
        thread.start()


def _do(job: Callable[[], Any], done: Future) -> None:
    try:
        done.set_result(job())
    except Exception as error:  # belongs to whoever asked
        done.set_exception(error)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
