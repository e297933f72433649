"""Out to LeRobotDataset v3 and back: equal, whatever the episodes are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robostack.core import catalog
from robostack.core.errors import RobostackError
from robostack.core.guard import Guard
from robostack.core.loop import Loop
from robostack.core.operator import ScriptedPerson
from robostack.core.plant import GuardedPlant, MockPlant
from robostack.core.types import Sample
from robostack.store.episode import EpisodeWriter, episode_paths, recover
from robostack.store.exchange import lerobot_export, lerobot_import, pictures
from robostack.store.exchange import lerobot_layout as layout
from tests.store.exchange.made import SIZES, assert_same, record, with_pictures


def there_and_back(paths: list[Path], place: Path, is_film: bool = False) -> list[Path]:
    lerobot_export.export(paths, place / "dataset", is_film)
    lerobot_import.bring(place / "dataset", place / "back")
    return episode_paths(place / "back")


class Cell(MockPlant):
    """A mock cell with eyes."""

    def read(self):
        rng = np.random.default_rng(round(self.now * 1e3))
        eyes = {
            n: Sample(self.now, rng.integers(0, 256, (*s, 3), np.uint8)) for n, s in SIZES.items()
        }
        return {**super().read(), **eyes}


class Wander:
    version = 3

    def __init__(self, size: int):
        self.size = size

    def act(self, observation, rng, pictures=None):
        del rng
        return np.random.default_rng(int(1e6 * abs(observation).sum())).uniform(-1, 1, self.size)


@pytest.mark.parametrize("task_name", catalog.tasks())
@pytest.mark.parametrize("robot_name", catalog.robots())
def test_every_robot_and_task_comes_back_equal(tmp_path, robot_name, task_name):
    task, robot = catalog.task(task_name), catalog.robot(robot_name)
    task = replace(task, steps=12)
    plant = GuardedPlant(Cell(task), Guard(robot.safety, task.period))
    person = ScriptedPerson(lambda: task.expert(task.options))
    writer = EpisodeWriter(tmp_path / "episodes", Loop(plant, task, robot).spec)
    loop = Loop(plant, task, robot, operator=person, recorder=writer)
    for index, kind in enumerate(("demonstration", "practice", "solo")):
        loop.run(Wander(loop.spec.action_size), kind, index, index)
    paths = episode_paths(tmp_path / "episodes")
    back = there_and_back(paths, tmp_path)
    assert [path.name for path in back] == [path.name for path in paths]
    for path, again in zip(paths, back, strict=True):
        assert_same(recover(again), recover(path))


numbers = st.floats(allow_nan=False, allow_infinity=False)
side = st.integers(1, 20)


@settings(max_examples=25)
@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    sizes=st.dictionaries(
        st.text("abc_", min_size=1, max_size=3), st.tuples(side, side).map(list), max_size=2
    ),
    extreme=numbers,
    guard=st.text(max_size=8),
    drawn=st.dictionaries(st.text(max_size=4), numbers | st.text(max_size=4), max_size=2),
    is_complete=st.booleans(),
    guide=st.none() | st.just(np.array([0.25, -1.0])),
)
def test_any_episodes_come_back_equal(
    tmp_path_factory, spec, make_episode, lengths, sizes, extreme, guard, drawn, is_complete, guide
):
    place = tmp_path_factory.mktemp("any")
    for index, length in enumerate(lengths):
        episode = make_episode(
            index, length, people=(0,), ends=["terminated", "truncated", ""][index]
        )
        first = replace(
            episode.steps[0],
            reward=extreme,
            guard=guard,
            guide=guide,
            age=extreme,
            action=np.array([extreme, 0.1]),
        )
        episode = replace(
            episode,
            steps=(first, *episode.steps[1:]),
            header=replace(episode.header, drawn=drawn, actor=guard),
        )
        record(place / "episodes", spec, with_pictures(episode, sizes), is_complete=is_complete)
    paths = episode_paths(place / "episodes")
    with np.errstate(over="ignore"):  # LeRobot's own columns are float32
        back = there_and_back(paths, place)
    for path, again in zip(paths, back, strict=True):
        assert_same(recover(again), recover(path))


def test_files_are_many_when_they_grow_large(tmp_path, spec, make_episode, monkeypatch):
    monkeypatch.setattr(layout, "DATA_MB", 0)
    monkeypatch.setattr(layout, "FILM_S", 1)
    monkeypatch.setattr(layout, "FILES_PER_CHUNK", 2)
    made = [with_pictures(make_episode(i, 4)) for i in range(5)]
    paths = record(tmp_path / "episodes", spec, *made)
    back = there_and_back(paths, tmp_path, is_film=True)
    data = sorted(
        str(p.relative_to(tmp_path / "dataset/data"))
        for p in (tmp_path / "dataset/data").rglob("*.parquet")
    )
    assert data[-1] == "chunk-002/file-000.parquet" and len(data) == 5
    assert len(list((tmp_path / "dataset/videos/observation.images.wrist").rglob("*.mp4"))) == 3
    for path, again in zip(paths, back, strict=True):
        assert_same(recover(again), recover(path), film_error=12.0)


def test_a_film_has_one_frame_a_row_and_close_to_what_was_seen(dataset, tmp_path):
    root = dataset(is_film=True, is_theirs=False)
    for camera in SIZES:
        path = root / f"videos/observation.images.{camera}/chunk-000/file-000.mp4"
        reader = pictures.FilmReader(path)
        assert len(list(reader.take(0.0, 18, 10))) == 18
        with pytest.raises(RobostackError, match=r"no frame at 1.800 s: got 18 of the 19 frames"):
            list(reader.take(0.0, 19, 10))
        reader.close()
    lerobot_import.bring(root, tmp_path / "back")
    for path in episode_paths(tmp_path / "episodes"):
        assert_same(recover(tmp_path / "back" / path.name), recover(path), film_error=12.0)


def test_pictures_of_any_size_survive_png():
    rng = np.random.default_rng(0)
    for size in ((1, 1), (3, 200), (128, 128), (97, 131)):
        picture = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        np.testing.assert_array_equal(pictures.picture_of(pictures.png(picture)), picture)
    for data in (b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", pictures.png(picture)[:60]):
        with pytest.raises(ValueError, match="neither PNG nor JPEG|a damaged png"):
            pictures.picture_of(data)
