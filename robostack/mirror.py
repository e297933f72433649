"""The door of the mirror: a simulated cell, and the ROS 2 node that serves it."""

import sys

from robostack.core.errors import UnknownName
from robostack.core.plant import Cell, MockPlant
from robostack.ros import doors


def main(argv: list[str] | None = None) -> int:
    """Runs the mirror of one cell. Exit status 2 and one line when it cannot."""
    return doors.run("mirror", sys.argv[1:] if argv is None else argv, _build)


def _build(session, settings):
    from robostack.ros.mirror import MirrorNode

    return MirrorNode(
        session,
        _cell(settings),
        settings.task,
        settings.robot,
        settings.lockstep,
        settings.rate,
    )


def _cell(settings) -> Cell:
    """MuJoCo's cell, or the mock without physics, for tests of the wire alone."""
    if settings.plant == "mock":
        if settings.cameras:
            raise UnknownName("camera", settings.cameras[0], [], "parameter cameras, plant mock")
        return MockPlant(settings.task)
    if settings.plant != "twin":
        raise UnknownName("plant", settings.plant, ["twin", "mock"], "parameter plant")
    from robostack.twin.plant import TwinPlant

    twin = TwinPlant(
        settings.task,
        settings.robot,
        cameras=settings.cameras,
        noise=settings.noise,
        images=False,  # the node asks for pictures when they are due
    )
    if not settings.watch:
        return twin
    from robostack.watch import watched

    return watched(twin)


if __name__ == "__main__":
    raise SystemExit(main())
