"""The services of a cell: what an actor asks of the guard and of the mirror between episodes."""

import json
import threading
from typing import Any

from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from std_srvs.srv import Trigger

from robostack.core import clock
from robostack.core.errors import PlantFault, Unavailable
from robostack.ros import runtime, topics
from robostack.ros.runtime import Session

FIND_S = 10.0  # s in which a cell that runs, or starts, is sure to be found
ANSWER_S = 10.0  # s that a service may take
POLL_S = 0.01  # s


class Calls:
    """Owns the clients. Create it after all topics: discovery keeps the order, so an answer proves them connected."""

    def __init__(self, session: Session):
        self._session = session
        self._clients = {
            name: session.node.create_client(kind, name)
            for name, kind in (
                (topics.SET_PARAMETERS, SetParameters),
                (topics.RESET, Trigger),
                (topics.BEGIN, Trigger),
            )
        }

    def finds_mirror(self, seconds: float) -> bool:
        """Whether a mirror answers within so many seconds."""
        return self._is_found(topics.RESET, seconds)

    def begin(self) -> None:
        """The guard forgets the motion so far. Raises Unavailable when it or the cell is not there."""
        self._trigger(topics.BEGIN)
        runtime.read_date()  # as the guard does now, and the mirror when it is reset

    def reset(self, seed: int) -> dict[str, Any]:
        """The mirror puts the cell to the start that belongs to `seed`; returns what was drawn."""
        value = ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=int(seed))
        request = SetParameters.Request(parameters=[Parameter(name="seed", value=value)])
        result = self._call(topics.SET_PARAMETERS, request).results[0]
        if not result.successful:
            raise PlantFault(f"node {topics.MIRROR} refuses seed {seed}: {result.reason}")
        return json.loads(self._trigger(topics.RESET))

    def _trigger(self, name: str) -> str:
        """A Trigger's message, asked for again while the cell is still connecting."""
        deadline = clock.now() + FIND_S
        while True:
            response = self._call(name, Trigger.Request())
            if response.success:
                return response.message
            if not response.message.startswith(topics.NOT_YET):
                raise PlantFault(f"{name}: {response.message}")
            if clock.now() > deadline:
                raise Unavailable(f"{name}: {response.message}; `robostack doctor` shows the cell")
            clock.sleep(POLL_S)

    def _call(self, name: str, request) -> Any:
        client, node = self._clients[name], name.split("/")[0]
        if not self._is_found(name, FIND_S):
            raise Unavailable(
                f"no service {client.srv_name} within {FIND_S:.0f} s; is node {node} running, "
                f"in this ROS domain and namespace? Start a cell with `robostack up mirror`"
            )
        answered = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(ANSWER_S):
            client.remove_pending_request(future)
            raise Unavailable(
                f"{client.srv_name} gave no answer in {ANSWER_S:.0f} s; check node {node}"
            )
        return future.result()

    def _is_found(self, name: str, seconds: float) -> bool:
        deadline = clock.now() + seconds
        while not (is_ready := self._clients[name].service_is_ready()) and clock.now() < deadline:
            clock.sleep(POLL_S)
        return is_ready
