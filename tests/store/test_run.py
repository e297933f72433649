"""The folder of a run."""

import json
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robostack.core.errors import RobostackError, Unavailable
from robostack.store.disk import explained
from robostack.store.run import Run, read_json, write_json

Usage = namedtuple("Usage", "total used free")


def test_a_run_says_at_once_what_it_is_and_with_which_versions(tmp_path):
    run = Run.create(tmp_path / "runs", "reach-fr3-s0", {"seed": 0})
    assert run.path.parent == tmp_path / "runs"
    assert run.path.name.endswith("-reach-fr3-s0")
    assert run.episodes.is_dir()
    assert run.params.is_dir()
    assert run.config == {"seed": 0}
    versions = json.loads((run.path / "versions.json").read_text())
    assert {"robostack", "python", "numpy", "mcap"} <= versions.keys()
    assert Run.open(run.path) == run


def test_two_runs_in_one_second_get_two_folders(tmp_path):
    runs = {Run.create(tmp_path, "reach-fr3-s0").path for _ in range(5)}
    assert len(runs) == 5


def test_any_other_folder_is_no_run(tmp_path):
    with pytest.raises(RobostackError, match=r"is not a run folder: it holds no config.json"):
        Run.open(tmp_path)


def test_too_little_room_is_refused_with_both_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 10**12, 120_400_000))
    with pytest.raises(Unavailable, match=r"120 MB are free .* needs 200 MB; make room"):
        Run.create(tmp_path, "reach-fr3-s0")
    assert list(tmp_path.iterdir()) == []


def test_a_root_that_is_a_file_is_one_clear_line(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(
        Unavailable, match=r"cannot make .*runs: file exists; nothing is overwritten"
    ):
        Run.create(tmp_path / "runs", "reach-fr3-s0")


def test_no_permission_is_one_clear_line():
    with (
        pytest.raises(
            Unavailable, match=r"cannot make runs: permission denied; choose a folder you may"
        ),
        explained("make", Path("runs")),
    ):
        raise PermissionError(13, "Permission denied")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(values)
def test_json_comes_back_equal(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("json") / "a.json"
    write_json(path, value)
    assert read_json(path) == value


def test_json_that_is_missing_or_broken(tmp_path):
    assert read_json(tmp_path / "a.json") is None
    assert read_json(tmp_path / "a.json", {}) == {}
    (tmp_path / "a.json").write_bytes(b'{"half": ')
    with pytest.raises(RobostackError, match=r"a.json is not JSON"):
        read_json(tmp_path / "a.json")


def test_a_copy_of_a_run_has_its_id_and_a_seat_of_its_own(tmp_path):
    """Or steps that wait in memory for one of two actors would go to the other's files."""
    run = Run.create(tmp_path, "reach")
    first = run.seat
    copy = Run(Path(shutil.copytree(run.path, tmp_path / "copy")))
    assert copy.id == run.id and copy.seat != first
    moved = Run(run.path.rename(tmp_path / "moved"))
    assert moved.seat == first
