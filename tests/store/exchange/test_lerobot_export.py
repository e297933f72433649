"""What an export writes: LeRobot's tables, films and statistics, or nothing."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from robostack.core.errors import BadValue, RobostackError, SpecMismatch, Unavailable
from robostack.store.episode import EpisodeWriter, episode_paths, recover
from robostack.store.exchange import lerobot_export
from robostack.store.exchange import lerobot_stats as stats
from tests.store.exchange.made import DATA, EPISODES, record, with_pictures


def test_tables_are_what_lerobot_reads(dataset, tmp_path):
    root = dataset(is_film=True)
    info = json.loads((root / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, 18, 2)
    assert info["splits"] == {"train": "0:3"} and info["fps"] == 10
    assert info["data_path"] == "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    assert info["video_path"] == (
        "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    )
    features = info["features"]
    assert features["observation.state"] == {
        "dtype": "float32",
        "shape": [3],
        "names": ["tool_pose.0", "tool_pose.1", "gripper"],
    }
    assert features["observation.images.wrist"]["dtype"] == "video"
    assert features["observation.images.wrist"]["shape"] == [12, 16, 3]
    table = pq.read_table(root / DATA)
    assert table.column_names == [n for n in features if not n.startswith("observation.images")]
    assert table.column("index").to_pylist() == list(range(18))
    assert table.column("frame_index").to_pylist() == [*range(5), *range(6), *range(7)]
    assert table.column("episode_index").to_pylist() == [0] * 5 + [1] * 6 + [2] * 7
    assert table.column("task_index").to_pylist() == [0] * 11 + [1] * 7
    times = [f / 10 for n in (5, 6, 7) for f in range(n)]
    np.testing.assert_array_equal(table.column("timestamp"), np.array(times, np.float32))
    assert table.schema.field("action").type == pa.list_(pa.float32(), 2)
    assert table.schema.field("next.reward").type == pa.float32()
    assert pq.ParquetFile(root / DATA).num_row_groups == 3
    assert np.flatnonzero(table.column("next.done")).tolist() == [4, 10, 17]
    assert np.flatnonzero(table.column("next.truncated")).tolist() == [10]
    assert np.flatnonzero(table.column("next.success")).tolist() == [4, 17]
    expected = np.concatenate(
        [recover(p).episode.observations[:-1] for p in episode_paths(tmp_path / "episodes")]
    )
    np.testing.assert_array_equal(np.stack(table.column("observation.state").to_pylist()), expected)
    places = pq.read_table(root / EPISODES).to_pylist()
    assert [(p["dataset_from_index"], p["dataset_to_index"]) for p in places] == [
        (0, 5),
        (5, 11),
        (11, 18),
    ]
    key = "videos/observation.images.wrist"
    times = [(p[f"{key}/from_timestamp"], p[f"{key}/to_timestamp"]) for p in places]
    assert times == [(0.0, 0.5), (0.5, 1.1), (1.1, 1.8)]
    assert [p["tasks"] for p in places] == [["reach"], ["reach"], ["other"]]
    tasks = pq.read_table(root / "meta/tasks.parquet")
    assert tasks.to_pydict() == {"task_index": [0, 1], "task": ["reach", "other"]}
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]


def test_statistics_are_those_of_all_rows(dataset):
    root = dataset()
    told = json.loads((root / "meta/stats.json").read_text())
    table = pq.read_table(root / DATA)
    rows = np.stack(table.column("observation.state").to_pylist()).astype(float)
    for name, value in {
        "min": rows.min(0),
        "max": rows.max(0),
        "mean": rows.mean(0),
        "std": rows.std(0),
    }.items():
        np.testing.assert_allclose(told["observation.state"][name], value, rtol=1e-9, atol=1e-12)
    assert told["observation.state"]["count"] == [18]
    assert np.shape(told["observation.images.wrist"]["q99"]) == (3, 1, 1)
    assert not any(name.startswith("stats/") for name in table.column_names)


def test_statistics_of_a_film_are_exact():
    film = np.random.default_rng(0).integers(0, 256, (4, 9, 7, 3), dtype=np.uint8)
    film[..., 2] //= 3
    found, flat = stats.of_film(film), film.reshape(-1, 3) / 255
    np.testing.assert_allclose(found["mean"].ravel(), flat.mean(0))
    np.testing.assert_allclose(found["std"].ravel(), flat.std(0))
    np.testing.assert_array_equal(found["min"].ravel(), flat.min(0))
    np.testing.assert_array_equal(found["max"].ravel(), flat.max(0))
    exact = np.quantile(flat, 0.9, axis=0, method="inverted_cdf")
    np.testing.assert_allclose(found["q90"].ravel(), exact)


@pytest.mark.parametrize("end", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_export_that_is_stopped_leaves_nothing(tmp_path, spec, make_episode, end):
    paths = record(tmp_path / "episodes", spec, *(with_pictures(make_episode(i)) for i in range(3)))

    def stop(path: Path) -> None:
        if path == paths[1]:
            raise end

    with pytest.raises((KeyboardInterrupt, Unavailable)) as caught:
        lerobot_export.export(paths, tmp_path / "dataset", True, stop)
    if not isinstance(caught.value, KeyboardInterrupt):
        assert "no space left on device; make room there" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["episodes"]


def test_episodes_of_different_kinds_are_refused_with_what_differs(tmp_path, spec, make_episode):
    first, second = with_pictures(make_episode(0)), make_episode(1)
    paths = record(tmp_path / "cameras", spec, first, second)
    with pytest.raises(
        BadValue, match=r"000001-practice.mcap has cameras none, .*000000.* has {'wrist'"
    ):
        lerobot_export.export(paths, tmp_path / "dataset")
    other = replace(spec, period=0.05)
    paths = record(tmp_path / "specs", spec, make_episode(0))
    paths = record(
        tmp_path / "specs", other, replace(second, header=replace(second.header, spec=other.digest))
    )
    with pytest.raises(SpecMismatch, match="period: got 0.05 s, expected 0.1 s"):
        lerobot_export.export(paths, tmp_path / "dataset")
    slow = replace(spec, period=0.3)
    paths = record(
        tmp_path / "slow", slow, replace(second, header=replace(second.header, spec=slow.digest))
    )
    with pytest.raises(BadValue, match=r"period of 0.3 s, 3.333 frames/s; LeRobot counts whole"):
        lerobot_export.export(paths, tmp_path / "dataset")
    with pytest.raises(RobostackError, match="no episode with a step"):
        lerobot_export.export([], tmp_path / "dataset")
    assert not (tmp_path / "dataset").exists()


def test_an_episode_without_steps_is_left_out_and_named(tmp_path, spec, make_episode):
    writer = EpisodeWriter(tmp_path / "episodes", spec)
    writer.begin(make_episode(0, 0).header, np.zeros(3))
    writer.end()
    paths = record(tmp_path / "episodes", spec, make_episode(1))
    written = lerobot_export.export(paths, tmp_path / "dataset")
    assert written.notes == ["000000-practice.mcap has no step and is left out"]
    assert (written.episodes, written.frames) == (1, 3)
