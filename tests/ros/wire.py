"""A cell of real nodes in processes of their own, and a wire to listen in and to meddle."""

import os
import signal
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from std_srvs.srv import Trigger

from robostack.core import clock
from robostack.ros import environment, topics
from robostack.ros.processes import ProcessGroup
from robostack.ros.runtime import Session

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0  # s for what must come at last; a busy machine starts a node in ten


class Cell:
    """The nodes of a cell in a ROS domain of its own, with their output."""

    def __init__(self, group: ProcessGroup, lines: list[str], domain: int):
        self.group, self.lines, self.domain = group, lines, str(domain)

    def start(self, node: str, *parameters: str) -> None:
        module = {"mirror": "robostack.mirror", "guard": "robostack.guard_node"}[node]
        words = [word for pair in parameters for word in ("-p", pair)]
        command = [sys.executable, "-m", module, "--ros-args", *words]
        environ = {"PYTHONPATH": str(ROOT), "ROS_DOMAIN_ID": self.domain}
        self.group.start(node, command, environ, stops_last=node == "guard")

    def wait_ready(self, *nodes: str) -> None:
        for node in nodes:
            wait_until(lambda node=node: self.said(f"{node}: ready") or self.group.poll())
            assert self.said(f"{node}: ready"), self.lines

    def said(self, text: str) -> bool:
        return any(text in line for line in self.lines)

    def signal(self, node: str, number: signal.Signals) -> None:
        os.kill(self.group.pid(node), number)

    def status(self, node: str, timeout: float = PATIENCE_S) -> int | None:
        """Exit status, None while it runs after `timeout` s."""
        wait_until(lambda: self.group.status(node) is not None, timeout)
        return self.group.status(node)


def wait_until(is_true, timeout: float = PATIENCE_S) -> bool:
    """Polls; whether it came true in time."""
    deadline = clock.now() + timeout
    while not (done := is_true()) and clock.now() < deadline:
        clock.sleep(0.01)
    return bool(done)


@contextmanager
def running_cell(*parameters: str, nodes=("guard", "mirror")) -> Iterator[Cell]:
    """A cell of the mock, or of what `parameters` say; its nodes are ready."""
    lines: list[str] = []
    with environment.claimed_domain() as domain, ProcessGroup(lines.append) as group:
        cell = Cell(group, lines, domain)
        for node in nodes:
            cell.start(node, "plant:=mock", *parameters)
        cell.wait_ready(*nodes)
        yield cell


class Wire:
    """Bare topics, as somebody else's node would use them."""

    def __init__(self):
        self.session = Session("somebody")
        self.heard = defaultdict(list)

    def hear(self, kind, topic: str, qos=topics.REASONS) -> list:
        """Everything that comes on a topic from now on."""
        self.session.subscribe(kind, topic, qos, self.heard[topic].append)
        return self.heard[topic]

    def speak(self, kind, topic: str, qos=topics.NEWEST):
        return self.session.node.create_publisher(kind, topic, qos)

    def trigger(self, name: str):
        """Calls a service of type Trigger."""
        client = self.session.node.create_client(Trigger, name)
        assert wait_until(client.service_is_ready), f"no service {name}"
        future = client.call_async(Trigger.Request())
        assert wait_until(future.done), f"no answer from {name}"
        return future.result()

    def start(self) -> "Wire":
        self.session.serve()
        self.session.loop_in_background()
        return self

    def close(self) -> None:
        self.session.close()


@contextmanager
def connected(cell: Cell, connect) -> Iterator:
    """What `connect()` makes, in the cell's domain, closed at the end."""
    before = os.environ.get("ROS_DOMAIN_ID")
    os.environ["ROS_DOMAIN_ID"] = cell.domain
    try:
        made = connect()
    finally:
        os.environ.pop("ROS_DOMAIN_ID")
        os.environ |= {"ROS_DOMAIN_ID": before} if before else {}
    try:
        yield made
    finally:
        made.close()
