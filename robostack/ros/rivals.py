"""Who else publishes target_pose: a controller obeys one publisher only, so the guard must be alone."""

from rclpy.node import Node

from robostack.core import clock
from robostack.core.errors import PlantFault
from robostack.ros import topics
from robostack.ros.runtime import Session

DISCOVERY_S = 2.5  # s in which another publisher is seen (measured: 0 to 0.4, one in 16 after 1.0 on a busy machine)
NAMES_S = 1.0  # s by which names come later than topics, at most
UNKNOWN = "a node not known yet"


def require_none(session: Session) -> None:
    """Looks around before the guard becomes a publisher, so that one which works is not disturbed by one that starts.

    Raises PlantFault with the name of whoever publishes already.
    """
    node, deadline = session.node, clock.now() + DISCOVERY_S
    while clock.now() < deadline and not session.is_stopped:
        if node.count_publishers(topics.TARGET_POSE):
            deadline = clock.now() + NAMES_S
            while UNKNOWN in (names := _names(node)) and clock.now() < deadline:
                clock.sleep(0.02)
            raise PlantFault(
                f"{names} publishes target_pose already, and a controller obeys one only; "
                "stop it first (one that was killed is forgotten after 10 s)"
            )
        clock.sleep(0.02)


def found(node: Node) -> str:
    """The names of all publishers when there are several, else empty."""
    return _names(node) if node.count_publishers(topics.TARGET_POSE) > 1 else ""


def _names(node: Node) -> str:
    infos = node.get_publishers_info_by_topic(topics.TARGET_POSE)
    names = sorted(f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in infos)
    return ", ".join(UNKNOWN if "UNKNOWN" in name else name for name in names) or UNKNOWN
