"""Door `learn`: the learner. Follows a run's episodes and publishes versions of the actor's weights."""

import argparse
import signal
from pathlib import Path

from robostack import config as configs
from robostack.config import RunConfig
from robostack.core import clock, observe
from robostack.learn.learner import Learner
from robostack.learn.policy import publish
from robostack.store import params, pulse
from robostack.store.episode import EpisodeFollower
from robostack.store.run import Run, write_json

KEEP = 100  # newest versions kept besides the pinned ones
CHUNK = 20  # learner steps between two looks at the clock
TRAINED = ("demonstration", "practice", "solo")  # kinds of episodes to learn from


class Training:
    """Owns the learner's side of a run: which episodes it has seen and how many updates it owes."""

    def __init__(self, run: Run, config: RunConfig):
        self._run, self._config = run, config
        self._spec = observe.spec_of(config.load_task())
        self._learner = Learner(self._spec, config.learner, config.seed, config.capacity)
        self._follower = EpisodeFollower(run.episodes, self._spec)
        self._demonstrations, self._episodes, self._env_steps = 0, 0, 0
        self._owed = 0.0  # learner steps
        self._version = -1
        self._seconds, self._written = 0.0, 0.0  # of training; when learner.json was written
        self._info: dict[str, float] = {}
        self.is_over = False  # the examination has begun: nothing more to learn from
        self.is_stopped = False

    def poll(self) -> bool:
        """Takes in what is new and trains for it; whether there was anything."""
        episodes = self._follower.poll()
        for episode in episodes:
            if self.is_stopped:
                return True
            if episode.header.kind == "evaluation":
                self.is_over = True
                return True
            if episode.header.kind not in TRAINED:
                continue
            self._learner.add([episode])
            if episode.header.kind == "demonstration":
                self._demonstrations += 1
                if self._demonstrations == self._config.demonstrations:
                    self._train(self._config.warmup)
                    self._publish()
                continue
            self._episodes += 1
            self._env_steps += len(episode.steps)
            # Every control step is paid for with the same number of updates, however fast the machine is.
            self._owed += len(episode.steps) * self._config.updates_per_step
            whole = int(self._owed)
            self._owed -= whole
            self._train(whole)
            self._publish()
        return bool(episodes)

    def _train(self, steps: int) -> None:
        start = clock.now()
        while steps > 0 and not self.is_stopped:
            pulse.beat()
            count = min(steps, CHUNK)
            self._info = self._learner.train(count)
            steps -= count
            if clock.now() - self._written > 0.5:
                self._report(clock.now() - start)
        self._seconds += clock.now() - start
        self._report(0.0)

    def _publish(self) -> None:
        if self.is_stopped:  # its updates are not all made
            return
        self._version += 1
        publish(
            self._run.params,
            self._version,
            self._learner.state.served,
            self._spec,
            updates=self._learner.steps,
            episodes=self._episodes,
        )
        params.prune(self._run.params, KEEP)

    def _report(self, running: float) -> None:
        self._written = clock.now()
        practised = self._learner.steps - self._config.warmup
        write_json(
            self._run.path / "learner.json",
            {
                "learner_steps": self._learner.steps,
                "critic_updates": self._learner.steps * self._config.learner.critic_updates,
                "steps_per_second": self._learner.steps / max(1e-9, self._seconds + running),
                "updates_per_step": max(0, practised) / max(1, self._env_steps),
                "version": self._version,
                "transitions": len(self._learner.replay),
                "episodes": self._episodes,
                **self._info,
            },
            is_durable=False,
        )


def main(argv: list[str] | None = None) -> int:
    """Runs the learner of a run folder until it is told to stop."""
    parser = argparse.ArgumentParser(prog="robostack learn", description=__doc__)
    parser.add_argument("run", type=Path, help="run folder, as `robostack train` makes it")
    arguments = parser.parse_args(argv)
    run = Run.open(arguments.run)
    config = configs.from_dict(run.config)
    training = Training(run, config)
    for number in (signal.SIGINT, signal.SIGTERM):
        # A flag, not an exception: one that strikes inside XLA leaves a traceback and no clean end.
        signal.signal(number, lambda *_: setattr(training, "is_stopped", True))
    while not training.is_stopped:
        pulse.beat()
        if training.is_over or not training.poll():
            clock.sleep(0.005)
    return 0
