"""Door `check`: is a robot with a task sound? Compiles the cell, tries its starts, lets the expert play."""

import argparse

import numpy as np

from robostack.config import RunConfig
from robostack.core import observe
from robostack.core.errors import BadValue
from robostack.core.guard import Guard
from robostack.core.loop import Loop, StillPolicy
from robostack.core.operator import ScriptedPerson, Style
from robostack.core.plant import GuardedPlant
from robostack.flags import add_choices, chosen
from robostack.twin.plant import TwinPlant

STARTS = 50  # setups tried
EPISODES = 20  # played by the expert
ENOUGH = 0.9  # rate of the expert's success below which a task is not ready to be learned


def main(argv: list[str] | None = None) -> int:
    """Prints one line a finding; status 0 when all is sound."""
    parser = argparse.ArgumentParser(prog="robostack check", description=__doc__)
    add_choices(parser)
    config = chosen(parser.parse_args(argv))
    task, robot = config.load_task(), config.load_robot()
    spec = observe.spec_of(task)
    print(
        f"{robot.title} with {task.name}: observation {spec.observation_size}, action {spec.action_size}"
    )
    plant = TwinPlant(task, robot, noise=config.noise)
    model = plant.scene.model
    print(f"ok  scene: {model.nbody} bodies, {model.ngeom} geoms, step {model.opt.timestep} s")
    print(
        f"ok  control period {task.period} s is {round(task.period / model.opt.timestep)} physics steps"
    )
    low, high = robot.safety.workspace_lower, robot.safety.workspace_upper
    for seed in range(STARTS):
        plant.reset(seed)
        start = plant.read()["tool_pose"].value[:3]
        if not (np.all(start >= low) and np.all(start <= high)):
            raise BadValue(
                f"start of seed {seed} at {start.round(3)} m is outside the workspace {low} to {high}"
            )
    print(f"ok  {STARTS} starts are within reach and inside the workspace")
    rate, steps, force, held = _expert(config, plant)
    print(
        f"{'ok ' if rate >= ENOUGH else 'BAD'} expert succeeds in {100 * rate:.0f} % of {EPISODES}, {steps:.0f} steps"
    )
    print(
        f"    force at the tool, 99th percentile {force:.0f} N of {robot.safety.force:.0f} N; "
        f"guard acted in {held} steps"
    )
    return 0 if rate >= ENOUGH else 1


def _expert(config: RunConfig, plant: TwinPlant) -> tuple[float, float, float, int]:
    """Success rate, mean steps, 99th percentile of the force (N), steps in which the guard acted."""
    task, robot = config.load_task(), config.load_robot()
    forces: list[float] = []
    person = ScriptedPerson(lambda: task.expert(task.options), Style(noise=0.0))
    loop = Loop(
        GuardedPlant(plant, Guard(robot.safety, task.period)),
        task,
        robot,
        person,
        on_tick=lambda samples, _: forces.append(
            float(np.linalg.norm(samples["wrench"].value[:3]))
        ),
    )
    still = StillPolicy(loop.spec.action_size)
    played = [loop.run(still, "demonstration", i, config.seed + i) for i in range(EPISODES)]
    rate = float(np.mean([episode.is_success for episode in played]))
    steps = float(np.mean([len(episode.steps) for episode in played]))
    held = sum(bool(step.guard) for episode in played for step in episode.steps)
    return rate, steps, float(np.percentile(forces, 99)), held
