"""Replay memory: whole episodes in, pairs of one episode out. Batches are drawn in learn.memory."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robostack.core.errors import BadValue, SpecMismatch
from robostack.store.replay import STEP, Replay


def rows_of(replay: Replay, index: int) -> np.ndarray:
    return np.flatnonzero(replay.episode == index)


def frames_used(replay: Replay) -> int:
    return int(np.count_nonzero(replay.episode >= 0))


def test_every_frame_is_stored_once(spec, make_episode):
    replay = Replay(spec, 100)
    for index in range(4):
        replay.add(make_episode(index, length=5))
    assert frames_used(replay) == 4 * 6
    assert len(replay) == 4 * 5
    assert np.count_nonzero(replay.frames.any(-1)) == 4 * 6


def test_a_transition_is_what_the_episode_says(spec, make_episode):
    replay, episode = Replay(spec, 100), make_episode(length=5, ends="terminated")
    replay.add(make_episode(7))
    replay.add(episode)
    rows = rows_of(replay, 0)
    np.testing.assert_array_equal(replay.frames[rows], episode.observations)
    executed = np.array([step.action for step in episode.steps], np.float32)
    np.testing.assert_array_equal(replay.action[rows[:-1]], executed)
    np.testing.assert_array_equal(replay.reward[rows[:-1]], [0, 0, 0, 0, 1])
    np.testing.assert_array_equal(replay.label[rows] & STEP, [1, 1, 1, 1, 1, 0])


@pytest.mark.parametrize(("ends", "last"), [("terminated", 0.0), ("truncated", 1.0), ("", 1.0)])
def test_only_termination_ends_the_value(spec, make_episode, ends, last):
    replay = Replay(spec, 100)
    replay.add(make_episode(length=4, ends=ends))
    np.testing.assert_array_equal(replay.mask[replay.all], [1, 1, 1, last])


def test_a_correction_counts_on_both_sides_and_a_demonstration_only_on_the_persons(
    spec, make_episode
):
    replay = Replay(spec, 200)
    replay.add(make_episode(0, length=10, kind="demonstration", people=tuple(range(10))))
    replay.add(make_episode(1, length=10, people=(3, 4)))
    replay.add(make_episode(2, length=10, kind="solo"))
    np.testing.assert_array_equal(
        replay.person, [*rows_of(replay, 1)[[3, 4]], *rows_of(replay, 0)[:-1]]
    )
    np.testing.assert_array_equal(
        replay.practice, [*rows_of(replay, 1)[:-1], *rows_of(replay, 2)[:-1]]
    )


def test_an_episode_without_steps_adds_nothing(spec, make_episode):
    replay = Replay(spec, 10)
    replay.add(make_episode(length=0))
    assert frames_used(replay) == len(replay) == 0


def test_the_oldest_practice_goes_whole_and_demonstrations_stay(spec, make_episode):
    replay = Replay(spec, 30)
    replay.add(make_episode(100, length=4, kind="demonstration"))
    for index in range(10):
        replay.add(make_episode(index, length=4))
    assert set(replay.episode) - {-1} == {5, 6, 7, 8, 9, 100}
    replay.add(make_episode(101, length=9, kind="demonstration"))
    replay.add(make_episode(10, length=4))
    assert {100, 101, 10} <= set(replay.episode)
    assert all((replay.episode == index).sum() == 5 for index in set(replay.episode) - {-1, 101})


def test_an_episode_that_cannot_fit_is_refused_with_the_numbers(spec, make_episode):
    replay = Replay(spec, 20)
    replay.add(make_episode(0, length=9, kind="demonstration"))
    with pytest.raises(
        BadValue, match=r"12 frames does not fit: of the 20 .* demonstrations hold 10"
    ):
        replay.add(make_episode(1, length=11))
    assert len(replay) == 9


@pytest.mark.parametrize("field", ["observation", "action", "reward"])
def test_a_value_that_is_not_finite_is_refused_by_step_and_changes_nothing(
    spec, make_episode, field
):
    episode, replay = make_episode(4), Replay(spec, 20)
    if field == "observation":
        episode.observations[1, 2] = np.nan
    else:
        bad = np.array([0.1, np.nan]) if field == "action" else np.inf
        steps = (episode.steps[0], replace(episode.steps[1], **{field: bad}), episode.steps[2])
        episode = replace(episode, steps=steps)
    with pytest.raises(BadValue, match=f"episode 4, step 1: {field} is not finite"):
        replay.add(episode)
    assert frames_used(replay) == 0
    assert not replay.label.any()


def test_an_episode_of_another_spec_or_shape_is_refused(spec, make_episode):
    episode = make_episode(4)
    with pytest.raises(SpecMismatch, match="the replay memory holds"):
        Replay(replace(spec, period=0.2), 20).add(episode)
    with pytest.raises(BadValue, match=r"observations are \(3, 3\), expected \(4, 3\)"):
        Replay(spec, 20).add(replace(episode, observations=episode.observations[1:]))


additions = st.lists(
    st.tuples(st.integers(1, 12), st.sampled_from(["practice"] * 4 + ["solo", "demonstration"])),
    max_size=40,
)


@given(additions, st.integers(20, 60))
def test_whatever_is_added_pairs_never_cross_episodes(spec, make_episode, added, capacity):
    """Against a plain list of episodes, and a copy kept by `changed_since`."""
    replay, taken = Replay(spec, capacity), {}
    cursor, copy = 0, [np.zeros_like(a) for a in (replay.frames, replay.mask)]
    for index, (length, kind) in enumerate(added):
        episode = make_episode(index, length, kind, people=(0,), ends="terminated")
        demonstrated = (e for e in taken.values() if e.header.kind == "demonstration")
        if length + 1 > capacity - sum(len(e.observations) for e in demonstrated):
            with pytest.raises(BadValue, match="does not fit"):
                replay.add(episode)
            continue
        replay.add(episode)
        taken[index] = episode

        alive = {i: e for i, e in taken.items() if (replay.episode == i).any()}
        gone = taken.keys() - alive.keys()
        assert not any(taken[i].header.kind == "demonstration" for i in gone)
        practice = [i for i in alive if taken[i].header.kind != "demonstration"]
        assert max(gone, default=-1) < min(practice, default=index + 1)
        assert frames_used(replay) == sum(len(e.observations) for e in alive.values())
        assert len(replay) == sum(len(e.steps) for e in alive.values())
        for i, e in alive.items():
            rows = rows_of(replay, i)
            np.testing.assert_array_equal(np.diff(rows), 1)
            np.testing.assert_array_equal(replay.frames[rows], e.observations)
            np.testing.assert_array_equal(replay.label[rows] & STEP, [1] * len(e.steps) + [0])
        first, second = replay.all, replay.all + 1
        np.testing.assert_array_equal(replay.episode[first], replay.episode[second])
        assert (replay.episode[first] >= 0).all()

        rows = replay.changed_since(cursor)
        cursor = rows.cursor
        for ours, theirs in zip(copy, (rows.frames, rows.mask), strict=True):
            ours[rows.index] = theirs
        for ours, theirs in zip(copy, (replay.frames, replay.mask), strict=True):
            np.testing.assert_array_equal(ours[replay.all], theirs[replay.all])
            np.testing.assert_array_equal(ours[replay.all + 1], theirs[replay.all + 1])


def test_changes_come_once_and_only_what_is_new(spec, make_episode):
    replay = Replay(spec, 100)
    replay.add(make_episode(0, length=5))
    first = replay.changed_since(0)
    replay.add(make_episode(1, length=7))
    second = replay.changed_since(first.cursor)
    assert (len(first.index), len(second.index)) == (6, 8)
    assert len(replay.changed_since(second.cursor).index) == 0
    assert len(replay.changed_since(0).index) == 14
