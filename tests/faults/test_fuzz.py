"""Whatever bytes come, each parser answers with what they are, or with one documented error."""

import random
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.writer import MCAP0_MAGIC

from robostack import config as configs
from robostack.core.errors import BadValue, RobostackError
from robostack.core.types import Sample
from robostack.store import reading, sensors
from robostack.store.episode import Damaged, EpisodeWriter, episode_paths, outcome, recover
from tests.faults import oracle
from tests.faults.oracle import KIND, SPEC, Oracle
from tests.faults.parsers import BY_NAME, PARSERS, Parser
from tests.faults.spoil import MESSAGE, mended_episode, records

EXAMPLES = 150  # of each kind and parser


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_real_inputs_are_understood(parser: Parser):
    for data in parser.seeds():
        parser.parse(data)


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
@settings(max_examples=EXAMPLES)
@given(data=st.binary(max_size=300), is_appended=st.booleans())
def test_any_bytes_are_answered(parser: Parser, data: bytes, is_appended: bool):
    parser.try_out((parser.seeds()[0] if is_appended else b"") + data)


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
@settings(max_examples=EXAMPLES)
@given(st.randoms(use_true_random=False), st.integers(1, 3))
def test_spoiled_real_inputs_are_answered(parser: Parser, rng: random.Random, times: int):
    data = rng.choice(parser.seeds())
    for _ in range(times):
        data = parser.spoil(data, rng)
    parser.try_out(data)


def test_a_mended_file_is_the_file_itself():
    for data in BY_NAME["recover"].seeds():
        if b"ros2msg" in data:
            assert mended_episode(*records(data)) == data


@pytest.fixture
def path(tmp_path) -> Path:
    """A whole episode of the oracle."""
    truth = Oracle(size=4, steps=3)
    truth.loop(EpisodeWriter(tmp_path, SPEC), oracle.Plant(truth)).run(oracle.Policy(), KIND, 0, 0)
    return episode_paths(tmp_path)[0]


def rewrite(path: Path, old: bytes, new: bytes) -> None:
    """As a program with a mistake would have written it: lengths and checksums fit."""
    found, rest = records(path.read_bytes())
    for place, (opcode, body) in enumerate(found):
        if opcode == MESSAGE and old in body:
            found[place] = opcode, body.replace(old, new)
            break
    else:
        raise AssertionError(f"{old!r} is not there")
    path.write_bytes(mended_episode(found, rest))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'"reward":0.0', b'"reward":1e999', "its reward is inf"),
        (b'"reward":0.0', b'"reward":"0"', "its reward is '0'"),
        (b'"who":"', b'"who":7,"was":"', "7"),
        (b'"terminated":false', b'"terminated":0', "its terminated is 0"),
        (b'"stamp":0.0', b'"stamp":' + str(10**400).encode(), "too large"),
        (b'"guard":"', b'"guard":null,"not":"', ""),
        (b'"gripper":[', b'"gripper":[0.5,', "inhomogeneous"),
        (b'"action_policy":[', b'"action_policy":[0.5,', "expected (7,)"),
        (b'"seed":0', b'"seed":"0"', "its seed is '0'"),
        (b'"actor":""', b'"actor":["../.."]', "its actor is ['../..']"),
        (
            b'"wrist_camera":[4,4]',
            b'"wrist_camera":[8,2]',
            "a picture of wrist_camera is (4, 4, 3)",
        ),
        (b'"wrist_camera":[4,4]', b'"third_camera":[4,4]', "third_camera"),
    ],
)
def test_a_record_with_a_value_that_cannot_be_is_no_episode(path, old, new, said):
    """Its checksums fit; still nothing of it may reach training."""
    rewrite(path, old, new)
    with pytest.raises(Damaged, match="is no episode file") as caught:
        recover(path)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_frame_without_its_picture_never_gets_the_one_before(path):
    found, rest = records(path.read_bytes())
    topic = sensors.topic_of_camera("wrist_camera").encode()
    number = next(body[:2] for opcode, body in found if opcode == 4 and topic in body)
    pictures = [
        i for i, (opcode, body) in enumerate(found) if opcode == MESSAGE and body[:2] == number
    ]
    del found[pictures[1]]
    path.write_bytes(mended_episode(found, rest))
    with pytest.raises(Damaged, match="wrist_camera"):
        recover(path)


def test_a_frame_out_of_place_is_not_counted_as_a_step(path):
    rewrite(path, b'"frame":2', b'"frame":5')
    prefix = reading.Prefix()
    prefix.feed(path.read_bytes())
    assert prefix.steps == 1 and "frame 5 stands where frame 2 should" in prefix.error


def test_an_outcome_with_a_value_that_cannot_be_is_refused(path):
    assert outcome(path)
    data = path.read_bytes()
    place = data.rindex(b'"person_steps": ')
    with pytest.raises(RobostackError):
        path.write_bytes(
            data[:place] + data[place:].replace(b'"person_steps": ', b'"person_steps":-', 1)
        )
        outcome(path)


@pytest.mark.parametrize("size", [100, 3 << 30])
def test_a_file_that_claims_something_huge_at_its_end_is_refused_before_memory_is_taken(path, size):
    """A footer may point anywhere: here to a record whose name has three gigabytes."""
    data = path.read_bytes()
    huge = b"\x0c" + size.to_bytes(8, "little") + (3 << 30).to_bytes(4, "little")
    footer = b"\x02" + (20).to_bytes(8, "little") + len(data).to_bytes(8, "little") + bytes(12)
    path.write_bytes(data + huge + footer + MCAP0_MAGIC)
    with memory_limited(), pytest.raises(Damaged):
        outcome(path)


@contextmanager
def memory_limited() -> Iterator[None]:
    """A gigabyte more, or MemoryError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + (1 << 30), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_a_number_beyond_all_floats_in_a_config_is_refused():
    with pytest.raises(BadValue, match="steps is 1000"):
        configs.from_dict({"steps": 10**400})


def test_an_error_is_one_line_whatever_it_quotes():
    error = RobostackError('no robot "a\nb\x1b[31m"; there are: …')
    assert str(error) == 'no robot "a\\nb\\x1b[31m"; there are: …'


def test_a_picture_of_another_kind_is_refused():
    samples = {"eye": Sample(0.0, np.zeros((2, 2, 3), np.uint8))}
    [message] = sensors.messages(samples)
    data = bytes(message.data).replace(b"rgb8", b"bgr8")
    with pytest.raises(ValueError, match='"bgr8"'):
        sensors.picture(data)
