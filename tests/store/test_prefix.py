"""The check of a file that grows elsewhere: it never trusts more than is whole."""

from itertools import cycle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcap.writer import MCAP0_MAGIC

from robostack.store import reading, wire
from robostack.store.episode import EpisodeWriter, episode_paths


@pytest.fixture(scope="module")
def grown(spec, make_episode, tmp_path_factory):
    """A complete file and its size after each step, from step 0 on."""
    folder, episode = tmp_path_factory.mktemp("grown"), make_episode(length=5)
    writer = EpisodeWriter(folder, spec)
    writer.begin(episode.header, episode.observations[0])
    [path] = episode_paths(folder)
    sizes = [path.stat().st_size]
    for step, after in zip(episode.steps, episode.observations[1:], strict=True):
        writer.append(step, after)
        sizes.append(path.stat().st_size)
    writer.end()
    return path.read_bytes(), sizes


@given(st.lists(st.integers(1, 3000), min_size=1))
def test_pieces_of_any_size_give_what_the_whole_gives(grown, lengths):
    content, sizes = grown
    prefix, place, lengths = reading.Prefix(), 0, cycle(lengths)
    while place < len(content):
        piece = content[place : place + next(lengths)]
        prefix.feed(piece)
        place += len(piece)
        whole = [size for size in sizes if size <= place]
        assert prefix.steps == max(0, len(whole) - 1)
        assert (whole[-1] if whole else 0) <= prefix.size <= place
        assert not prefix.error
    assert prefix.is_finished
    assert prefix.size == len(content)


@given(st.integers(0), st.integers(0, 7))
def test_a_flipped_bit_is_never_taken_for_a_step(grown, place, bit):
    content, sizes = grown
    place %= sizes[-1]
    damaged = bytearray(content)
    damaged[place] ^= 1 << bit
    prefix = reading.Prefix()
    prefix.feed(bytes(damaged))
    if not prefix.error and prefix.steps == 5:
        # Outside what the chain covers (schemas, log times): then every record is as it was.
        assert list(reading.messages(bytes(damaged))) == list(reading.messages(content))


@given(st.binary(max_size=3000), st.booleans())
def test_garbage_is_an_error_or_not_enough(data, has_magic):
    prefix = reading.Prefix()
    prefix.feed(MCAP0_MAGIC * has_magic + data)
    assert prefix.steps == 0
    assert prefix.size == 0
    assert not prefix.is_finished


def test_what_follows_the_end_is_an_error(grown):
    content, _ = grown
    prefix = reading.Prefix()
    prefix.feed(content + b"more")
    assert prefix.error


def test_a_file_with_something_after_its_end_is_whole_up_to_there_in_one_piece_and_in_two(grown):
    content, _ = grown
    whole, parts = reading.Prefix(), reading.Prefix()
    whole.feed(content + b"more")
    for piece in (content, b"more"):
        parts.feed(piece)
    assert whole.size == parts.size == len(content)
    assert whole.is_finished and parts.is_finished and whole.error == parts.error != ""


def test_a_step_that_comes_twice_is_an_error(grown):
    content, sizes = grown
    prefix = reading.Prefix()
    prefix.feed(content[: sizes[2]])
    prefix.feed(content[sizes[1] : sizes[2]])
    assert prefix.error
    assert prefix.size == sizes[2]
    assert prefix.steps == 2


def test_a_record_that_claims_to_be_huge_is_refused_at_once(grown):
    content, sizes = grown
    prefix = reading.Prefix()
    prefix.feed(content[: sizes[1]] + b"\x05" + np.uint64(2**40).tobytes())
    assert "a record of 1099511627776 bytes" in prefix.error


def test_a_newer_format_is_refused_with_both_versions(spec, make_episode, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(wire, "FORMAT", 7)
        writer = EpisodeWriter(tmp_path, spec)
        writer.begin(make_episode().header, make_episode().observations[0])
        writer.end()
    prefix = reading.Prefix()
    prefix.feed(episode_paths(tmp_path)[0].read_bytes())
    assert f"has episode format 7, this robostack reads up to {wire.FORMAT}" in prefix.error
