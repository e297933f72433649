"""Door `act`: the actor. A run's episodes on its cell: demonstrations, practice, checks, the last examination.

What it does next is a function of the episodes before. So on a run that was begun it goes through the same order, takes
what is on the disk for what it would play, and plays where the disk ends.
"""

import argparse
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np

from robostack import beginnings, done
from robostack import config as configs
from robostack.config import RunConfig
from robostack.core.errors import StaleSample
from robostack.core.guard import Guard
from robostack.core.guide import Starter
from robostack.core.loop import Loop, Policy, StillPolicy
from robostack.core.mask import OPEN, Masker
from robostack.core.operator import Nobody, ScriptedPerson
from robostack.core.plant import GuardedPlant, Plant
from robostack.core.types import Samples, Step
from robostack.learn.acting import arm_places
from robostack.learn.policy import LearnedPolicy
from robostack.past import Past
from robostack.progress import Progress
from robostack.store import params, pulse, spool
from robostack.store.disk import explained
from robostack.store.episode import EpisodeWriter, Outcome, outcome_of
from robostack.store.lock import held
from robostack.store.run import Run
from robostack.twin.plant import TwinPlant
from robostack.versions import Versions

SEEDS_A_RUN = 1_000_000  # seed of episode i in run s: s * this + i
VALIDATION, EVALUATION = (
    800_000,
    900_000,
)  # where those episodes' seeds begin: no other episode comes near
MOST_CUT = 3  # episodes in a row that a real-time cell may cut short
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
        self._run, self._config, self._plant = run, config, plant
        self._task = config.load_task()
        robot = config.load_robot()
        self._person = ScriptedPerson(
            lambda: self._task.expert(self._task.options),
            config.person,
            config.seed,
            lambda terms: self._task.left(self._task.options, terms),
        )
        self.progress = Progress(run.path / "actor.json")
        self._spec = spec = config.spec()
        parts = {"plant": plant, "task": self._task, "robot": robot, "on_tick": self._on_tick}
        parts |= {"views": spec.views, "judge": done.judge_of(run, config)}
        memory = spool.place(run.seat)
        with explained("bring steps of before to", run.episodes):
            for name in spool.recover(run.episodes, memory):
                print(f"{name}: the last steps came from memory", flush=True)
        # In lockstep the cell waits for the disk, and simulated steps can be made again.
        self._recorder = recorder = EpisodeWriter(
            run.episodes, spec, None if config.lockstep else memory
        )
        self._guide = self._make_guide()
        parts |= {"mask": self._make_mask()}
        self._aided = Loop(**parts, operator=self._person, recorder=recorder, guide=self._guide)
        self._alone = Loop(**parts, operator=Nobody(), recorder=recorder)
        self._versions = Versions(run, spec, self._wait)
        self._past = Past(run.episodes, config.lockstep)
        self.is_stopped = False  # set by a signal, seen at the next tick
        self._index = 0
        self._cut = 0  # episodes in a row that the cell cut short
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
        self._enter("done")
        if self._index == len(self._past):
            print(
                f"{self._run.path} was done: all its {self._index} episodes are there", flush=True
            )

    def _demonstrate(self) -> None:
        self._enter("demonstrations")
        still = StillPolicy(self._spec.action_size)
        for _ in range(self._config.demonstrations):
            self._play(self._aided, lambda: still, "demonstration")

    def _fill(self) -> None:
        """The policy to begin with plays as it is: what the critic learns from before that policy moves."""
        self._enter("fill")
        for _ in range(self._config.start.fill):
            self._play(self._alone, lambda: self._versions.version(0), "fill")

    def _make_guide(self) -> Starter | None:
        choices = self._config.jump_start
        if not choices.guide:
            return None
        source = beginnings.source(self._run, self._config, choices.guide, beginnings.GUIDE)
        return Starter(source, choices, self._task.steps)

    def _make_mask(self) -> Masker | None:
        guide = self._config.mask.guide
        if not guide:
            return None
        source = beginnings.source(self._run, self._config, guide, beginnings.MASK)
        return Masker(source, arm_places(self._spec))

    def _practise(self) -> None:
        config, practised, perfect, due = self._config, 0, 0, self._config.check_every
        while self.progress.steps < config.steps and perfect < config.perfect_checks:
            self._enter("practice")
            is_guided = self._guide is not None and self._guide.horizon > 0
            played = self._play(self._aided, self._newest, "practice")
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
        self._enter("check")
        name, played = f"check-{len(self.progress.checks):03d}", list[Outcome]()

        def checked() -> LearnedPolicy:
            if played:
                return self._versions.version(played[-1].parameters)
            policy = self._newest()
            # At once: the learner goes on and tidies up behind it.
            params.pin(self._run.params, name, policy.version)
            return policy

        for _ in range(self._config.check_episodes):
            played.append(self._play(self._alone, checked, "solo"))
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
                "willingness": self._person.willingness,
            }
        )
        self._tell()
        return wins == len(played)

    def _choose(self) -> tuple[int, float]:
        """The best of the checked versions and its success, by episodes made for the choice; pinned as "best"."""
        self._enter("validation")
        ranked = sorted(
            self.progress.checks,
            key=lambda check: (check["successes"] / check["episodes"], -check["length"]),
            reverse=True,
        )[:CANDIDATES]
        for check in ranked:
            if "validation" not in check:
                played = [
                    self._play(
                        self._alone,
                        lambda version=check["version"]: self._versions.version(version),
                        "validation",
                        VALIDATION + i,
                    )
                    for i in range(self._config.validation)
                ]
                check["validation"] = sum(each.is_success for each in played)
        best = max(ranked, key=lambda check: (check["validation"], -check["length"]))
        params.pin(self._run.params, "best", best["version"])
        return best["version"], best["validation"] / self._config.validation

    def _examine(self, version: int) -> None:
        self._enter("evaluation")
        for i in range(self._config.evaluation):
            played = self._play(
                self._alone, lambda: self._versions.version(version), "evaluation", EVALUATION + i
            )
            self.progress.evaluated.append(played.is_success)

    def _play(
        self, loop: Loop, policy: Callable[[], Policy], kind: str, seed: int | None = None
    ) -> Outcome:
        """One whole episode, from the disk where it is there. `policy` is asked for only when it is to act.

        In real time, one that the cell or the end of an actor cuts short stays as it is and the next one is tried.
        """
        while True:
            index, self._index = self._index, self._index + 1
            number = self._config.seed * SEEDS_A_RUN + (index if seed is None else seed)
            if index < len(self._past):
                if (found := self._recall(index, kind, number)) is None:
                    continue
                return found
            self._go_live(index)
            self._plant.look_through(self._config.looks_through(kind))
            try:
                episode = loop.run(policy(), kind, index, number, self._config.films(kind))
            except StaleSample as error:
                self._cut += 1
                if self._config.lockstep or self._cut == MOST_CUT:
                    raise
                print(f"episode {index} was cut short: {error}; trying again", flush=True)
                continue
            self._cut = 0
            self.progress.episodes += 1
            self.progress.write()
            return outcome_of(episode)

    def _recall(self, index: int, kind: str, seed: int) -> Outcome | None:
        """An episode of before as if it were played now; None for one that was cut."""
        self._check_stopped()
        found = self._past.take(index, kind, seed)
        if found is None:
            steps, helped = self._past.take_cut(index, kind, seed)
        else:
            steps, helped = found.steps, found.person_steps
            self.progress.episodes += 1
        if kind in ("demonstration", "practice"):
            self._person.recall(kind, seed, helped, found.is_success if found else None)
        if self._guide and found:
            self._guide.end(kind, found.is_success, helped, steps)
        if self.progress.phase in ("practice", "check"):
            self.progress.steps += steps
        return found

    def _go_live(self, index: int) -> None:
        """Where the disk ends."""
        if index > len(self._past):
            return
        if self._past:
            print(f"goes on after {index} episodes, with {self.progress.phase}", flush=True)
            self._tell()
        if self.progress.phase != "evaluation":  # then training has its time already
            self.progress.start_clock()

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
        self._recorder.close()
        self.progress.close()
        self._versions.close()

    def _enter(self, phase: str) -> None:
        if phase != self.progress.phase:
            self.progress.phase = phase
            self._tell()

    def _tell(self) -> None:
        """At once; what is only recalled is not news."""
        self.progress.write(now=self._index >= len(self._past))


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
