"""The mirror as a node in this process, around a cell that notes what is done to it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

pytestmark = pytest.mark.ros
pytest.importorskip("rclpy")

from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Float64MultiArray

from robostack.core import catalog, clock
from robostack.core.plant import MockPlant
from robostack.ros import messages, runtime, topics
from robostack.ros.mirror import MirrorNode
from robostack.ros.runtime import Session
from tests.ros.wire import Wire, wait_until

ROBOT, TASK = catalog.robot("fr3"), catalog.task("reach")


class NotingCell(MockPlant):
    """Notes the threads that touch it and the pictures that are asked for."""

    cameras = ("front",)

    def __init__(self):
        super().__init__(TASK)
        self.threads: set[int] = set()
        self.pictures: list[float] = []  # s, the cell's time of each

    def __getattribute__(self, name: str):
        if name in ("reset", "read", "follow", "advance", "picture"):
            self.threads.add(threading.get_ident())
        return super().__getattribute__(name)

    def picture(self, name: str) -> np.ndarray:
        assert name in self.cameras
        self.pictures.append(self.now)
        return np.zeros((48, 64, 3), np.uint8)

    def intrinsics(self, name: str) -> np.ndarray:
        assert name in self.cameras
        return np.array([[60.0, 0.0, 32.0], [0.0, 60.0, 24.0], [0.0, 0.0, 1.0]])


@contextmanager
def serving(cell: MockPlant, lockstep: bool = False, rate: float = 100.0) -> Iterator[Session]:
    """A mirror of `cell` that works in a thread of its own; its session."""
    sessions: list[Session] = []

    def work() -> None:
        session = Session(topics.MIRROR)
        node = MirrorNode(session, cell, TASK, ROBOT, lockstep, rate)
        sessions.append(session)
        node.run()
        node.close()

    thread = threading.Thread(target=work)
    thread.start()
    assert wait_until(lambda: sessions)
    try:
        yield sessions[0]
    finally:
        sessions[0].stop()
        thread.join()


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.close()


def test_only_one_thread_touches_the_cell(wire):
    """It may render, and OpenGL's pictures belong to one thread."""
    cell = NotingCell()
    wire.hear(Image, topics.image("front"))
    with serving(cell):
        wire.start()
        for _ in range(3):
            assert wire.trigger(topics.RESET).success
        assert wait_until(lambda: len(cell.pictures) > 3)
    assert len(cell.threads) == 1


@pytest.fixture
def session() -> Iterator[Session]:
    session = Session(topics.MIRROR)
    yield session
    session.close()


@pytest.mark.parametrize("every", [1, 2, 7])
def test_one_picture_a_control_period_also_when_ticks_are_skipped(
    every, session, wire, monkeypatch
):
    """Ticks come at 100 Hz, or only every so many-th: 1, 3, 5, … and 1, 8, 15, …"""
    images = wire.hear(Image, topics.image("front"))
    infos = wire.hear(CameraInfo, topics.camera_info("front"))
    wire.start()
    cell, times = NotingCell(), SimpleNamespace(now=lambda: 0.0)
    monkeypatch.setattr("robostack.ros.mirror.clock", times)
    node = MirrorNode(session, cell, TASK, ROBOT, lockstep=False)
    assert wait_until(lambda: node._is_wanted(topics.image("front")))
    assert wait_until(lambda: node._is_wanted(topics.camera_info("front")))
    cell.pictures.clear()
    for tick in range(1, 101, every):
        times.now = lambda now=(tick + 0.5) / 100: now
        node._tick()
    begun = np.floor(np.array(cell.pictures) / TASK.period + 1e-6)
    assert begun.tolist() == list(range(1, 11 if every == 1 else 10))
    assert wait_until(lambda: images and infos)
    assert infos[-1].header == images[-1].header
    assert infos[-1].k.reshape(3, 3).tolist() == cell.intrinsics("front").tolist()


def test_nobody_looks_so_nothing_is_drawn(session):
    cell = NotingCell()
    MirrorNode(session, cell, TASK, ROBOT, lockstep=False)._publish()
    assert not cell.pictures


@pytest.mark.parametrize("lockstep", [True, False])
def test_nonsense_for_the_gripper_is_refused_and_the_mirror_goes_on(lockstep, wire):
    opening = wire.speak(Float64MultiArray, topics.GRIPPER_COMMAND, topics.commands(lockstep))
    target = wire.speak(PoseStamped, topics.TARGET_POSE, topics.commands(lockstep))
    states = wire.hear(JointState, topics.GRIPPER_STATES)
    cell = NotingCell()
    with serving(cell, lockstep):
        wire.start()
        assert wait_until(lambda: wire.trigger(topics.RESET).success)
        assert wait_until(opening.get_subscription_count)
        place = cell.read()["tool_pose"].value
        for numbers in ([], [0.1, 0.2], [np.nan], [np.inf], [1.5], [0.25]):
            opening.publish(Float64MultiArray(data=numbers))
            target.publish(messages.to_pose(place, runtime.system_now() * (not lockstep), "base"))
            clock.sleep(0.03)
        assert wait_until(lambda: states and states[-1].position[0] == 0.25)
    assert {state.position[0] for state in states} <= {0.0, 0.25}
    if lockstep:
        assert cell.now == pytest.approx(TASK.period), "time moves on for good commands only"
