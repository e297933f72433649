"""What a node of the cell says of itself on /diagnostics (REP-107): for people and tools. Nothing stops by it."""

from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticArray

from robostack.core import clock
from robostack.ros import messages, runtime, topics

PERIOD_S = 1.0
OK, WARN, ERROR = 0, 1, 2


class Diagnostics:
    """Owns the publisher, and the counts when it last spoke."""

    def __init__(self, session: runtime.Session, hardware: str):
        self._out = session.node.create_publisher(
            DiagnosticArray, topics.DIAGNOSTICS, topics.REASONS
        )
        self._name = f"{session.node.get_fully_qualified_name().lstrip('/')}: cell"
        self._hardware = hardware
        self._counts: dict[str, int] = {}
        self._told_at = clock.now()

    @property
    def is_due(self) -> bool:
        return clock.now() - self._told_at >= PERIOD_S

    def tell(
        self, level: int, summary: str, counts: Mapping[str, int], values: Mapping[str, str]
    ) -> None:
        """`counts` only grow; what is told of them is how fast."""
        now = clock.now()
        rates = {
            f"{name}, Hz": f"{(count - self._counts.get(name, 0)) / (now - self._told_at):.1f}"
            for name, count in counts.items()
        }
        self._counts, self._told_at = dict(counts), now
        self._out.publish(
            messages.to_diagnostics(
                runtime.system_now(),
                self._name,
                self._hardware,
                level,
                summary,
                {**rates, **values},
            )
        )
