"""What an actor acts with: the versions that its run's learner publishes, waited for, loaded, swapped between ticks."""

from collections.abc import Callable

from robostack.core import clock
from robostack.core.errors import Unavailable
from robostack.core.spec import Spec
from robostack.learn.policy import LearnedPolicy, Ready
from robostack.store import params
from robostack.store.newest import Newest
from robostack.store.run import Run

# s without a sign of the learner before the actor gives up: it may be started again (`train` gives up for both), or be
# away for ten minutes behind a network.
PATIENCE = 900.0


class Versions:
    """Owns the one policy, which is compiled once, and in real time a thread that reads new versions.

    `while_waiting` is called until a version is there; what it raises ends the waiting.
    """

    def __init__(self, run: Run, spec: Spec, while_waiting: Callable[[], None]):
        self._run, self._spec, self._while_waiting = run, spec, while_waiting
        self._policy: LearnedPolicy | None = None
        self._is_newest = False  # else it is a version that was asked for
        self._follower: Newest[Ready] | None = None

    def version(self, version: int) -> LearnedPolicy:
        """The policy with these weights. Waits for those to come; raises Unavailable for what will not come."""
        self._is_newest = False
        if self._policy is not None and self._policy.version == version:
            return self._policy
        if version > params.latest_version(self._run.params):
            self._await(version)
        found = params.load(params.path_of(self._run.params, version), self._spec)
        if self._policy is None:
            self._policy = LearnedPolicy(self._spec, found)
        else:
            self._policy.take(self._policy.ready(found))
        return self._policy

    def newest(self) -> LearnedPolicy:
        """The policy with the newest weights. Between ticks too: a thread reads them, so that no tick waits."""
        policy = self._policy
        if policy is None or not self._is_newest:
            policy = self.version(max(0, params.latest_version(self._run.params)))
            self._is_newest = True
        if self._follower is None:
            self._follower = Newest(self._run.params, self._spec, policy.ready, policy.version)
        ready = self._follower.take()
        if ready is not None and ready.version > policy.version:
            policy.take(ready)
        return policy

    def close(self) -> None:
        """May be called twice."""
        if self._follower is not None:
            self._follower.close()

    def _await(self, version: int) -> None:
        """Raises Unavailable when the learner shows no sign of life; a slow one is waited for."""
        path, sign = params.path_of(self._run.params, version), self._run.path / "learner.json"
        seen, since = "", clock.now()
        while not path.exists():
            self._while_waiting()
            if (now_seen := sign.read_text() if sign.exists() else "") != seen:
                seen, since = now_seen, clock.now()
            if clock.now() - since > PATIENCE:
                raise Unavailable(
                    f"no parameters of version {version}, and no sign of the learner for {PATIENCE:.0f} s; "
                    f"does `robostack learn {self._run.path}` run?"
                )
            clock.sleep(0.002)
