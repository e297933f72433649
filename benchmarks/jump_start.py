"""C.7: Jump-Start with a script that succeeds three times of four, its data in the replay alone, and neither. 10 min.

Three arms from the same seeds on the two-link cell: the learner alone; the learner with twenty of the script's
episodes poured into its memory, which are paid for like practice; the script as guide, its part shrinking. What
counts is the success of the learned policy alone on 500 episodes, averaged over the last third of the run; the same
over the middle third is told beside it, where nobody is near 100 % yet.
"""

import argparse

import numpy as np

from benchmarks import common, two_link
from benchmarks.rows import Row, row
from benchmarks.two_link import CONFIG, SPEC, Changed
from robostack.core.guide import JumpStart, Starter
from robostack.learn.learner import Learner

ARMS = ("plain", "replay", "jump")
NOISE = 0.63  # makes the script's 96 % 75 %
DEMONSTRATIONS = 20
JUDGED = np.arange(500) + 500_000_000  # seeds
CHECKS = 6


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20_000, help="control steps of a run")


def measure(given: argparse.Namespace) -> list[Row]:
    script = two_link.success(two_link.noisy(two_link.script, NOISE, 0), JUDGED)
    print(f"script: {100 * script:.0f} % of {len(JUDGED)} episodes")
    found = {arm: np.zeros(given.seeds) for arm in ARMS}
    midway = {arm: np.zeros(given.seeds) for arm in ARMS}
    for seed in range(given.seeds):
        for arm in ARMS:
            curve = run(arm, seed, given.steps)
            midway[arm][seed] = np.mean(curve[CHECKS // 3 : -CHECKS // 3])
            found[arm][seed] = np.mean(curve[-CHECKS // 3 :])
            told = " ".join(f"{100 * value:.0f}" for value in curve)
            print(f"seed {seed}, {arm}: {told}", flush=True)
    for arm in ARMS:
        low, high = two_link.bootstrap(found[arm])
        middle = two_link.interquartile(found[arm])
        print(f"{arm}: {100 * middle:.0f} % ({100 * low:.0f} to {100 * high:.0f})")
    holds, held = ordered(found), ordered(midway)
    gains = 100 * (found["jump"] - found["replay"])
    return [
        row("C.7", int(holds.sum()), holds.astype(float).tolist(), failed=len(holds) < 5),
        row("C.7b", *summed(found["jump"])),
        row("C.7c", *summed(found["replay"])),
        row("C.7d", *summed(found["plain"])),
        row("C.7e", float(np.median(gains)), gains.tolist()),
        row("C.7f", int(held.sum()), held.astype(float).tolist()),
        row("C.7g", *summed(midway["jump"])),
        row("C.7h", *summed(midway["replay"])),
    ]


def ordered(found: dict[str, np.ndarray]) -> np.ndarray:
    """(seeds,) whether more of the script is better."""
    return (found["jump"] > found["replay"]) & (found["replay"] > found["plain"])


def summed(successes: np.ndarray) -> tuple[float, list[float]]:
    """Interquartile mean and every seed's, %."""
    return 100 * two_link.interquartile(successes), (100 * successes).tolist()


def run(arm: str, seed: int, steps: int) -> list[float]:
    """Success of the policy alone, at `CHECKS` moments of a run."""
    learner, cell = Learner(SPEC, CONFIG, seed, 40_000), Changed()
    guide = None
    if arm == "jump":
        script = lambda seen: two_link.script(seen.observation[None])[0]  # noqa: E731
        guide = Starter(lambda: script, JumpStart("expert", NOISE), two_link.STEPS)
    played, index, curve = 0, 0, []
    while played < steps:
        number = seed * 1_000_000 + index
        is_shown = arm == "replay" and index < DEMONSTRATIONS
        if is_shown:
            act = two_link.noisy(two_link.script, NOISE, number)
        else:
            act = two_link.policy(learner, learner.acting, number)
        episode = two_link.play(act, "practice", index, number, cell, guide)
        learner.add([episode])
        learner.train(len(episode.steps))
        played, index = played + len(episode.steps), index + 1
        if played >= steps * (len(curve) + 1) / CHECKS:
            curve.append(two_link.success(two_link.policy(learner, learner.acting), JUDGED, cell))
    return curve


if __name__ == "__main__":
    raise SystemExit(common.main(__doc__, measure, arguments))
