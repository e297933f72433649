"""C.12: practice in a mask around a script, and without. Ten minutes.

The two-link cell of C.7, from the same seeds, without data from anybody. The script is C.7's without its noise. What
counts is how often practice succeeds while it learns, and the success of the learned policy alone, without a mask, on
500 episodes, averaged over the last third of the run.
"""

import argparse

import numpy as np

from benchmarks import common, two_link
from benchmarks.jump_start import CHECKS, JUDGED, summed
from benchmarks.rows import Row, row
from benchmarks.two_link import CONFIG, SPEC, Changed
from robostack.core.mask import Mask, Masker
from robostack.learn.learner import Learner

EARLY = 0.2  # part of a run


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20_000, help="control steps of a run")
    parser.add_argument("--width", type=float, default=Mask.width)
    parser.add_argument("--open-by", type=float, default=Mask.open_by)


def measure(given: argparse.Namespace) -> list[Row]:
    choices = {"mask": Mask("expert", given.width, given.open_by), "plain": Mask()}
    found = {}
    for arm, mask in choices.items():
        runs = [run(mask, seed, given.steps) for seed in range(given.seeds)]
        found[arm] = {name: np.array([each[name] for each in runs]) for name in runs[0]}
    return [
        row("C.12", *summed(found["mask"]["practice"])),
        row("C.12b", *summed(found["plain"]["practice"])),
        row("C.12c", *summed(found["mask"]["alone"])),
        row("C.12d", *summed(found["plain"]["alone"])),
        row("C.12e", float(found["mask"]["far"].max()), found["mask"]["far"].tolist()),
    ]


def run(mask: Mask, seed: int, steps: int) -> dict[str, float]:
    """Success of practice and of the policy alone; how far early actions were from the script's, at most."""
    learner, cell = Learner(SPEC, CONFIG, seed, 40_000, is_masked=bool(mask.guide)), Changed()
    script = lambda seen: two_link.script(seen.observation[None])[0]  # noqa: E731
    masker = Masker(lambda: script, np.arange(SPEC.action_size)) if mask.guide else None
    played, index, curve, wins, far = 0, 0, list[float](), list[bool](), 0.0
    while played < steps:
        number = seed * 1_000_000 + index
        act = two_link.policy(learner, learner.acting, number)
        learner.width = mask.at(played / steps)
        episode = two_link.play(
            act, "practice", index, number, cell, mask=masker, width=learner.width
        )
        if masker and played < EARLY * steps:
            far = max(far, *(np.abs(step.action - step.guide).max() for step in episode.steps))
        wins.append(episode.is_success)
        learner.add([episode])
        learner.train(len(episode.steps))
        played, index = played + len(episode.steps), index + 1
        if played >= steps * (len(curve) + 1) / CHECKS:
            curve.append(two_link.success(two_link.policy(learner, learner.acting), JUDGED, cell))
    told = " ".join(f"{100 * value:.0f}" for value in curve)
    print(f"seed {seed}, {mask.guide or 'plain'}: practice {np.mean(wins):.2f}, alone {told}")
    return {
        "practice": float(np.mean(wins)),
        "alone": float(np.mean(curve[-CHECKS // 3 :])),
        "far": far,
    }


if __name__ == "__main__":
    raise SystemExit(common.main(__doc__, measure, arguments))
