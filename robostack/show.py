"""Door `twin`: look at a task's mirror. The scripted expert plays; a film, or MuJoCo's viewer with --watch."""

import argparse
from pathlib import Path

import numpy as np

from robostack.config import RunConfig
from robostack.core import clock, observe
from robostack.core.errors import Unavailable, require
from robostack.core.guard import Guard
from robostack.core.loop import NO_PICTURES, Loop, Pictures, StillPolicy
from robostack.core.operator import ScriptedPerson, Style
from robostack.core.plant import GuardedPlant
from robostack.core.spec import Spec
from robostack.core.task import Expert
from robostack.film import film
from robostack.flags import add_choices, chosen
from robostack.twin.plant import TwinPlant
from robostack.watch import watched


class ExpertPolicy:
    """A task's expert in the shape of a policy. Owns the expert's memory; one for each episode."""

    version = -1

    def __init__(self, spec: Spec, expert: Expert):
        self._spec, self._expert = spec, expert

    def act(
        self,
        observation: np.ndarray,
        rng: np.random.Generator | None,
        pictures: Pictures = NO_PICTURES,
    ) -> np.ndarray:
        del rng
        return self._expert.act(observe.unpack(self._spec, observation))


def main(argv: list[str] | None = None) -> int:
    """Writes a film, or opens a window."""
    parser = argparse.ArgumentParser(prog="robostack twin", description=__doc__)
    add_choices(parser)
    parser.add_argument("--watch", action="store_true", help="in MuJoCo's viewer; needs a display")
    parser.add_argument("--episodes", type=int, default=3)
    parser.add_argument("--film", type=Path, default=Path("twin.mp4"), help="where the film goes")
    arguments = parser.parse_args(argv)
    config = chosen(arguments)
    require(arguments.episodes >= 1, "--episodes", arguments.episodes, "at least 1")
    if arguments.watch:
        return _watch(config, arguments.episodes)
    if not (folder := arguments.film.absolute().parent).is_dir():
        raise Unavailable(f"no folder {folder} for the film; make it with `mkdir -p {folder}`")
    task = config.load_task()
    spec = observe.spec_of(task)
    seeds = [config.seed + i for i in range(arguments.episodes)]

    def expert() -> ExpertPolicy:
        return ExpertPolicy(spec, task.expert(task.options))

    print(film(arguments.film, task, config.load_robot(), expert, seeds, config.noise))
    return 0


def _watch(config: RunConfig, episodes: int) -> int:
    task, robot = config.load_task(), config.load_robot()
    plant = watched(TwinPlant(task, robot, noise=config.noise))
    person = ScriptedPerson(lambda: task.expert(task.options), Style(noise=0.0))
    guarded = GuardedPlant(plant, Guard(robot.safety, task.period))
    loop = Loop(guarded, task, robot, person, on_tick=lambda *_: clock.sleep(task.period))
    try:
        for i in range(episodes):
            loop.run(StillPolicy(loop.spec.action_size), "demonstration", i, config.seed + i)
    finally:
        plant.close()
    return 0
