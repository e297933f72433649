"""C.8: a mirror's policy on a cell that is not like the mirror: fine-tuned with all of learn/anchor.py, and naively.

On the two-link cell. The mirror's policy is learned from the script's demonstrations and practice. The changed cell
sees the point 25 mm beside where it is, as after a knock at the camera: the gap counts only if that policy loses 30
points there, and if a learner with demonstrations of that cell's own recovers four fifths of the mirror's success.
Evaluations are 500 episodes of the policy alone, every 800 control steps. 20 min.
"""

import argparse
from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from benchmarks import common, two_link
from benchmarks.rows import Row, row
from benchmarks.two_link import CONFIG, SPEC, Changed
from robostack.learn.anchor import Anchor, Pull, Start
from robostack.learn.learner import Learner
from robostack.learn.publish import Publisher, Publishing

GAP = Changed(offset=(0.025, 0.0))
JUDGED = np.arange(500) + 500_000_000  # seeds
EVERY = 800  # control steps between two evaluations
START = Start("mirror", fill=30, critic_steps=2000, anchor=0.1)
NAIVE = Start("mirror", fill=1, critic_steps=0, anchor=0.0)
GUARD = Publishing(bound=0.5, states=2000, rollback=20)
NO_GUARD = Publishing()
DEMONSTRATIONS, NOISE, WARMUP = 100, 0.3, 3000  # episodes; of the script; learner steps
MIRROR = 4000  # control steps of practice in the mirror


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8000, help="control steps on the changed cell")


def measure(given: argparse.Namespace) -> list[Row]:
    holds, gains, naive, losses = [], [], [], []
    for seed in range(given.seeds):
        mirror = from_script(seed, MIRROR, Changed())
        there = two_link.success(two_link.policy(mirror, mirror.acting), JUDGED)
        curve = fine_tuned(mirror, seed, START, GUARD, given.steps)
        plain = fine_tuned(mirror, seed, NAIVE, NO_GUARD, given.steps)
        zero = curve[0]
        losses.append(there - zero)
        holds.append(min(curve) >= 0.85 * zero and curve[-1] > zero)
        gains.append(100 * (curve[-1] - zero))
        naive.append(100 * (plain[-1] - zero))
        print(
            f"seed {seed}: mirror {100 * there:.0f} %; anchored {told(curve)}; naive {told(plain)}"
        )
    oracle = from_script(0, MIRROR + given.steps, GAP)
    reach = two_link.success(two_link.policy(oracle, oracle.acting), JUDGED, GAP)
    print(
        f"gap: zero-shot loses {100 * min(losses):.0f} points or more; learned there {100 * reach:.0f} %"
    )
    fails = min(losses) < 0.3 or len(holds) < 5
    return [
        row("C.8", sum(holds), [float(each) for each in holds], failed=fails),
        row("C.8b", two_link.interquartile(np.array(gains)), gains),
        row("C.8c", two_link.interquartile(np.array(naive)), naive),
    ]


def told(curve: list[float]) -> str:
    return " ".join(f"{100 * value:.0f}" for value in curve)


def from_script(seed: int, steps: int, cell: Changed) -> Learner:
    """A learner with the script's demonstrations, imitated, and so many steps of practice."""
    learner = Learner(SPEC, replace(CONFIG, imitation=1.0), seed, 40_000)
    # Who demonstrates there looks for themselves: the offset is the cell's, not theirs.
    aside = np.zeros(SPEC.observation_size)
    aside[8:] = np.array(cell.offset) / SPEC.observation[0].scale[8]

    def seeing(observation: np.ndarray) -> np.ndarray:
        return two_link.script(observation - aside)

    script = two_link.noisy(seeing, NOISE, seed)
    first = seed * 1_000_000
    learner.add(
        two_link.play(script, "demonstration", i, first + i, cell) for i in range(DEMONSTRATIONS)
    )
    learner.train(WARMUP)
    played, index = 0, DEMONSTRATIONS
    while played < steps:
        act = two_link.policy(learner, learner.acting, first + index)
        episode = two_link.play(act, "practice", index, first + index, cell)
        learner.add([episode])
        learner.train(len(episode.steps))
        played, index = played + len(episode.steps), index + 1
    return learner


def fine_tuned(
    mirror: Learner, seed: int, start: Start, rules: Publishing, steps: int
) -> list[float]:
    """Success on the changed cell: of the policy as it was, then every `EVERY` control steps of what is published."""
    learner, guard, first = (
        Learner(SPEC, CONFIG, seed + 100, 40_000),
        Publisher(rules),
        mirror.acting,
    )
    learner.begin_with(first)
    at, index, played = Anchor(start.anchor), 0, 0
    acting, _ = guard.next(learner)
    curve = [two_link.success(two_link.policy(learner, acting), JUDGED, GAP)]
    while played < steps:
        number = seed * 1_000_000 + 500_000 + index
        kind = "fill" if index < start.fill else "practice"
        act = two_link.policy(learner, acting, number)
        episode = two_link.play(act, kind, index, number, GAP)
        learner.add([episode])
        played, index = played + len(episode.steps), index + 1
        if kind == "fill":
            at = at.filled(episode.is_success)
            learner.train(start.critic_steps if index == start.fill else 0, moves_actor=False)
        else:
            at = at.after(start, episode.is_success)
            guard.judge(learner, episode.is_success)
            learner.train(len(episode.steps), Pull(first["actor"], jnp.asarray(at.weight)))
            acting, _ = guard.next(learner)
        if played >= EVERY * len(curve):
            curve.append(two_link.success(two_link.policy(learner, acting), JUDGED, GAP))
    return curve


if __name__ == "__main__":
    raise SystemExit(common.main(__doc__, measure, arguments))
