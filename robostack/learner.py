"""Door `learn`: the learner. Follows a run's episodes and publishes versions of the actor's weights.

What it knows is a function of the episodes. So one that was killed starts at its newest checkpoint, trains again
through the episodes after it, and ends where it would have been, to the last bit.
"""

import argparse
import json
import signal
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from robostack import beginnings, choices
from robostack import config as configs
from robostack.config import RunConfig
from robostack.core import clock
from robostack.core.errors import RobostackError
from robostack.core.mask import OPEN
from robostack.core.types import Episode, EpisodeHeader
from robostack.learn import policy
from robostack.learn.anchor import Anchor, Pull
from robostack.learn.learner import Learner
from robostack.learn.publish import PREFIX, Publisher
from robostack.learn.ratio import Pace
from robostack.store import params, pulse, state
from robostack.store.disk import forget_drafts
from robostack.store.episode import read_episode
from robostack.store.follow import EpisodeFollower
from robostack.store.lock import held
from robostack.store.run import Run, write_json
from robostack.store.state import Checkpoint

KEEP = 100  # newest versions kept besides the pinned ones
CHUNK = 20  # learner steps between two looks at the clock
JUDGED = 20  # newest episodes that a checkpoint's score is over


@dataclass
class Counts:
    """Where a learner stands. JSON in a checkpoint, so numbers and lists only."""

    demonstrations: int = 0
    fill: int = 0  # episodes of the policy to begin with
    episodes: int = 0  # trained on, besides demonstrations
    env_steps: int = 0  # in those
    owed: float = 0.0  # learner steps, less than one
    due: int = 0  # learner steps still to be made for the newest episode
    is_unpublished: bool = False  # they make a version
    version: int = -1
    seconds: float = 0.0  # of training
    alone: list[bool] = field(default_factory=list)  # newest episodes: success without the person


class Training:
    """Owns the learner's side of a run: which episodes it has seen and how many updates it owes."""

    def __init__(self, run: Run, config: RunConfig):
        self._run, self._config = run, config
        self._spec = config.spec()
        self._anchor = Anchor(config.start.anchor)
        self._publisher = Publisher(config.publishing)
        self._pace = Pace(config.ratio, config.updates_per_step)
        self._learner = self._fresh()
        # A cut episode is played again in lockstep; in real time its steps are all there will be. A damaged one ends
        # a run in lockstep, which could not be the same any more; in real time it goes on with what is whole.
        self._follower = EpisodeFollower(
            run.episodes,
            self._spec,
            has_pictures=config.sees,
            with_cut=not config.lockstep,
            say=None if config.lockstep else _say,
        )
        self._counts, self._seen = Counts(), list[str]()  # names of episode files, in order
        self.extras: dict[str, Any] = {}  # JSON that others want back after a restart, by name
        self._written, self._saved = 0.0, clock.now()  # learner.json, the newest checkpoint
        self._info: dict[str, float] = {}
        self.is_over = False  # the examination has begun: nothing more to learn from
        self.is_stopped = False
        forget_drafts(run.params, "*.safetensors")
        self._resume()
        if self._counts.version < 0 and (config.start.file or not config.demonstrations):
            self._publish()  # to practise with from the first episode on
        self._checkpoints = state.Writer(run.path / "state", config.checkpoints)

    def poll(self) -> bool:
        """Takes in what is new and trains for it; whether there was anything."""
        self._checkpoints.check()
        self._settle()  # after a restart: what the newest episode is still due
        is_new = False
        for episode in self._follower.each():
            is_new = True
            if self.is_stopped:
                return True
            if episode.header.kind == "evaluation":
                self.is_over = True
                return True
            self._require_next(episode.header)
            self._seen.append(_name(episode.header))
            if episode.header.kind in self._config.trained:
                self._take(episode)
                self._settle()
        return is_new

    def close(self) -> None:
        """Leaves a checkpoint from which the next one goes on at once. Raises Unavailable."""
        if self._learner.steps:
            self._save()
        self._checkpoints.close()

    def _require_next(self, header: EpisodeHeader) -> None:
        """Raises RobostackError in lockstep, where an episode was passed over because it is cut."""
        wanted = len(self._seen)
        if self._config.lockstep and not header.actor and header.index != wanted:
            raise RobostackError(
                f"episode {header.index} is there, and episode {wanted} in {self._run.episodes} is missing or cut: "
                "a run in lockstep learns from all of them in order; put a good copy there"
            )

    def _take(self, episode: Episode) -> None:
        """Into the memory, and what it is due into the counts."""
        counts = self._counts
        is_practice = episode.header.kind == "practice"
        self._learner.add([episode], is_held_out=is_practice and self._pace.holds_out)
        if episode.header.kind == "demonstration":
            # One that was cut is practice for nobody: the actor shows another one.
            counts.demonstrations += _is_whole(episode)
            if counts.demonstrations == self._config.demonstrations and counts.version < 0:
                counts.due, counts.is_unpublished = self._config.first_steps, True
            return
        if episode.header.kind == "fill":
            counts.fill += _is_whole(episode)
            self._anchor = self._anchor.filled(episode.is_success)
            if counts.fill == self._config.start.fill:
                counts.due = self._config.start.critic_steps
            return
        self._judge(episode)
        counts.episodes += 1
        counts.env_steps += len(episode.steps)
        counts.alone.append(_is_alone(episode) and episode.is_success)
        del counts.alone[:-JUDGED]
        # Control steps are paid for in updates, however fast the machine is; what is held out pays too.
        counts.owed += len(episode.steps) * self._pace.ratio
        counts.due = int(counts.owed)
        counts.owed -= counts.due
        if is_practice:
            self._pace.played(counts.alone[-1], counts.due)
        counts.is_unpublished = True

    def _judge(self, episode: Episode) -> None:
        """What an episode of practice says of the policy; nothing where a guide began it."""
        if episode.header.kind != "practice" or episode.guide_steps:
            return
        is_success = _is_alone(episode) and episode.is_success
        self._anchor = self._anchor.after(self._config.start, is_success)
        if self._publisher.judge(self._learner, is_success):
            _say(f"practice fell clearly: back to the best version after {self._counts.episodes}")

    def _train(self, count: int) -> dict[str, float]:
        """Learner steps: those of the critic alone first, where the run began with a policy."""
        start, moves_actor = self._config.start, True
        pull = None
        if start.file:
            moves_actor = self._learner.steps >= start.critic_steps
            pull = Pull(self._first["actor"], jnp.asarray(self._anchor.weight, jnp.float32))
        return self._learner.train(count, pull if moves_actor else None, moves_actor)

    def _settle(self) -> None:
        """Makes the updates that are due and publishes what they made."""
        counts, is_first = self._counts, self._counts.version < 0
        self._learner.width = self._width
        while counts.due and not self.is_stopped:
            start, count = clock.now(), min(counts.due, CHUNK)
            self._info = self._train(count)
            counts.due -= count
            counts.seconds += clock.now() - start
            if clock.now() - self._written > 0.5:
                self._report()
            if clock.now() - self._saved > self._config.checkpoint_every:
                self._save()
            pulse.beat()
        if counts.is_unpublished and not counts.due:
            self._pace.settled(self._learner.held_out_error)
            self._publish()
            self._report()
            if is_first:
                self._save()

    @property
    def _width(self) -> float:
        """Of the mask, now."""
        return self._config.mask.at(self._counts.env_steps / self._config.steps)

    def _publish(self) -> None:
        """A version that is there stays as it is: somebody may have acted with it."""
        counts, learner = self._counts, self._learner
        counts.version += 1
        counts.is_unpublished = False
        acting, told = self._publisher.next(learner)
        self._info |= told
        served = policy.flatten(acting)
        if (there := self._there(counts.version)) is None:
            meta: dict[str, Any] = {"updates": learner.steps, "episodes": counts.episodes}
            meta |= {"width": self._width} if self._width < OPEN else {}
            network = learner.algorithm.network
            policy.publish(self._run.params, counts.version, acting, network, self._spec, **meta)
        elif any(not np.array_equal(there[name], served[name]) for name in served):
            print(
                f"version {counts.version} was made before with other weights, as on another kind of "
                "machine; those stay, and the run goes on from here",
                flush=True,
            )
        params.prune(self._run.params, KEEP)

    def _there(self, version: int) -> dict[str, np.ndarray] | None:
        """The weights of a version published before; None where there is none or a damaged one."""
        path = params.path_of(self._run.params, version)
        try:
            return params.load(path, self._spec).arrays if path.exists() else None
        except RobostackError:
            return None

    def _save(self) -> None:
        """Hands a copy of everything to the thread that writes."""
        self._saved = clock.now()
        alone = self._counts.alone
        about = {
            "choices": choices.of(self._config),
            "counts": asdict(self._counts),
            "seen": list(self._seen),
            "layout": self._learner.replay.layout(),
            "extras": json.loads(json.dumps(self.extras)),
            "anchor": asdict(self._anchor),
            "publishing": self._publisher.about(),
            "ratio": self._pace.about(),
        }
        score = float(np.mean(alone)) if alone else None
        arrays = self._learner.arrays() | self._publisher.arrays()
        self._checkpoints.save(Checkpoint(self._learner.steps, arrays, self._spec, about, score))

    def _resume(self) -> None:
        """Takes the newest good checkpoint whose episodes are there; without one all episodes are trained again."""
        folder = self._run.path / "state"
        for checkpoint in state.newest_first(folder, self._spec, _say):
            path, about = state.path_of(folder, checkpoint.step), checkpoint.about
            choices.require_equal(about["choices"], choices.of(self._config), path)
            arrays = {k: v for k, v in checkpoint.arrays.items() if not k.startswith(PREFIX)}
            self._learner.restore(arrays, checkpoint.step, str(path))
            try:
                self._refill(about["layout"], about["seen"])
            except RobostackError as error:
                _say(f"{path} knows what is not there: {error}; the one before is taken")
                self._learner = self._fresh()
                continue
            self._follower.skip(about["seen"])
            self._counts, self._seen = Counts(**about["counts"]), about["seen"]
            self.extras = about["extras"]
            self._anchor = Anchor(**about["anchor"])
            if "ratio" in about:  # not in one of a run begun before there was a choice
                self._pace.restore(about["ratio"])
            self._publisher.restore(checkpoint.arrays, about["publishing"], self._learner)
            _say(f"goes on after {checkpoint.step} learner steps and {len(self._seen)} episodes")
            return

    def _fresh(self) -> Learner:
        config, learning = self._config, self._config.learner
        folder = self._run.path / "features"
        if config.start.file:
            # Half of a batch is that policy's own: nothing to imitate.
            learning = replace(learning, imitation=0.0)
        learner = Learner(
            self._spec,
            learning,
            config.seed,
            config.capacity,
            config.method,
            folder,
            is_masked=bool(config.mask.guide),
        )
        if config.start.file:
            found = beginnings.start(self._run, config)
            self._first = learner.acting_of(found.arrays, "the policy to begin with")
            learner.begin_with(self._first)
        learner.replay.on_fault = _say
        return learner

    def _refill(self, layout: dict[str, Any], seen: list[str]) -> None:
        names = {_place(name): name for name in seen}

        def read(actor: str, index: int) -> Episode:
            path = self._run.episodes / names[actor, index]
            return read_episode(path, self._spec, has_pictures=self._config.sees)

        self._learner.refill(layout, read)

    def _report(self) -> None:
        self._written = clock.now()
        counts, steps = self._counts, self._learner.steps
        write_json(
            self._run.path / "learner.json",
            {
                "learner_steps": steps,
                "critic_updates": steps * self._learner.algorithm.updates,
                "steps_per_second": steps / max(1e-9, counts.seconds),
                "updates_per_step": max(0, steps - self._config.first_steps)
                / max(1, counts.env_steps),
                "version": counts.version,
                "transitions": len(self._learner.replay),
                "episodes": counts.episodes,
                **self._pace.told(),
                **self._info,
            },
            is_durable=False,
        )


def _name(header: EpisodeHeader) -> str:
    """Of its file, from the episodes' folder."""
    folder = f"{header.actor}/" if header.actor else ""
    return f"{folder}{header.index:06d}-{header.kind}.mcap"


def _place(name: str) -> tuple[str, int]:
    """Actor and index of an episode file."""
    actor, _, file = name.rpartition("/")
    return actor, int(file.partition("-")[0])


def _is_whole(episode: Episode) -> bool:
    return bool(episode.steps) and (episode.steps[-1].terminated or episode.steps[-1].truncated)


def _is_alone(episode: Episode) -> bool:
    """Whether all of it was the policy's."""
    return not episode.person_steps and not episode.guide_steps


def _say(line: str) -> None:
    print(f"learner: {line}", flush=True)


def main(argv: list[str] | None = None) -> int:
    """Runs the learner of a run folder until it is told to stop; on a begun run it goes on."""
    parser = argparse.ArgumentParser(prog="robostack learn", description=__doc__)
    parser.add_argument("run", type=Path, help="run folder, as `robostack train` makes it")
    arguments = parser.parse_args(argv)
    run = Run.open(arguments.run)
    config = configs.from_dict(run.config)
    config.require_memory()
    with held(run.path / ".learner.lock"):
        training = Training(run, config)
        for number in (signal.SIGINT, signal.SIGTERM):
            # A flag, not an exception: one that strikes inside XLA leaves a traceback and no clean end.
            signal.signal(number, lambda *_: setattr(training, "is_stopped", True))
        while not training.is_stopped:
            pulse.beat()
            if training.is_over or not training.poll():
                clock.sleep(0.005)
        training.close()
    return 0
