"""Replay memory: whole episodes in, pairs of one episode out. Batches are drawn in learn.memory."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robostack.core.errors import BadValue, RobostackError, SpecMismatch, Unavailable
from robostack.core.types import Episode
from robostack.store.replay import Label, Replay, need


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
    np.testing.assert_array_equal(replay.label[rows] & Label.STEP, [1, 1, 1, 1, 1, 0])


@pytest.mark.parametrize(("ends", "last"), [("terminated", 0.0), ("truncated", 1.0), ("", 1.0)])
def test_only_termination_ends_the_value(spec, make_episode, ends, last):
    replay = Replay(spec, 100)
    replay.add(make_episode(length=4, ends=ends))
    np.testing.assert_array_equal(replay.mask[replay.all], [1, 1, 1, last])


@pytest.mark.parametrize(("ends", "last"), [("terminated", 0.0), ("truncated", 0.0), ("", 1.0)])
def test_where_it_is_asked_for_running_out_of_time_ends_it_too(spec, make_episode, ends, last):
    replay = Replay(spec, 100, timeouts_end=True)
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


@pytest.mark.parametrize(
    ("field", "lost"), [("observation", [0, 1]), ("action", [1]), ("reward", [1])]
)
def test_steps_with_a_value_that_is_not_finite_are_left_out_and_told_of(
    spec, make_episode, field, lost
):
    episode, replay, said = make_episode(4, length=5), Replay(spec, 20), list[str]()
    if field == "observation":
        episode.observations[1, 2] = np.nan
    else:
        bad = np.array([0.1, np.nan]) if field == "action" else np.inf
        steps = list(episode.steps)
        steps[1] = replace(steps[1], **{field: bad})
        episode = replace(episode, steps=tuple(steps))
    replay.on_fault = said.append
    replay.add(episode)
    rows = rows_of(replay, 4)
    assert replay.all.tolist() == [row for i, row in enumerate(rows[:-1]) if i not in lost]
    for values in (replay.frames, replay.action, replay.reward):
        assert np.isfinite(values).all()
    [line] = said
    assert line == (
        f"episode 4: {field} was not finite in 1 frame from step 1 on: "
        f"{len(lost)} of its 5 steps are kept out of training"
    )


def test_steps_with_a_blind_camera_are_left_out_and_told_of_once(spec, make_episode):
    replay, said = Replay(spec, 40, {"eye": (4, 6)}), list[str]()
    replay.on_fault = said.append
    good, hurt = with_pictures(make_episode(0, length=6)), with_pictures(make_episode(1, length=6))
    hurt.pictures["eye"][3:5] = 0
    replay.add(good)
    replay.add(hurt)
    assert len(replay) == 6 + 3
    assert (replay.label[rows_of(replay, 1)] > 0).tolist() == [1, 1, 0, 0, 0, 1, 0]
    assert said == [
        "episode 1: eye showed one colour in 2 frames from step 3 on: "
        "3 of its 6 steps are kept out of training"
    ]
    again = Replay(spec, 40, {"eye": (4, 6)})
    again.on_fault = said.append
    again.restore(replay.layout(), lambda actor, index: [good, hurt][index])
    np.testing.assert_array_equal(again.label, replay.label)
    assert len(said) == 1  # whoever goes on has been told


def test_an_episode_of_which_nothing_is_good_leaves_no_transition(spec, make_episode):
    replay = Replay(spec, 40, {"eye": (4, 6)})
    hurt = with_pictures(make_episode(1, length=6))
    hurt.pictures["eye"][:] = 9
    replay.add(hurt)
    assert len(replay) == 0 and frames_used(replay) == 7


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
            np.testing.assert_array_equal(replay.label[rows] & Label.STEP, [1] * len(e.steps) + [0])
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


def with_pictures(episode: Episode) -> Episode:
    """Every pixel but the last tells which frame of which episode it is; that one, that the camera works."""
    frames = np.arange(len(episode.steps) + 1, dtype=np.uint8)
    values = 100 * (episode.header.index % 2) + frames
    eye = np.broadcast_to(values[:, None, None, None], (len(frames), 4, 6, 3)).copy()
    eye[:, -1, -1] += 50
    header = replace(episode.header, cameras={"eye": [4, 6]})
    return replace(episode, header=header, pictures={"eye": eye})


@given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=25), st.integers(0))
def test_a_transition_never_crosses_episodes_and_its_pictures_are_its_own(
    spec, make_episode, plan, seed
):
    replay = Replay(spec, 60, {"eye": (4, 6)})
    for index, (length, is_demonstration) in enumerate(plan):
        kind = "demonstration" if is_demonstration and index < 4 else "practice"
        replay.add(with_pictures(make_episode(index, length=length, kind=kind)))
    if not len(replay):
        return
    rows = replay.draw(np.random.default_rng(seed), 50)
    found = replay.take(rows)
    assert (replay.episode[rows] == replay.episode[rows + 1]).all()
    now, after = found.pictures["eye"], found.next_pictures["eye"]
    np.testing.assert_array_equal(after.astype(int) - now, 1)
    for row, seen, following in zip(rows, found.observation, found.next_observation, strict=True):
        index = replay.episode[row]
        episode = make_episode(index, length=plan[index][0])
        frame = now[list(rows).index(row)].flat[0] - 100 * (index % 2)
        np.testing.assert_array_equal(seen, episode.observations[frame])
        np.testing.assert_array_equal(following, episode.observations[frame + 1])


def test_a_draw_follows_the_weights_of_the_labels(spec, make_episode):
    replay = Replay(spec, 1000)
    replay.add(make_episode(0, length=90, ends="truncated"))
    replay.add(make_episode(1, length=60, people=tuple(range(20)), ends="terminated"))
    rng, count = np.random.default_rng(0), 40_000

    def share(label, weights):
        rows = replay.draw(rng, count, weights)
        return np.mean(replay.label[rows] & label > 0)

    assert share(Label.PERSON, {}) == pytest.approx(20 / 150, abs=0.01)
    assert share(Label.PERSON, {Label.PERSON: 3}) == pytest.approx(60 / 190, abs=0.01)
    weights = {Label.PERSON: 3, Label.SUCCESS: 2}
    assert share(Label.SUCCESS, weights) == pytest.approx(200 / 290, abs=0.01)
    assert share(Label.PERSON, {Label.PERSON: 0}) == 0
    rows = replay.draw(rng, count, {Label.SUCCESS: 0})
    _, counts = np.unique(rows, return_counts=True)
    assert len(counts) == 90
    assert counts.min() > 0.7 * count / 90


def test_a_draw_that_nothing_may_answer_says_so(spec, make_episode):
    replay = Replay(spec, 100)
    with pytest.raises(BadValue, match="the replay memory is empty"):
        replay.draw(np.random.default_rng(0), 4)
    replay.add(make_episode())
    with pytest.raises(BadValue, match="no transition has a weight above 0"):
        replay.draw(np.random.default_rng(0), 4, {Label.PRACTICE: 0.0})


@given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=25))
def test_a_restored_memory_equals_the_one_that_was_laid_out(spec, make_episode, plan):
    episodes = [
        with_pictures(
            make_episode(
                index, length=length, kind="demonstration" if d and index < 4 else "practice"
            )
        )
        for index, (length, d) in enumerate(plan)
    ]
    replay, again = Replay(spec, 60, {"eye": (4, 6)}), Replay(spec, 60, {"eye": (4, 6)})
    for episode in episodes:
        replay.add(episode)
    layout = json.loads(json.dumps(replay.layout()))
    again.restore(layout, lambda actor, index: episodes[index])
    for name in ("label", "episode", "all", "person", "practice"):
        np.testing.assert_array_equal(getattr(again, name), getattr(replay, name))
    ours, theirs = again.take(again.all), replay.take(replay.all)
    np.testing.assert_array_equal(ours.observation, theirs.observation)
    np.testing.assert_array_equal(ours.action, theirs.action)
    np.testing.assert_array_equal(ours.pictures["eye"], theirs.pictures["eye"])
    for index in range(100, 105):  # and goes on as it would have
        for memory in (replay, again):
            memory.add(with_pictures(make_episode(index, length=7)))
    np.testing.assert_array_equal(again.episode, replay.episode)


def test_a_memory_is_not_restored_from_other_episodes(spec, make_episode):
    replay = Replay(spec, 60)
    replay.add(make_episode(0, length=4))
    layout = replay.layout()
    with pytest.raises(RobostackError, match="episode 0 has 5 steps, it had 4"):
        Replay(spec, 60).restore(layout, lambda *_: make_episode(0, length=5))
    with pytest.raises(RobostackError, match="had 60 frames, now it has 50"):
        Replay(spec, 50).restore(layout, lambda *_: make_episode(0, length=4))


def test_pictures_that_are_missing_or_of_another_size_are_refused(spec, make_episode):
    replay, episode = Replay(spec, 100, {"eye": (4, 6)}), with_pictures(make_episode())
    with pytest.raises(BadValue, match="pictures of eye are missing, expected"):
        replay.add(make_episode())
    small = replace(episode, pictures={"eye": episode.pictures["eye"][:, :2]})
    with pytest.raises(BadValue, match=r"pictures of eye are \(4, 2, 6, 3\), expected"):
        replay.add(small)
    assert len(replay) == 0


def test_memory_is_estimated_before_it_is_taken(spec):
    """Within 5 % of what a full memory of pictures really takes."""
    cameras = {"wrist": (128, 128), "front": (128, 128)}
    replay = Replay(spec, 100, cameras)
    arrays = (replay.frames, replay.action, replay.reward, replay.mask, replay.switches)
    real = sum(pictures.nbytes for pictures in replay.pictures.values())
    real += 2 * sum(array.nbytes for array in arrays)
    assert need(spec, 100, dict.fromkeys(cameras, 3 * 128 * 128)).total == pytest.approx(
        real, rel=0.05
    )


def test_memory_that_is_not_there_is_refused_with_the_numbers(spec):
    estimate = need(spec, 50_000, {"wrist 128x128": 3 * 128 * 128})
    estimate.require("take less", free=4e9)
    with pytest.raises(Unavailable) as caught:
        estimate.require("take less", free=2e9)
    for part in ("50,000 frames takes 2.46 GB", "wrist 128x128 2.46 GB", "2.00 GB are free"):
        assert part in str(caught.value)


def test_a_guided_memory_keeps_what_the_guide_would_have_done_and_refuses_what_does_not_say(
    spec, make_episode
):
    replay, episode = Replay(spec, 30, is_guided=True), make_episode(2, length=4, is_guided=True)
    replay.add(episode)
    assert replay.guide is not None
    expected = np.stack([step.guide for step in episode.steps], dtype=np.float32)
    assert np.array_equal(replay.guide[:4], expected)
    assert np.array_equal(replay.guide[4], expected[-1])  # nobody was asked there
    with pytest.raises(BadValue, match="episode 3 does not say what the guide would have done"):
        replay.add(make_episode(3, length=4))
    assert len(replay) == 4
