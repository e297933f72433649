"""A LeRobotDataset v3.x on disk, read an episode at a time and believed in nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from robostack.core.errors import BadValue, RobostackError
from robostack.core.spec import Spec, Term
from robostack.store.exchange import lerobot_layout as layout
from robostack.store.exchange.pictures import FilmReader, picture_of
from robostack.store.run import read_json

BATCH = 256  # rows read at once; with pictures in them some 10 MB
CONVERT = "python -m lerobot.scripts.convert_dataset_v21_to_v30 --repo-id=NAME"


class Rows(NamedTuple):
    """One episode's rows, by column; cameras by name."""

    number: int
    columns: dict[str, np.ndarray]  # (T,) or (T, n)
    pictures: dict[str, np.ndarray]  # (T, H, W, 3)
    task: str


class Dataset:
    """A folder with a LeRobotDataset v3.x. Iterating gives its episodes in order, one in memory at a time."""

    def __init__(self, root: Path):
        """Raises RobostackError for anything else, and for another version."""
        self.root = root
        info = read_json(root / layout.INFO)
        if info is None:
            raise RobostackError(f"{root} is no LeRobotDataset: it has no {layout.INFO}")
        version = str(info.get("codebase_version") if isinstance(info, dict) else None)
        if not version.startswith("v3."):
            mend = f"; lerobot converts it: {CONVERT}" if version.startswith("v2") else ""
            raise RobostackError(
                f"{root} is a LeRobotDataset of version {version}, this robostack reads v3.x{mend}"
            )
        self.info = info
        with sound(root, layout.INFO):
            self.fps = float(info["fps"])
            self.features: dict[str, layout.Feature] = dict(info["features"])
            self._data, self._film = str(info["data_path"]), info.get("video_path")
            if not self.fps > 0 or layout.ACTION not in self.features:
                raise ValueError(f"fps is {info['fps']}, its features {', '.join(self.features)}")
            kinds = {name: feature["dtype"] for name, feature in self.features.items()}
        self.images = [name for name, kind in kinds.items() if kind == "image"]
        self.films = [name for name, kind in kinds.items() if kind == "video"]
        self._open: dict[str, FilmReader] = {}
        with sound(root, layout.TASKS):
            self._tasks = _tasks(layout.open_table(root / layout.TASKS).read())

    def spec(self) -> tuple[Spec, list[str]]:
        """Terms for the columns as they are, and the observations' columns in their order."""
        sizes = {}
        for name, feature in self.features.items():
            is_number = str(feature["dtype"]).startswith(("float", "int", "uint", "bool"))
            is_seen = name.startswith("observation.") and is_number
            if name != layout.ACTION and not is_seen:
                continue
            shape = feature["shape"]
            if len(shape) != 1 or not 0 < int(shape[0]) <= 10_000:
                raise BadValue(f"{self.root}: {name} has shape {shape}, expected a row of numbers")
            sizes[name] = int(shape[0])
        names = [name for name in sizes if name != layout.ACTION]
        if not names:
            raise BadValue(
                f"{self.root} has no numbers to observe; its features: {', '.join(self.features)}"
            )

        def term(name: str) -> Term:
            size = sizes[name]
            return Term(name.removeprefix("observation."), size, "", "", (1.0,) * size)

        terms = tuple(term(name) for name in names)
        return Spec(terms, (term(layout.ACTION),), 1 / self.fps), names

    def __iter__(self) -> Iterator[Rows]:
        try:
            yield from self._episodes()
        finally:
            for reader in self._open.values():
                reader.close()
            self._open.clear()

    def _episodes(self) -> Iterator[Rows]:
        with sound(self.root, "its parquet files"):
            places = self._places()
            data: tuple[Path, Iterator[tuple[int, pa.Table]]] | None = None
            for place in places:
                names = {n: int(place[f"data/{n}"]) for n in ("chunk_index", "file_index")}
                path = self.root / self._data.format(**names)
                if data is None or data[0] != path:
                    data = path, self._tables(path)
                number, table = next(data[1], (None, None))
                if table is None or number != place["episode_index"]:
                    raise RobostackError(
                        f"{path}: got episode {number} where meta/episodes expects "
                        f"{place['episode_index']}"
                    )
                if len(table) != place["length"]:
                    raise RobostackError(
                        f"{path}: episode {number} has {len(table)} rows, "
                        f"meta/episodes says {place['length']}"
                    )
                yield self._rows(place, table, path)

    def _places(self) -> list[dict[str, Any]]:
        """Rows of meta/episodes, without statistics."""
        paths = sorted((self.root / "meta/episodes").glob("*/*.parquet"))
        if not paths:
            raise RobostackError(f"{self.root} has no meta/episodes/chunk-000/file-000.parquet")
        found = []
        for path in paths:
            file = layout.open_table(path)
            names = [n for n in file.schema_arrow.names if not n.startswith("stats/")]
            found += file.read(names).to_pylist()
        return sorted(found, key=lambda place: place["episode_index"])

    def _tables(self, path: Path) -> Iterator[tuple[int, pa.Table]]:
        """Each episode of a data file, with its number."""
        file = layout.open_table(path)
        wanted = [name for name in self.features if name not in self.films]
        if missing := [name for name in wanted if name not in file.schema_arrow.names]:
            raise RobostackError(
                f"{path} lacks the columns {', '.join(missing)}, which {layout.INFO} promises; "
                f"it has: {', '.join(file.schema_arrow.names)}"
            )
        waiting: list[pa.RecordBatch] = []
        number: int | None = None
        for batch in file.iter_batches(BATCH, columns=wanted):
            indexes = batch.column("episode_index").to_numpy(zero_copy_only=False)
            edges = [0, *(np.flatnonzero(np.diff(indexes)) + 1), len(indexes)]
            for start, stop in pairwise(edges):
                if start == stop:
                    continue
                if number is not None and indexes[start] != number:
                    yield number, pa.Table.from_batches(waiting)
                    waiting = []
                number = int(indexes[start])
                waiting.append(batch.slice(start, stop - start))
        if number is not None:
            yield number, pa.Table.from_batches(waiting)

    def _rows(self, place: dict[str, Any], table: pa.Table, path: Path) -> Rows:
        columns = {}
        for name, feature in self.features.items():
            if name in self.images or name in self.films or feature["dtype"] == "string":
                continue
            if feature["dtype"] == "language":
                continue
            columns[name] = _numbers(table.column(name), feature, f"{path}: {name}")
        pictures = {}
        for name in self.images:
            try:
                film = [picture_of(item["bytes"]) for item in table.column(name).to_pylist()]
                pictures[_camera(name)] = np.stack(film)
            except (ValueError, TypeError, KeyError) as error:
                raise RobostackError(
                    f"{path}: {name} of episode {place['episode_index']}: {error}"
                ) from None
        for name in self.films:
            pictures[_camera(name)] = self._film_of(place, name)
        task = self._tasks.get(int(columns["task_index"][0]), "")
        return Rows(int(place["episode_index"]), columns, pictures, task)

    def _film_of(self, place: dict[str, Any], name: str) -> np.ndarray:
        where = {n: int(place[f"videos/{name}/{n}"]) for n in ("chunk_index", "file_index")}
        path = self.root / str(self._film).format(video_key=name, **where)
        if name not in self._open or self._open[name].path != path:
            if name in self._open:
                self._open[name].close()
            self._open[name] = FilmReader(path)
        start, count = float(place[f"videos/{name}/from_timestamp"]), int(place["length"])
        return np.stack(list(self._open[name].take(start, count, self.fps)))


def _camera(name: str) -> str:
    """ "wrist" for observation.images.wrist; others by their whole name, less "observation."."""
    return name.removeprefix(layout.CAMERA).removeprefix("observation.")


def _numbers(column: pa.ChunkedArray, feature: layout.Feature, where: str) -> np.ndarray:
    """(T,), or (T, n) where the feature has several or is observed or done."""
    values = column.combine_chunks()
    if column.null_count:
        raise RobostackError(f"{where} has {column.null_count} rows without a value")
    size = int(np.prod(feature["shape"]))
    if pa.types.is_nested(values.type):
        values = values.flatten()
        while pa.types.is_nested(values.type):
            values = values.flatten()
    found = values.to_numpy(zero_copy_only=False)
    if len(found) != size * len(column):
        raise RobostackError(
            f"{where} has {len(found)} numbers in {len(column)} rows, expected {size} in each"
        )
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise RobostackError(f"{where} holds a value that is not finite")
    is_row = size > 1 or where.endswith((f" {layout.ACTION}",)) or ": observation." in where
    return found.reshape(len(column), size) if is_row else found


def _tasks(table: pa.Table) -> dict[int, str]:
    """Task by index. The task is the index of a pandas table, whatever that calls it."""
    [name, *_] = [name for name in table.column_names if name != "task_index"]
    indexes, tasks = table.column("task_index").to_pylist(), table.column(name).to_pylist()
    return {int(index): str(task) for index, task in zip(indexes, tasks, strict=True)}


@contextmanager
def sound(root: Path, what: str) -> Iterator[None]:
    """Turns what does not fit together in a dataset into a RobostackError."""
    try:
        yield
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError, IndexError) as error:
        said = f"no {error}" if isinstance(error, KeyError) else _line(error)
        raise RobostackError(f"{root} is no sound LeRobotDataset, see {what}: {said}") from None


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
