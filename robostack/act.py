"""Door `act`: the actor. A run's episodes on its cell: demonstrations, practice, checks, the last examination.

What it does next is a function of the episodes before. So on a run that was begun it goes through the same order, takes
what is on the disk for what it would play, and plays where the disk ends.
"""

import argparse
import signal
from pathlib import Path

import numpy as np

from robostack import config as configs
from robostack.config import RunConfig
from robostack.core import clock
from robostack.core.guard import Guard
from robostack.core.loop import StillPolicy
from robostack.core.mask import OPEN
from robostack.core.plant import GuardedPlant, Plant
from robostack.core.types import Samples, Step
from robostack.learn.policy import LearnedPolicy
from robostack.playing import Player
from robostack.progress import Progress
from robostack.store import params, pulse
from robostack.store.episode import Outcome
from robostack.store.lock import held
from robostack.store.run import Run
from robostack.twin.plant import TwinPlant
from robostack.versions import Versions

VALIDATION, EVALUATION = (
    800_000,
    900_000,
)  # where those episodes' seeds begin: no other episode comes near
CANDIDATES = 3  # versions that validation chooses from


def make_plant(config: RunConfig) -> Plant:
    """The run's cell, behind its guard."""
    task, robot = config.load_task(), config.load_robot()
    if config.plant == "twin":
        guard = Guard(robot.safety, task.period)
        return GuardedPlant(TwinPlant(task, robot, noise=config.noise), guard)
    from robostack.ros.plant import RosPlant  # needs rclpy, which a mirror in the process does not

    return RosPlant(task, robot, lockstep=config.lockstep)


class Interrupted(Exception):
    """Somebody wants the actor to end."""


class Actor:
    """Owns the order of a run's episodes. Raises RobostackError for a folder that does not fit its config."""

    def __init__(self, run: Run, config: RunConfig, plant: Plant):
        self._run, self._config = run, config
        self._task = config.load_task()
        self._spec = config.spec()
        self.progress = Progress(run.path / "actor.json")
        self._player = Player(run, config, plant, self.progress, self._on_tick, self._check_stopped)
        self._versions = Versions(run, self._spec, self._wait)
        self.is_stopped = False  # set by a signal, seen at the next tick
        self._trained = 0  # episodes after the demonstrations that the learner sees

    def run(self) -> None:
        """Everything in order; leaves report material in the run folder."""
        self.progress.recall_time()
        if self._config.start.file:
            self._fill()
        else:
            self._demonstrate()
        while True:
            if not self._config.practises:
                self._check()
                version, _ = self._choose()
                break
            self._practise()
            version, rate = self._choose()
            if rate >= self._config.good_enough or self.progress.steps >= self._config.steps:
                break
        self.progress.stop_clock()
        self._examine(version)
        self._player.enter("done")
        if not self._player.has_played:
            count = self._player.index
            print(f"{self._run.path} was done: all its {count} episodes are there", flush=True)

    def _demonstrate(self) -> None:
        self._player.enter("demonstrations")
        still = StillPolicy(self._spec.action_size)
        for _ in range(self._config.demonstrations):
            self._player.play("demonstration", lambda: still)

    def _fill(self) -> None:
        """The policy to begin with plays as it is: what the critic learns from before that policy moves."""
        self._player.enter("fill")
        for _ in range(self._config.start.fill):
            self._player.play("fill", lambda: self._versions.version(0))

    def _practise(self) -> None:
        config, practised, perfect, due = self._config, 0, 0, self._config.check_every
        while self.progress.steps < config.steps and perfect < config.perfect_checks:
            self._player.enter("practice")
            is_guided = self._player.is_guided
            played = self._player.play("practice", self._newest)
            practised += 1
            self._trained += 1
            self.progress.successes.append(played.is_success)
            self.progress.person_steps.append(played.person_steps / max(1, played.steps))
            if not played.person_steps and not is_guided:
                self.progress.unaided.append(played.is_success)
            is_last = self.progress.steps >= config.steps
            if is_last or (practised >= due and self._is_promising()):
                perfect = perfect + 1 if self._check() else 0
                due = practised + config.check_every

    def _is_promising(self) -> bool:
        """Whether practice lately went well without person or mask; before, a check would only cost robot time."""
        # The newest version lacks the last episode: after two of the longest its mask is open for certain.
        sure = self.progress.steps - 2 * self._task.steps
        if self._config.mask.at(sure / self._config.steps) < OPEN:
            return False
        recent = self.progress.unaided[-self._config.check_episodes :]
        return len(recent) > 0 and float(np.mean(recent)) >= self._config.check_from

    def _check(self) -> bool:
        """The policy alone, deterministic, the same weights throughout. Whether it never failed."""
        self._player.enter("check")
        name, played = f"check-{len(self.progress.checks):03d}", list[Outcome]()

        def checked() -> LearnedPolicy:
            if played:
                return self._versions.version(played[-1].parameters)
            policy = self._unmasked()
            # At once: the learner goes on and tidies up behind it.
            params.pin(self._run.params, name, policy.version)
            return policy

        for _ in range(self._config.check_episodes):
            played.append(self._player.play("solo", checked))
            self._trained += 1
            self.progress.unaided.append(played[-1].is_success)
            self.progress.successes.append(played[-1].is_success)
        wins = sum(each.is_success for each in played)
        self.progress.checks.append(
            {
                "version": played[-1].parameters,
                "steps": self.progress.steps,
                "successes": wins,
                "episodes": len(played),
                "length": float(np.mean([each.steps for each in played])),
                "willingness": self._player.willingness,
            }
        )
        self._player.tell()
        return wins == len(played)

    def _choose(self) -> tuple[int, float]:
        """The best of the checked versions and its success, by episodes made for the choice; pinned as "best"."""
        self._player.enter("validation")
        ranked = sorted(
            self.progress.checks,
            key=lambda check: (check["successes"] / check["episodes"], -check["length"]),
            reverse=True,
        )[:CANDIDATES]
        for check in ranked:
            if "validation" not in check:
                played = [
                    self._player.play(
                        "validation",
                        lambda version=check["version"]: self._versions.version(version),
                        VALIDATION + i,
                    )
                    for i in range(self._config.validation)
                ]
                check["validation"] = sum(each.is_success for each in played)
        best = max(ranked, key=lambda check: (check["validation"], -check["length"]))
        params.pin(self._run.params, "best", best["version"])
        return best["version"], best["validation"] / self._config.validation

    def _examine(self, version: int) -> None:
        self._player.enter("evaluation")
        for i in range(self._config.evaluation):
            played = self._player.play(
                "evaluation", lambda: self._versions.version(version), EVALUATION + i
            )
            self.progress.evaluated.append(played.is_success)

    def _on_tick(self, samples: Samples, step: Step | None) -> None:
        del samples
        self._check_stopped()
        if step is None:
            return
        self.progress.lateness.append(step.lateness)
        if self.progress.phase in ("practice", "check"):
            self.progress.steps += 1
        if self.progress.phase == "practice" and not self._config.lockstep:
            self._newest()
        self.progress.write()

    def _check_stopped(self) -> None:
        pulse.beat()
        if self.is_stopped:
            raise Interrupted

    def _wait(self) -> None:
        """For the learner."""
        self._check_stopped()
        self.progress.write()

    def _unmasked(self) -> LearnedPolicy:
        """The policy to check. In real time the learner may be behind: it is waited for until its mask is open."""
        while (policy := self._newest()).width < OPEN:
            self._wait()
            clock.sleep(0.01)
        return policy

    def _newest(self) -> LearnedPolicy:
        """The policy to practise with.

        In lockstep this is a fixed function of the episodes so far, whatever the machine's speed: the version made
        from all episodes but the last, so that actor and learner work at the same time and runs repeat exactly.
        """
        if not self._config.lockstep:
            return self._versions.newest()
        return self._versions.version(max(0, self._trained - 1))

    def close(self) -> None:
        """Brings to the disk what still waits. May be called twice."""
        self._player.close()
        self.progress.close()
        self._versions.close()


def main(argv: list[str] | None = None) -> int:
    """Runs the actor of a run folder."""
    parser = argparse.ArgumentParser(prog="robostack act", description=__doc__)
    parser.add_argument("run", type=Path, help="run folder, as `robostack train` makes it")
    arguments = parser.parse_args(argv)
    run = Run.open(arguments.run)
    config = configs.from_dict(run.config)
    with held(run.path / ".actor.lock"):
        plant, actor = make_plant(config), None
        try:
            actor = Actor(run, config, plant)
            for number in (signal.SIGINT, signal.SIGTERM):
                # A flag, not an exception: one that strikes inside JAX or rclpy is swallowed or leaves a mess.
                signal.signal(number, lambda *_: setattr(actor, "is_stopped", True))
            actor.run()
        except Interrupted:
            return 130
        finally:
            if actor is not None:
                actor.close()
            plant.close()
    return 0
