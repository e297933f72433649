"""Runs in gym-hil's environment, without robostack: a number of steps in, the seconds they took out."""

import json
import sys
import time
from importlib.metadata import version

import gym_hil  # noqa: F401  # pyright: ignore - registers the environments; not installed with us
import gymnasium
import numpy as np

ENVIRONMENT = "gym_hil/PandaPickCubeBase-v0"


def main() -> None:
    environment = gymnasium.make(ENVIRONMENT, image_obs="--images" in sys.argv)
    environment.reset(seed=0)
    rng = np.random.default_rng(0)
    run(environment, 3, rng)  # first calls load and compile
    substeps = environment.unwrapped._n_substeps  # pyright: ignore
    names = ("gym-hil", "mujoco", "numpy")
    say({"substeps": substeps, **{name: version(name) for name in names}})
    for line in sys.stdin:
        start = time.perf_counter()
        run(environment, int(line), rng)
        say({"seconds": time.perf_counter() - start})
    environment.close()


def run(environment: gymnasium.Env, steps: int, rng: np.random.Generator) -> None:
    """Small random motions, the fingers still; an ended episode starts anew."""
    for _ in range(steps):
        action = np.append(rng.uniform(-0.02, 0.02, 6), 0.0)
        _, _, terminated, truncated, _ = environment.step(action)
        if terminated or truncated:
            environment.reset()


def say(facts: dict) -> None:
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main()
