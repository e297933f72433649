"""A line says of an episode what was in it."""

from dataclasses import replace

import numpy as np

from robostack.core.spec import Spec, Term
from robostack.core.types import Episode, EpisodeHeader, Step, Who
from robostack.store.episode import EpisodeWriter
from robostack.study.ledger import line_of, lines

STEP = Step(
    observation=np.zeros(2, np.float32),
    action_policy=np.zeros(1),
    action=np.zeros(1),
    who=Who.POLICY,
    reward=0.0,
    terminated=False,
    truncated=False,
    parameters=4,
    stamp=0.0,
    age=0.01,
    lateness=0.002,
)
HEADER = EpisodeHeader(7, "practice", "r", "t", "mock", 11, "spec", "0")


def test_line_counts_the_persons_steps_and_the_guards():
    steps = (
        replace(STEP, who=Who.PERSON),
        replace(STEP, guard="hold: force 61 N, limit 60 N"),
        replace(STEP, reward=1.0, terminated=True),
    )
    line = line_of(Episode(HEADER, np.zeros((4, 2), np.float32), steps))
    assert (line.index, line.kind, line.seed, line.steps) == (7, "practice", 11, 3)
    assert (line.person_steps, line.held, line.parameters, line.is_success) == (1, 1, 4, True)
    assert line.lateness_p99 == 0.002 and line.age_p99 == 0.01


def test_episode_without_steps_is_no_success():
    line = line_of(Episode(HEADER, np.zeros((1, 2), np.float32), ()))
    assert line.steps == 0 and not line.is_success and line.parameters == -1


def test_cut_episodes_are_passed_over(tmp_path):
    spec = Spec((Term("x", 2, "m", "base", (1.0, 1.0)),), (Term("u", 1, "m", "tool", (1.0,)),), 0.1)
    writer = EpisodeWriter(tmp_path, spec)
    for index, is_ended in enumerate([True, False, True]):
        writer.begin(replace(HEADER, index=index, spec=spec.digest), np.zeros(2, np.float32))
        if index:
            writer.append(STEP, np.zeros(2, np.float32))
        if is_ended:
            writer.end()
    writer.begin(replace(HEADER, index=3, spec=spec.digest), np.zeros(2, np.float32))  # cut at once
    assert [line.index for line in lines(tmp_path)] == [0, 2]
