"""What an import makes of datasets that others wrote, and says of those that are not sound."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from robostack.core.errors import RobostackError, Unavailable
from robostack.core.types import Who
from robostack.store.episode import episode_paths, recover
from robostack.store.exchange import lerobot_export, lerobot_import, pictures
from robostack.store.exchange import lerobot_layout as layout
from tests.store.exchange.made import DATA, EPISODES, SIZES


@pytest.mark.parametrize("is_film", [False, True])
def test_another_dataset_becomes_demonstrations(dataset, tmp_path, is_film):
    found = lerobot_import.bring(dataset(is_film), tmp_path / "back", robot="so100")
    assert (found.episodes, found.steps) == (3, 5 + 5 + 7)
    [note] = found.notes
    assert note.startswith("1 episodes do not end with their task; the last row of each is only")
    truth = [recover(path).episode for path in episode_paths(tmp_path / "episodes")]
    for path, true in zip(episode_paths(tmp_path / "back"), truth, strict=True):
        episode, spec, is_complete = recover(path)
        header, steps = episode.header, episode.steps
        assert is_complete and header.kind == "demonstration"
        assert (header.robot, header.task) == ("so100", true.header.task)
        [term] = spec.observation
        assert (term.name, term.size, term.unit, set(term.scale)) == ("state", 3, "", {1.0})
        assert spec.period == pytest.approx(0.1)
        assert steps[-1].terminated == true.steps[-1].terminated
        assert steps[-1].truncated == true.steps[-1].truncated
        rows = len(true.steps)
        assert len(steps) == (rows if steps[-1].terminated else rows - 1)
        np.testing.assert_array_equal(episode.observations[:rows], true.observations[:-1])
        if steps[-1].terminated:  # nothing follows, so the row's own frame stands in
            np.testing.assert_array_equal(episode.observations[-1], episode.observations[-2])
        np.testing.assert_array_equal(
            [s.action for s in steps],
            np.array([s.action for s in true.steps[: len(steps)]], np.float32),
        )
        assert [s.who for s in steps] == [s.who for s in true.steps[: len(steps)]]
        for camera, film in true.pictures.items():
            error = np.abs(episode.pictures[camera][:rows].astype(int) - film[:-1]).mean()
            assert error <= (12.0 if is_film else 0.0)


def edit(root: Path, name: str, change: Callable[[Any], Any]) -> None:
    """Changes a table, or info.json, of a dataset."""
    path = root / name
    if path.suffix == ".json":
        value = json.loads(path.read_text())
        path.write_text(json.dumps(change(value) or value))
    else:
        pq.write_table(change(pq.read_table(path)), path)


def drop(root: Path, *names: str) -> None:
    edit(root, DATA, lambda table: table.drop_columns(list(names)))
    edit(
        root, "meta/info.json", lambda info: [info["features"].pop(name) for name in names] and None
    )


def test_columns_that_others_have_not_are_not_asked_for(dataset, tmp_path):
    root = dataset()
    drop(root, layout.REWARD, layout.DONE, layout.TRUNCATED, layout.PERSON)
    # As lerobot 0.4 wrote it: pandas' own name for an index without one.
    edit(
        root, "meta/tasks.parquet", lambda t: t.rename_columns(["task_index", "__index_level_0__"])
    )
    lerobot_import.bring(root, tmp_path / "back")
    episodes = [recover(path).episode for path in episode_paths(tmp_path / "back")]
    assert [len(e.steps) for e in episodes] == [5, 5, 7]  # the second has no success, so no end
    assert [e.is_success for e in episodes] == [True, False, True]
    assert [e.header.task for e in episodes] == ["reach", "reach", "other"]
    assert {step.who for e in episodes for step in e.steps} == {Who.PERSON}


def test_several_columns_of_numbers_are_several_terms(dataset, tmp_path):
    root = dataset()
    values = pa.array(np.arange(18.0), pa.float32())
    edit(root, DATA, lambda table: table.append_column("observation.force", values))
    feature = {"dtype": "float32", "shape": [1], "names": None}
    edit(root, "meta/info.json", lambda i: i["features"].update({"observation.force": feature}))
    lerobot_import.bring(root, tmp_path / "back")
    episode, spec, _ = recover(episode_paths(tmp_path / "back")[2])
    assert {term.name: term.size for term in spec.observation} == {"state": 3, "force": 1}
    force = episode.observations[:, spec.observation_slice("force")]
    assert force.ravel().tolist() == [*range(11, 18), 17]


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def shorten(film: Path) -> None:
    height, width = SIZES["wrist"]
    film.unlink()
    writer = pictures.FilmWriter(film, 10, height, width)
    writer.add(np.zeros((12, height, width, 3), np.uint8))
    writer.close()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[80] ^= 0xFF  # among the first column's numbers
    path.write_bytes(data)


FILM = "videos/observation.images.wrist/chunk-000/file-000.mp4"
PICTURE = "observation.images.wrist"


def spoil_picture(table: Any) -> Any:
    column = table.column(PICTURE).to_pylist()
    column[7]["bytes"] = b"\x89PNG\r\n\x1a\n" + bytes(30)
    place = table.schema.get_field_index(PICTURE)
    return table.set_column(
        place, table.schema.field(PICTURE), pa.array(column, table.schema.field(PICTURE).type)
    )


def set_nan(table: Any) -> Any:
    rows = table.column("observation.state").to_pylist()
    rows[3][1] = float("nan")
    place, kind = (
        table.schema.get_field_index("observation.state"),
        table.schema.field("observation.state"),
    )
    return table.set_column(place, kind, pa.array(rows, kind.type))


FAULTS: dict[str, tuple[bool, Callable[[Path], Any], str]] = {
    # name: (films?, what is done to the dataset, what the line says)
    "no dataset": (False, lambda r: shutil.rmtree(r / "meta"), r"is no LeRobotDataset: it has no meta/info.json"),
    "version 2.1": (
        False,
        lambda r: edit(r, "meta/info.json", lambda i: i.update(codebase_version="v2.1")),
        r"of version v2.1, this robostack reads v3.x; lerobot converts it: python -m lerobot\S+v21_to_v30",
    ),
    "version 4.0": (
        False,
        lambda r: edit(r, "meta/info.json", lambda i: i.update(codebase_version="v4.0")),
        r"of version v4.0, this robostack reads v3.x$",
    ),
    "info is no JSON": (False, lambda r: cut(r / "meta/info.json", 100), "info.json is not JSON"),
    "info without fps": (
        False,
        lambda r: edit(r, "meta/info.json", lambda i: i.pop("fps") and None),
        "no sound LeRobotDataset, see meta/info.json: no 'fps'",
    ),
    "no tasks": (False, lambda r: (r / "meta/tasks.parquet").unlink(), "cannot read .*tasks.parquet"),
    "no episodes": (False, lambda r: shutil.rmtree(r / "meta/episodes"), "has no meta/episodes/chunk-000"),
    "no data": (False, lambda r: (r / DATA).unlink(), "cannot read .*file-000.parquet: no such file"),
    "a column is missing": (
        False,
        lambda r: edit(r, DATA, lambda t: t.drop_columns(["action"])),
        r"lacks the columns action, which meta/info.json promises; it has: observation.state",
    ),
    "a parquet file is cut": (False, lambda r: cut(r / DATA, 2000), "is damaged or no parquet file"),
    "a number is flipped": (False, lambda r: flip(r / DATA), "see its parquet files: .*CRC checksum"),
    "rows are missing": (
        False,
        lambda r: edit(r, DATA, lambda t: t.slice(0, 16)),
        "episode 2 has 5 rows, meta/episodes says 7",
    ),
    "an episode is missing": (
        False,
        lambda r: edit(r, DATA, lambda t: t.slice(0, 11)),
        "got episode None where meta/episodes expects 2",
    ),
    "NaN": (False, lambda r: edit(r, DATA, set_nan), "observation.state holds a value that is not finite"),
    "a picture is damaged": (False, lambda r: edit(r, DATA, spoil_picture), "of episode 1: a damaged png"),
    "a film is short": (True, lambda r: shorten(r / FILM), r"no frame at 1.200 s: got 1 of the 7 frames"),
    "a film is missing": (True, lambda r: (r / FILM).unlink(), "cannot read .*file-000.mp4: no such file"),
    "a film is no film": (True, lambda r: (r / FILM).write_bytes(b"no film"), "mp4 is no film"),
    "a film is cut": (True, lambda r: cut(r / FILM, 900), "mp4 is no film|is damaged|has no frame"),
    "nothing to observe": (False, lambda r: drop(r, "observation.state"), "has no numbers to observe"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_wrong_with_a_dataset_is_one_line_and_nothing_is_left(dataset, tmp_path, name):
    is_film, spoil, line = FAULTS[name]
    root = dataset(is_film)
    spoil(root)
    with pytest.raises(RobostackError, match=line) as caught:
        lerobot_import.bring(root, tmp_path / "back")
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset", "episodes"]


def test_what_lies_beside_must_fit_and_be_known(dataset, tmp_path):
    root = dataset(is_theirs=False)
    edit(root, DATA, lambda table: table.slice(0, 17))
    edit(root, EPISODES, lambda t: t.set_column(2, "length", pa.array([5, 6, 6])))
    with pytest.raises(
        RobostackError, match="episode 2 has 7 steps in meta/robostack, 6 rows in data"
    ):
        lerobot_import.bring(root, tmp_path / "back")
    edit(root, "meta/robostack/about.json", lambda about: about.update(format=9))
    with pytest.raises(RobostackError, match="has format 9, this robostack reads 2"):
        lerobot_import.bring(root, tmp_path / "back")
    cut(root / "meta/robostack/about.json", 20)
    with pytest.raises(RobostackError, match="is not JSON"):
        lerobot_import.bring(root, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_nothing_is_overwritten_in_either_direction(dataset, tmp_path):
    root = dataset()
    before = (root / DATA).read_bytes()
    with pytest.raises(Unavailable, match=r"dataset is there already; nothing is overwritten"):
        lerobot_export.export(episode_paths(tmp_path / "episodes"), root)
    with pytest.raises(Unavailable, match=r"episodes is there already"):
        lerobot_import.bring(root, tmp_path / "episodes")
    assert (root / DATA).read_bytes() == before
