"""The mirror as a node in this process, around a cell that notes what is done to it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

pytestmark = pytest.mark.ros
pytest.importorskip("rclpy")

from robostack.core import catalog
from robostack.core.plant import MockPlant
from robostack.ros import topics
from robostack.ros.mirror import MirrorNode
from robostack.ros.runtime import Session
from tests.ros.wire import Wire, wait_until

ROBOT, TASK = catalog.robot("fr3"), catalog.task("reach")


class NotingCell(MockPlant):
    """Notes the threads that touch it."""

    def __init__(self):
        super().__init__(TASK)
        self.threads: set[int] = set()

    def __getattribute__(self, name: str):
        if name in ("reset", "read", "follow", "advance"):
            self.threads.add(threading.get_ident())
        return super().__getattribute__(name)


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
    assert wait_until(lambda: sessions, 5.0)
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
    with serving(cell):
        wire.start()
        for _ in range(3):
            assert wire.trigger(topics.RESET).success
    assert len(cell.threads) == 1
