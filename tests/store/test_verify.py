"""A check of a file says what it is good for, wherever it was cut or hit."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robostack.core.errors import RobostackError, Unavailable
from robostack.store import wire
from robostack.store.episode import recover
from robostack.store.verify import check, episode_files, opening, rescue
from tests.store.exchange.made import record, with_pictures


@pytest.fixture(scope="module")
def whole(tmp_path_factory, spec, make_episode) -> Path:
    """A complete episode of four steps, with pictures."""
    [path] = record(tmp_path_factory.mktemp("whole"), spec, with_pictures(make_episode(3, 4)))
    return path


def test_a_whole_file_is_ok(whole):
    found = check(whole)
    assert (found.state, found.steps, found.line) == ("ok", 4, "ok: 4 steps")
    assert found.whole == found.size == whole.stat().st_size


def test_a_file_cut_at_any_byte_is_whole_up_to_a_step(whole, tmp_path):
    data, path = whole.read_bytes(), tmp_path / whole.name
    for size in [*range(0, len(data), 97), len(data) - 1]:
        path.write_bytes(data[:size])
        found = check(path)
        assert found.state == "cut", size
        assert found.whole <= size
        assert found.line.startswith(f"cut: whole up to step {found.steps}")
        if found.whole:
            assert len(recover(path).episode.steps) == found.steps
    assert found.steps == 4


@settings(max_examples=80)
@given(place=st.floats(0, 1), mask=st.integers(1, 255))
def test_a_flipped_byte_is_never_called_ok_unless_nothing_is_lost(
    whole, tmp_path_factory, place, mask
):
    data = bytearray(whole.read_bytes())
    data[int(place * (len(data) - 1))] ^= mask
    path = tmp_path_factory.mktemp("flip") / whole.name
    path.write_bytes(data)
    found = check(path)
    if found.state == "ok":  # MCAP's own words: library, statistics
        assert recover(path).episode.observations.tobytes() == (
            recover(whole).episode.observations.tobytes()
        )
    else:
        assert found.steps <= 4 and found.whole < found.size
        if found.whole:
            copy = rescue(found, path.parent / "saved")
            assert len(recover(copy).episode.steps) == found.steps


def test_damage_is_told_with_its_place(whole, tmp_path):
    data = bytearray(whole.read_bytes())
    place = data.index(b'"step":2')
    data[place + 7] ^= 1
    path = tmp_path / whole.name
    path.write_bytes(data)
    found = check(path)
    assert (found.state, found.steps) == ("damaged", 2)
    assert found.whole < place
    assert f"damaged at byte {found.whole}: " in found.line
    assert found.line.endswith("; whole up to step 2")


def test_another_file_is_damaged_from_its_first_byte(tmp_path):
    path = tmp_path / "000000-practice.mcap"
    path.write_text("no episode")
    assert check(path).line.startswith("damaged at byte 0: it does not begin as MCAP does")


def test_a_newer_format_is_told_with_both_versions(spec, make_episode, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(wire, "FORMAT", 99)
        [path] = record(tmp_path, spec, make_episode())
    assert check(path).state == "newer"
    assert f"has episode format 99, this robostack reads up to {wire.FORMAT}" in check(path).line
    with pytest.raises(RobostackError, match="episode format 99"):
        opening(path)


def test_the_whole_steps_of_a_hurt_file_are_saved_beside_it(whole, tmp_path):
    data = bytearray(whole.read_bytes())
    data[data.index(b'"step":3') + 7] ^= 1
    path = tmp_path / whole.name
    path.write_bytes(data)
    copy = rescue(check(path), tmp_path / "saved")
    assert path.read_bytes() == data, "the file itself is never touched"
    assert check(copy).line == "cut: whole up to step 3"
    np.testing.assert_array_equal(
        recover(copy).episode.observations, recover(whole).episode.observations[:4]
    )
    with pytest.raises(Unavailable, match="nothing is overwritten"):
        rescue(check(path), tmp_path / "saved")


def test_damage_after_the_last_step_costs_no_step(whole, tmp_path):
    data = bytearray(whole.read_bytes())
    data[data.rindex(b"is_success")] ^= 1  # in the summary that is read from the end
    path = tmp_path / whole.name
    path.write_bytes(data)
    found = check(path)
    assert "after its last step, its last record is damaged; whole up to step 4" in found.line
    copy = rescue(found, tmp_path / "saved")
    assert check(copy).line == "cut: whole up to step 4"
    np.testing.assert_array_equal(
        recover(copy).episode.observations, recover(whole).episode.observations
    )


def test_a_file_says_at_its_beginning_what_it_is(whole, spec, tmp_path):
    found = opening(whole)
    assert found and found[0].index == 3 and found[1] == spec
    path = tmp_path / whole.name
    path.write_bytes(whole.read_bytes()[:500])
    assert opening(path) is None


def test_a_run_a_folder_and_a_file_are_found_alike(whole, spec, make_episode, tmp_path):
    [path] = record(tmp_path / "run/episodes", spec, make_episode())
    assert episode_files(tmp_path / "run") == episode_files(tmp_path / "run/episodes") == [path]
    assert episode_files(path) == [path]
    (tmp_path / "empty").mkdir()
    with pytest.raises(RobostackError, match="empty holds no episode"):
        episode_files(tmp_path / "empty")
    with pytest.raises(RobostackError, match="is not there"):
        episode_files(tmp_path / "nothing")
