"""What the nodes' executables share: parameters in, one line out when something is wrong."""

import gc
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from robostack.core import catalog
from robostack.core.errors import BadValue, RobostackError
from robostack.core.robot import Robot
from robostack.core.task import Task
from robostack.ros import threads


class RunningNode(Protocol):
    def run(self) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Settings:
    """A node's parameters, resolved."""

    robot: Robot
    task: Task
    lockstep: bool
    rate: float  # Hz, of states and targets in real time
    cameras: tuple[str, ...]
    noise: bool
    plant: str
    watch: bool


# name -> default, description. Text where a list could be: a launch argument is text too.
PARAMETERS = {
    "robot": ("fr3", "a folder of robots/"),
    "task": ("peg_insert", "a folder of tasks/"),
    "task_options": ("", 'options of the task, "name=value name=value"'),
    "lockstep": (False, "time waits for commands (true) or runs (false)"),
    "rate": (100.0, "Hz, of states and targets in real time"),
    "cameras": ("", 'cameras to serve, "name name"; the mirror only'),
    "noise": (True, "simulated sensors have noise and delay; the mirror only"),
    "plant": (
        "twin",
        '"twin" (MuJoCo) or "mock" (no physics, for tests of the wire); the mirror only',
    ),
    "watch": (False, "in MuJoCo's viewer, which needs a display; the mirror only"),
}


def run(name: str, argv: list[str], build: Callable) -> int:
    """Runs node `name` until SIGINT or SIGTERM. 0 at the end, 2 and one line when it cannot work."""
    threads.end_with_any()
    session = node = None
    early: list[int] = []  # signals that come before there is a session to stop
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: early.append(number))
    try:
        from robostack.ros.runtime import Session

        if early:
            return 0
        session = Session(name, args=argv)
        session.stop_on_signals()
        settings = _settings(session.node)
        if early or session.is_stopped:
            return 0
        node = build(session, settings)
        if session.is_stopped:
            return 0
        if not settings.lockstep:
            _go_first()
        print(f"{name}: ready, domain {os.environ.get('ROS_DOMAIN_ID') or 0}", flush=True)
        gc.collect()
        gc.freeze()  # what is there stays; collections in a tick see only what is new
        node.run()
        if session.failure:
            raise session.failure
        return threads.status_of(0)
    except RobostackError as error:
        print(f"{name}: {error}", file=sys.stderr, flush=True)
        return 2
    finally:
        for part in (node, session):
            if part:
                part.close()


def _go_first() -> None:
    """Before a busy learner, where the system allows it (root, or a `nice` limit): a late target is a jerk."""
    for thread in os.listdir("/proc/self/task") if sys.platform == "linux" else ():
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, int(thread), -10)


def _settings(node) -> Settings:
    values = {}
    for name, (default, description) in PARAMETERS.items():
        values[name] = _declare(node, name, default, description)
    task = catalog.task(values.pop("task"), **task_options(values.pop("task_options")))
    robot = catalog.robot(values.pop("robot"))
    cameras = tuple(values.pop("cameras").replace(",", " ").split())
    if not 1.0 <= values["rate"] <= 500.0:
        raise BadValue(f"parameter rate is {values['rate']} Hz, expected 1 to 500 Hz")
    return Settings(robot=robot, task=task, cameras=cameras, **values)


def _declare(node, name: str, default, description: str):
    """A read-only parameter; a whole number is taken for a real one."""
    from rcl_interfaces.msg import ParameterDescriptor

    descriptor = ParameterDescriptor(description=description, read_only=True, dynamic_typing=True)
    value = node.declare_parameter(name, default, descriptor).value
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if type(value) is not type(default):
        kind = type(default).__name__
        raise BadValue(f"parameter {name} is {value!r}, expected {kind}: {description}")
    return value


def task_options(text: str) -> dict[str, float]:
    """Options from "name=value name=value"."""
    options = {}
    for pair in text.replace(",", " ").split():
        name, _, value = pair.partition("=")
        try:
            options[name] = float(value)
        except ValueError:
            raise BadValue(f'task option "{pair}", expected name=number') from None
    return options
