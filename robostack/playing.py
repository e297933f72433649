"""A run's episodes, one after another: played on its cell, or taken from the disk where they are there."""

from collections.abc import Callable

from robostack import beginnings, done
from robostack.config import RunConfig
from robostack.core.errors import StaleSample
from robostack.core.guide import Starter
from robostack.core.loop import Loop, Policy
from robostack.core.mask import Masker
from robostack.core.operator import Nobody, ScriptedPerson
from robostack.core.plant import Plant
from robostack.core.types import Samples, Step
from robostack.learn.acting import arm_places
from robostack.past import Past
from robostack.progress import Progress
from robostack.store import spool
from robostack.store.disk import explained
from robostack.store.episode import EpisodeWriter, Outcome, outcome_of
from robostack.store.run import Run

SEEDS_A_RUN = 1_000_000  # seed of episode i in run s: s * this + i
MOST_CUT = 3  # episodes in a row that a real-time cell may cut short
AIDED = ("demonstration", "practice")  # kinds of episodes in which the person may act


class Player:
    """Owns how an episode of a run comes about: who acts in it, its recorder, and which one is next.

    `on_tick` is called after each step, `check` often while nothing is played; what they raise ends it. Raises
    RobostackError for a folder that does not fit the config.
    """

    def __init__(
        self,
        run: Run,
        config: RunConfig,
        plant: Plant,
        progress: Progress,
        on_tick: Callable[[Samples, Step | None], None],
        check: Callable[[], None],
    ):
        self._run, self._config, self._plant, self._progress = run, config, plant, progress
        self._check, self._task, self._spec = check, config.load_task(), config.spec()
        self._person = ScriptedPerson(
            lambda: self._task.expert(self._task.options),
            config.person,
            config.seed,
            lambda terms: self._task.left(self._task.options, terms),
        )
        memory = spool.place(run.seat)
        with explained("bring steps of before to", run.episodes):
            for name in spool.recover(run.episodes, memory):
                print(f"{name}: the last steps came from memory", flush=True)
        # In lockstep the cell waits for the disk, and simulated steps can be made again.
        self._recorder = recorder = EpisodeWriter(
            run.episodes, self._spec, None if config.lockstep else memory
        )
        self._guide = self._make_guide()
        parts = {"plant": plant, "task": self._task, "robot": config.load_robot()}
        parts |= {"on_tick": on_tick, "recorder": recorder, "mask": self._make_mask()}
        parts |= {"views": self._spec.views, "judge": done.judge_of(run, config)}
        self._aided = Loop(**parts, operator=self._person, guide=self._guide)
        self._alone = Loop(**parts, operator=Nobody())
        self._past = Past(run.episodes, config.lockstep)
        self.index = 0  # of the next episode
        self._cut = 0  # episodes in a row that the cell cut short

    @property
    def has_played(self) -> bool:
        """Whether an episode was not on the disk."""
        return self.index > len(self._past)

    @property
    def is_guided(self) -> bool:
        """Whether a guide begins the next practice episode."""
        return self._guide is not None and self._guide.horizon > 0

    @property
    def willingness(self) -> float:
        """Of the person, to watch the next practice episode."""
        return self._person.willingness

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

    def play(self, kind: str, policy: Callable[[], Policy], seed: int | None = None) -> Outcome:
        """One whole episode, from the disk where it is there. `policy` is asked for only when it is to act.

        In real time, one that the cell or the end of an actor cuts short stays as it is and the next one is tried.
        """
        loop = self._aided if kind in AIDED else self._alone
        while True:
            index, self.index = self.index, self.index + 1
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
            self._progress.episodes += 1
            self._progress.write()
            return outcome_of(episode)

    def _recall(self, index: int, kind: str, seed: int) -> Outcome | None:
        """An episode of before as if it were played now; None for one that was cut."""
        self._check()
        found = self._past.take(index, kind, seed)
        if found is None:
            steps, helped = self._past.take_cut(index, kind, seed)
        else:
            steps, helped = found.steps, found.person_steps
            self._progress.episodes += 1
        if kind in AIDED:
            self._person.recall(kind, seed, helped, found.is_success if found else None)
        if self._guide and found:
            self._guide.end(kind, found.is_success, helped, steps)
        if self._progress.phase in ("practice", "check"):
            self._progress.steps += steps
        return found

    def _go_live(self, index: int) -> None:
        """Where the disk ends."""
        if index > len(self._past):
            return
        if self._past:
            print(f"goes on after {index} episodes, with {self._progress.phase}", flush=True)
            self.tell()
        if self._progress.phase != "evaluation":  # then training has its time already
            self._progress.start_clock()

    def enter(self, phase: str) -> None:
        if phase != self._progress.phase:
            self._progress.phase = phase
            self.tell()

    def tell(self) -> None:
        """At once; what is only recalled is not news."""
        self._progress.write(now=self.index >= len(self._past))

    def close(self) -> None:
        """Brings to the disk what still waits. May be called twice."""
        self._recorder.close()
