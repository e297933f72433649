"""A cell for benchmarks: mirror and guard as `robostack train` starts them, in a ROS domain of their own."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from robostack.core.robot import Robot
from robostack.core.task import Task
from robostack.ros import environment, launch_file
from robostack.ros.processes import ProcessGroup


@contextmanager
def running(task: Task, robot: Robot, lockstep: bool) -> Iterator[ProcessGroup]:
    """The cell's processes; this process joins their domain. More may be started beside them."""
    shared = {"ROS_DOMAIN_ID": str(environment.free_domain()), **environment.ONE_THREAD}
    os.environ.update(shared)
    given = {"robot": robot.name, "task": task.name, "lockstep": str(lockstep).lower()}
    with ProcessGroup() as group:
        for node in launch_file.load(environment.mirror_launch_file(), given):
            group.start(node.name, node.command(), shared, stops_last=node.name == "guard")
        yield group
