"""Processes killed at random moments: no step that was written is lost, and no transition is another one's."""

import os
from dataclasses import replace

import numpy as np
import pytest

from robostack.core import clock
from robostack.store.episode import EpisodeWriter, episode_paths, read_episode
from robostack.store.replay import Label, Replay
from tests.faults import oracle
from tests.faults.kill_matrix import ROUNDS, Matrix, Verdict, run_matrix
from tests.faults.oracle import CAMERAS, KIND, SPEC, Oracle
from tests.faults.programs import Settings

TRUTH = Oracle(size=8)
SEED = 11  # of the first oracle episode that a test plays


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Episodes of the oracle, from their files."""
    folder = tmp_path_factory.mktemp("episodes")
    loop = TRUTH.loop(EpisodeWriter(folder, SPEC), oracle.Plant(TRUTH))
    for index in range(4):
        loop.run(oracle.Policy(), KIND, index, SEED + index)
    return [read_episode(path, SPEC) for path in episode_paths(folder)]


@pytest.fixture
def memory(recorded):
    replay = Replay(SPEC, 200, TRUTH.sizes())
    for episode in recorded:
        replay.add(episode)
    return replay


def test_what_the_oracle_says_is_what_the_loop_recorded(recorded, memory):
    for number, episode in enumerate(recorded):
        assert TRUTH.wrong_in(episode, SEED + number) == []
    assert TRUTH.wrong(memory, memory.all) == []
    assert {bool(episode.is_success) for episode in recorded} == {True, False}


def shifted(array: np.ndarray) -> None:
    array[:] = np.roll(array, 1, axis=0)


def swapped(replay: Replay) -> None:
    first, second = CAMERAS
    replay.pictures[first], replay.pictures[second] = (
        replay.pictures[second],
        replay.pictures[first],
    )


DEFECTS = {
    "pictures of the frame before": lambda replay: shifted(replay.pictures[CAMERAS[0]]),
    "cameras swapped": swapped,
    "one pixel": lambda replay: replay.pictures[CAMERAS[1]].__setitem__((5, 3, 3, 1), 7),
    "actions of the step before": lambda replay: shifted(replay.action),
    "rewards of the step before": lambda replay: shifted(replay.reward),
    "masks of the step before": lambda replay: shifted(replay.mask),
    "the person's label of the step before": lambda replay: shifted(replay.label),
    "frames of the step before": lambda replay: shifted(replay.frames),
    "a transition across the episodes' border": lambda replay: replay.label.__setitem__(
        np.flatnonzero(replay.label == 0)[0], Label.STEP | Label.PRACTICE
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_the_oracle_sees_every_defect(memory, defect):
    DEFECTS[defect](memory)
    assert TRUTH.wrong(memory, np.arange(80)[memory.label[:80] > 0])


def test_the_oracle_sees_what_is_wrong_in_a_file(recorded):
    episode, other = recorded[0], recorded[1]
    assert TRUTH.wrong_in(other, SEED)
    assert TRUTH.wrong_in(replace(episode, steps=episode.steps[:-1]), SEED)
    moved = {camera: np.roll(film, 1, axis=0) for camera, film in episode.pictures.items()}
    assert "picture of" in TRUTH.wrong_in(replace(episode, pictures=moved), SEED)[0]
    flipped = replace(episode.steps[0], truncated=not episode.steps[0].truncated)
    assert TRUTH.wrong_in(replace(episode, steps=(flipped, *episode.steps[1:])), SEED)


def require_good(verdict: Verdict, kills: int) -> None:
    said = f"{verdict}\n" + "\n".join(verdict.wrong[:20])
    print(said)
    assert sum(verdict.kills.values()) >= kills
    assert verdict.lost == 0 and verdict.lost_in_flight <= 1, said
    assert not verdict.wrong, said
    assert verdict.steps and verdict.checked, said


@pytest.mark.timeout(100)
@pytest.mark.parametrize("is_lockstep", [False, True], ids=["real time", "lockstep"])
def test_kills_anywhere_lose_no_written_step_and_make_no_transition_wrong(tmp_path, is_lockstep):
    settings = Settings(lockstep=is_lockstep, size=16, steps=12, period=0.005)
    require_good(run_matrix(tmp_path, settings, 5 + is_lockstep, kills=8, longest=0.6), 8)


@pytest.mark.soak
@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", ROUNDS)
def test_forty_kills_anywhere(tmp_path, name):
    require_good(run_matrix(tmp_path, ROUNDS[name], 100, kills=40), 40)


def test_a_step_that_is_missing_at_the_learner_is_seen(tmp_path):
    with Matrix(tmp_path, Settings(size=8, steps=8, period=0.001), 0, has_link=False) as matrix:
        clock.sleep(1.0)
        matrix.play(1, 0.5)
        matrix.finish()
    verdict = matrix.verdict()
    assert verdict.lost == 0 and not verdict.wrong
    path = max(episode_paths(matrix.run.episodes)[:-1], key=lambda path: path.stat().st_size)
    count = len(read_episode(path).steps)
    os.truncate(path, path.stat().st_size * 2 // 3)
    verdict = matrix.verdict()
    assert verdict.lost == count - len(read_episode(path).steps) > 0
    path.unlink()
    assert "the episodes are" in matrix.verdict().wrong[0]
