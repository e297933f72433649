"""Episode files: what goes in comes out, whoever reads, whenever."""

import json
import tempfile
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

from robostack.core.errors import BadValue, RobostackError, SpecMismatch, Unavailable
from robostack.core.spec import Spec, Term
from robostack.core.types import Episode, EpisodeHeader, Step, Who
from robostack.store import wire
from robostack.store.episode import (
    EpisodeWriter,
    episode_paths,
    next_index,
    outcome,
    read_episode,
    recover,
)
from robostack.store.follow import EpisodeFollower


def write(folder: Path, spec: Spec, episode: Episode, ended: bool = True) -> Path:
    writer = EpisodeWriter(folder, spec)
    writer.begin(episode.header, episode.observations[0])
    for step, after in zip(episode.steps, episode.observations[1:], strict=True):
        writer.append(step, after)
    if ended:
        writer.end()
    return folder / f"{episode.header.index:06d}-{episode.header.kind}.mcap"


def assert_same(got: Episode, expected: Episode) -> None:
    assert got.header == expected.header
    assert got.observations.dtype == np.float32
    assert got.observations.tobytes() == expected.observations.tobytes()
    assert len(got.steps) == len(expected.steps)
    for ours, theirs in zip(got.steps, expected.steps, strict=True):
        for a, b in zip(astuple(ours), astuple(theirs), strict=True):
            np.testing.assert_array_equal(a, b)


numbers = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def episodes(draw, spec: Spec) -> Episode:
    frame = st.lists(
        st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3
    )
    frames = np.array(draw(st.lists(frame, min_size=1, max_size=5)), np.float32)
    pair = st.lists(numbers, min_size=2, max_size=2).map(np.array)
    steps = tuple(
        Step(
            observation=frame,
            action_policy=draw(pair),
            action=draw(pair),
            who=draw(st.sampled_from(Who)),
            reward=draw(numbers),
            terminated=draw(st.booleans()),
            truncated=draw(st.booleans()),
            parameters=draw(st.integers(-1, 10**9)),
            stamp=draw(numbers),
            age=draw(numbers),
            lateness=draw(numbers),
            guard=draw(st.text(max_size=10)),
            guide=draw(st.none() | pair),
        )
        for frame in frames[:-1]
    )
    drawn = draw(st.dictionaries(st.text(max_size=5), json_values, max_size=3))
    names = draw(st.lists(st.text(max_size=5), min_size=5, max_size=5))
    robot, task, plant, code, started = names
    header = EpisodeHeader(
        draw(st.integers(0, 10**7)), "practice", robot, task, plant, draw(st.integers(0)), spec.digest,
        code, drawn, started,
    )  # fmt: skip
    return Episode(header, frames, steps)


@given(st.data())
def test_any_finite_episode_comes_back_equal(spec, data):
    episode = data.draw(episodes(spec))
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), spec, episode)
        found = recover(path, spec)
        assert_same(found.episode, episode)
        assert found.is_complete
        assert found.spec == spec


def test_other_tools_read_the_file(tmp_path, spec, make_episode):
    episode = make_episode(length=4)
    with open(write(tmp_path, spec, episode), "rb") as file:
        reader = make_reader(file, validate_crcs=True, decoder_factories=[DecoderFactory()])
        decoded = list(reader.iter_decoded_messages(log_time_order=False))
        assert reader.get_header().profile == "ros2"
    topics = [channel.topic for _, channel, _, _ in decoded]
    assert topics == [
        "/episode/header",
        "/episode/observation",
        *["/episode/step", "/episode/observation"] * 4,
        "/episode/end",
    ]
    assert all(channel.message_encoding == "cdr" for _, channel, _, _ in decoded)
    assert all(isinstance(json.loads(text.data), dict) for _, _, _, text in decoded)
    assert [m.log_time for _, c, m, _ in decoded if c.topic == "/episode/step"] == [
        round(step.stamp * 1e9) for step in episode.steps
    ]


def test_every_record_fits_its_published_schema(tmp_path, spec, make_episode):
    jsonschema = pytest.importorskip("jsonschema")
    with open(write(tmp_path, spec, make_episode()), "rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        [published] = [m.metadata for m in reader.iter_metadata() if m.name == wire.SCHEMAS]
        for _, channel, _, text in reader.iter_decoded_messages():
            schema = json.loads(published[channel.topic.removeprefix("/episode/")])
            jsonschema.validate(json.loads(text.data), schema)


def test_files_of_format_1_are_still_read(make_episode):
    """Written by robostack 0.1.0: records as plain JSON, no samples, no outcome."""
    found = recover(Path(__file__).parent / "format_1.mcap")
    assert found.is_complete
    assert_same(found.episode, replace(make_episode(), header=found.episode.header))
    became = outcome(Path(__file__).parent / "format_1.mcap")
    assert became and became.steps == 3


def test_a_reader_sees_each_whole_step_while_the_episode_runs(tmp_path, spec, make_episode):
    episode = make_episode(length=5)
    writer = EpisodeWriter(tmp_path, spec)
    writer.begin(episode.header, episode.observations[0])
    [path] = episode_paths(tmp_path)
    for count, step in enumerate(episode.steps, start=1):
        writer.append(step, episode.observations[count])
        found = recover(path, spec)
        assert not found.is_complete
        assert_same(
            found.episode,
            replace(
                episode, observations=episode.observations[: count + 1], steps=episode.steps[:count]
            ),
        )
    writer.end()
    assert recover(path, spec).is_complete


def test_an_episode_cut_short_keeps_its_last_step_as_it_was(tmp_path, spec, make_episode):
    found = read_episode(write(tmp_path, spec, make_episode(ends="")))
    assert not found.steps[-1].terminated
    assert not found.steps[-1].truncated


def test_an_episode_without_steps_comes_back(tmp_path, spec, make_episode):
    found = recover(write(tmp_path, spec, make_episode(length=0)))
    assert found.is_complete
    assert found.episode.observations.shape == (1, 3)


@pytest.mark.parametrize("kind", ["practice", "demonstration"])
def test_an_index_is_never_recorded_twice(tmp_path, spec, make_episode, kind):
    path = write(tmp_path, spec, make_episode(5))
    before = path.read_bytes()
    with pytest.raises(Unavailable, match=r"an episode 5 already; nothing is overwritten"):
        write(tmp_path, spec, make_episode(5, kind=kind))
    assert path.read_bytes() == before
    assert episode_paths(tmp_path) == [path]


def test_the_next_index_follows_the_highest(tmp_path, spec, make_episode):
    assert next_index(tmp_path / "not_there") == 0
    assert next_index(tmp_path) == 0
    for index in (3, 11):
        write(tmp_path, spec, make_episode(index))
    assert next_index(tmp_path) == 12


def test_one_writer_records_one_episode_after_another(tmp_path, spec, make_episode):
    writer = EpisodeWriter(tmp_path, spec)
    for index in range(3):
        episode = make_episode(index, length=index)
        writer.begin(episode.header, episode.observations[0])
        for step, after in zip(episode.steps, episode.observations[1:], strict=True):
            writer.append(step, after)
        writer.end()
        writer.end()  # twice is once
    for index, path in enumerate(episode_paths(tmp_path)):
        assert_same(read_episode(path), make_episode(index, length=index))


def test_an_episode_that_nobody_ended_stays_cut(tmp_path, spec, make_episode):
    writer = EpisodeWriter(tmp_path, spec)
    first = make_episode(0)
    writer.begin(first.header, first.observations[0])
    writer.append(first.steps[0], first.observations[1])
    writer.begin(make_episode(1).header, first.observations[0])
    writer.end()
    assert [recover(path).is_complete for path in episode_paths(tmp_path)] == [False, True]


@pytest.mark.parametrize("field", ["reward", "action", "observation"])
def test_a_value_that_is_not_finite_is_refused_and_leaves_the_file_good(
    tmp_path, spec, make_episode, field
):
    episode = make_episode(length=2)
    writer = EpisodeWriter(tmp_path, spec)
    writer.begin(episode.header, episode.observations[0])
    writer.append(episode.steps[0], episode.observations[1])
    bad = {"reward": np.inf, "action": np.array([0.0, np.nan])}
    step = replace(episode.steps[1], **{field: bad[field]}) if field in bad else episode.steps[1]
    after = np.full(3, np.nan) if field == "observation" else episode.observations[2]
    with pytest.raises(BadValue, match="episode 0, step 1"):
        writer.append(step, after)
    writer.append(episode.steps[1], episode.observations[2])
    writer.end()
    assert_same(read_episode(episode_paths(tmp_path)[0]), episode)


def test_an_observation_of_another_size_is_refused(tmp_path, spec, make_episode):
    with pytest.raises(BadValue, match="got 2 numbers, expected 3"):
        EpisodeWriter(tmp_path, spec).begin(make_episode().header, np.zeros(2))


def test_another_spec_is_refused_with_its_differences(tmp_path, spec, make_episode):
    path = write(tmp_path, spec, make_episode())
    other = Spec((Term("tool_pose", 2, "m", "base", (0.5, 0.5)),), spec.action, 0.05)
    with pytest.raises(SpecMismatch) as caught:
        read_episode(path, other)
    for part in ("period: got 0.1 s, expected 0.05 s", "tool_pose.scale", "gripper: not expected"):
        assert part in str(caught.value)
    with pytest.raises(SpecMismatch, match="its writer"):
        EpisodeWriter(tmp_path, other).begin(make_episode(9).header, np.zeros(2))


def test_an_unknown_format_is_refused_with_both_numbers(tmp_path, spec, make_episode, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(wire, "FORMAT", 99)
        path = write(tmp_path, spec, make_episode())
    with pytest.raises(
        RobostackError, match=f"episode format 99, this robostack reads up to {wire.FORMAT}"
    ):
        read_episode(path)


def test_the_follower_gives_every_complete_episode_once_and_in_order(tmp_path, spec, make_episode):
    follower = EpisodeFollower(tmp_path / "episodes", spec)
    assert follower.poll() == []  # not even the folder is there
    for index in (2, 0):
        write(tmp_path / "episodes", spec, make_episode(index))
    write(tmp_path / "episodes", spec, make_episode(1), ended=False)
    assert [episode.header.index for episode in follower.poll()] == [0, 2]
    assert follower.poll() == []
    write(tmp_path / "episodes", spec, make_episode(3))
    assert [episode.header.index for episode in follower.poll()] == [3]
    assert follower.poll() == []


def test_the_follower_gives_an_episode_when_it_ends(tmp_path, spec, make_episode):
    episode, follower = make_episode(), EpisodeFollower(tmp_path)
    writer = EpisodeWriter(tmp_path, spec)
    writer.begin(episode.header, episode.observations[0])
    for step, after in zip(episode.steps, episode.observations[1:], strict=True):
        writer.append(step, after)
        assert follower.poll() == []
    writer.end()
    [found] = follower.poll()
    assert_same(found, episode)


def test_the_follower_never_opens_a_file_again(tmp_path, spec, make_episode):
    path = write(tmp_path, spec, make_episode())
    follower = EpisodeFollower(tmp_path)
    assert len(follower.poll()) == 1
    path.write_bytes(b"anything")  # would raise if it were read
    assert follower.poll() == []


def test_the_follower_says_once_which_file_is_damaged_and_goes_on(tmp_path, spec, make_episode):
    for index in range(3):
        path = write(tmp_path, spec, make_episode(index))
        if index == 1:
            data = bytearray(path.read_bytes())
            data[data.index(b'"step":1') + 7] ^= 1
            path.write_bytes(data)
    follower = EpisodeFollower(tmp_path)
    assert [episode.header.index for episode in follower.poll()] == [0]
    with pytest.raises(RobostackError, match=r"000001-practice.mcap is damaged after step 1"):
        follower.poll()
    assert [episode.header.index for episode in follower.poll()] == [2]


def test_the_follower_refuses_another_spec(tmp_path, spec, make_episode):
    write(tmp_path, spec, make_episode())
    with pytest.raises(SpecMismatch, match="period"):
        EpisodeFollower(tmp_path, replace(spec, period=0.2)).poll()
