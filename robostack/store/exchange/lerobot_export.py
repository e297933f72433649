"""Episodes out, as a LeRobotDataset v3.0. One episode at a time in memory; the folder appears whole or not at all."""

import json
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from robostack.core import spec as specs
from robostack.core.errors import BadValue, RobostackError
from robostack.core.spec import Spec
from robostack.core.types import Episode, Who
from robostack.store.disk import explained
from robostack.store.episode import Recording, recover
from robostack.store.exchange import lerobot_layout as layout
from robostack.store.exchange import lerobot_stats as stats
from robostack.store.exchange.beside import BesideWriter
from robostack.store.exchange.folder import whole_folder
from robostack.store.exchange.pictures import FilmWriter, png


@dataclass
class Written:
    """What an export wrote."""

    episodes: int = 0
    frames: int = 0
    notes: list[str] = field(default_factory=list)


def export(
    paths: Iterable[Path],
    out: Path,
    is_film: bool = True,
    on_progress: Callable[[Path], None] = lambda path: None,
) -> Written:
    """Writes episode files as a dataset; pictures as films, or as PNG, which loses nothing.

    Raises RobostackError: no episode, a damaged one, or several specs or cameras among them.
    """
    written = Written()
    with whole_folder(out) as draft, explained("write", out), ExitStack() as files:
        dataset: _Dataset | None = None
        for path in paths:
            recording = recover(path)
            if not recording.episode.steps:
                written.notes.append(f"{path.name} has no step and is left out")
                continue
            if dataset is None:
                dataset = _Dataset(draft, path, recording, is_film)
                files.callback(dataset.close_files)
            dataset.add(path, recording)
            written.episodes += 1
            written.frames += len(recording.episode.steps)
            on_progress(path)
        if dataset is None:
            raise RobostackError("there is no episode with a step in it; nothing is written")
        files.close()
        dataset.finish()
    return written


class _Dataset:
    """Owns the growing dataset."""

    def __init__(self, root: Path, first: Path, recording: Recording, is_film: bool):
        self._root, self._first, self._is_film = root, first, is_film
        self._spec, self._cameras = recording.spec, recording.episode.header.cameras
        self._fps = _fps(recording.spec, first)
        self._features = layout.features(self._spec, self._cameras, is_film)
        self._schema = layout.schema(self._features)
        self._data = _Files(root, layout.DATA)
        self._rows: pq.ParquetWriter | None = None
        self._films = {camera: _Film(root, camera) for camera in self._cameras if is_film}
        self._beside = BesideWriter(root, self._spec, not is_film)
        self._tasks: dict[str, int] = {}
        self._robots: set[str] = set()
        self._stats: dict[str, stats.Stats] = {}
        self._episodes: pq.ParquetWriter | None = None
        self._count, self._frames = 0, 0

    def add(self, path: Path, recording: Recording) -> None:
        episode = recording.episode
        specs.require_equal(recording.spec, self._spec, f"the terms of {path} and {self._first}")
        if episode.header.cameras != self._cameras:
            raise BadValue(
                f"{path} has cameras {episode.header.cameras or 'none'}, {self._first} has "
                f"{self._cameras or 'none'}; a dataset has the same ones throughout"
            )
        task = self._tasks.setdefault(episode.header.task, len(self._tasks))
        self._robots.add(episode.header.robot)
        columns = self._columns(episode, task)
        row: dict[str, Any] = {
            "episode_index": self._count,
            "tasks": [episode.header.task],
            "length": len(episode.steps),
            **self._add_rows(columns),
            "dataset_from_index": self._frames,
            "dataset_to_index": self._frames + len(episode.steps),
        }
        for camera, film in self._films.items():
            row |= film.add(episode.pictures[camera][:-1], self._fps)
        found = {name: stats.of_rows(np.asarray(x)) for name, x in columns.items() if _is_plain(x)}
        for camera, film in episode.pictures.items():
            found[layout.CAMERA + camera] = stats.of_film(film[:-1])
        for name, lot in found.items():
            row |= {f"stats/{name}/{kind}": x.tolist() for kind, x in lot.items()}
            self._stats[name] = (
                stats.together(self._stats[name], lot) if name in self._stats else lot
            )
        row |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        self._add_episode(row)
        self._beside.add(self._count, recording)
        self._count += 1
        self._frames += len(episode.steps)

    def finish(self) -> None:
        """Writes what is known only now; the files must be closed."""
        pq.write_table(layout.tasks_table(list(self._tasks)), self._root / layout.TASKS)
        for camera, (height, width) in self._cameras.items():
            if self._is_film:
                facts = layout.film_facts(height, width, self._fps)
                self._features[layout.CAMERA + camera]["info"] = facts
        info = {
            "codebase_version": layout.VERSION,
            "robot_type": ", ".join(sorted(self._robots)),
            "total_episodes": self._count,
            "total_frames": self._frames,
            "total_tasks": len(self._tasks),
            "chunks_size": layout.FILES_PER_CHUNK,
            "data_files_size_in_mb": layout.DATA_MB,
            "video_files_size_in_mb": layout.FILM_MB,
            "fps": self._fps,
            "splits": {"train": f"0:{self._count}"},
            "data_path": layout.DATA,
            "video_path": layout.FILM if self._films else None,
            "features": self._features,
        }
        (self._root / layout.INFO).write_text(json.dumps(info, indent=4))
        told = {
            name: {kind: x.tolist() for kind, x in lot.items()} for name, lot in self._stats.items()
        }
        (self._root / layout.STATS).write_text(json.dumps(told, indent=4))

    def close_files(self) -> None:
        for film in self._films.values():
            film.close()
        for writer in (self._rows, self._episodes, self._beside):
            if writer is not None:
                writer.close()

    def _columns(self, episode: Episode, task: int) -> dict[str, Any]:
        """What stands in data/, by column: arrays, or a list of PNG files."""
        steps, number = episode.steps, np.arange(len(episode.steps))
        terminated = np.array([step.terminated for step in steps])
        truncated = np.array([step.truncated for step in steps])
        reward = _float32([step.reward for step in steps])
        found: dict[str, Any] = {
            layout.STATE: episode.observations[:-1],
            layout.ACTION: _float32([step.action for step in steps]),
            layout.REWARD: reward,
            layout.DONE: terminated | truncated,
            layout.TRUNCATED: truncated,
            layout.SUCCESS: terminated & (reward > 0),
            layout.PERSON: np.array([step.who == Who.PERSON for step in steps]),
            "timestamp": (number / self._fps).astype(np.float32),
            "frame_index": number,
            "episode_index": np.full(len(steps), self._count),
            "index": self._frames + number,
            "task_index": np.full(len(steps), task),
        }
        if not self._is_film:
            for camera, film in episode.pictures.items():
                name = f"episode-{self._count:06d}-frame-{{:06d}}.png"
                found[layout.CAMERA + camera] = [
                    {"bytes": png(picture), "path": name.format(i)}
                    for i, picture in enumerate(film[:-1])
                ]
        return found

    def _add_rows(self, columns: dict[str, Any]) -> dict[str, int]:
        """Writes an episode's rows as one row group, and says in which file."""
        if self._rows is not None and self._data.path().stat().st_size >= layout.DATA_MB * 2**20:
            self._rows.close()
            self._rows = None
            self._data.advance()
        if self._rows is None:
            self._rows = layout.table_writer(self._data.path(), self._schema)
        self._rows.write_table(_table(columns, self._schema))
        return {"data/chunk_index": self._data.chunk, "data/file_index": self._data.file}

    def _add_episode(self, row: dict[str, Any]) -> None:
        table = pa.Table.from_pylist([row])
        if self._episodes is None:
            path = self._root / layout.EPISODES.format(chunk_index=0, file_index=0)
            path.parent.mkdir(parents=True)
            self._episodes = layout.table_writer(path, table.schema)
        self._episodes.write_table(table.cast(self._episodes.schema))


class _Files:
    """Owns the count of the files of one kind."""

    def __init__(self, root: Path, template: str, **names: str):
        self._root, self._template, self._names = root, template, names
        self.chunk, self.file = 0, 0

    def path(self) -> Path:
        name = self._template.format(chunk_index=self.chunk, file_index=self.file, **self._names)
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def advance(self) -> None:
        self.chunk, self.file = layout.next_file(self.chunk, self.file)


class _Film:
    """Owns one camera's films: episodes one after another, until a file is large or long."""

    def __init__(self, root: Path, camera: str):
        self._key = layout.CAMERA + camera
        self._files = _Files(root, layout.FILM, video_key=self._key)
        self._writer: FilmWriter | None = None

    def add(self, film: np.ndarray, fps: int) -> dict[str, Any]:
        """Writes an episode's pictures, and says where."""
        writer = self._writer
        if writer is not None and (
            writer.frames + len(film) > layout.FILM_S * fps or writer.size >= layout.FILM_MB * 2**20
        ):
            writer.close()
            writer = None
            self._files.advance()
        if writer is None:
            writer = self._writer = FilmWriter(self._files.path(), fps, *film.shape[1:3])
        start = writer.frames
        writer.add(film)
        return {
            f"videos/{self._key}/chunk_index": self._files.chunk,
            f"videos/{self._key}/file_index": self._files.file,
            f"videos/{self._key}/from_timestamp": start / fps,
            f"videos/{self._key}/to_timestamp": writer.frames / fps,
        }

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _table(columns: dict[str, Any], schema: pa.Schema) -> pa.Table:
    arrays = []
    for name in schema.names:
        kind, values = schema.field(name).type, columns[name]
        if isinstance(values, np.ndarray):
            values = values.reshape(len(values)) if values.size == len(values) else list(values)
        arrays.append(pa.array(values, kind))
    return pa.Table.from_arrays(arrays, schema=schema)


def _float32(values: list) -> np.ndarray:
    """As LeRobot's columns hold them; the exact ones lie beside."""
    most = np.finfo(np.float32).max
    return np.clip(np.array(values, float), -most, most).astype(np.float32)


def _is_plain(values: Any) -> bool:
    return isinstance(values, np.ndarray)


def _fps(spec: Spec, path: Path) -> int:
    fps = round(1 / spec.period)
    if fps < 1 or abs(fps * spec.period - 1) > 1e-6:
        raise BadValue(
            f"{path} has a period of {spec.period:g} s, {1 / spec.period:.3f} frames/s; "
            "LeRobot counts whole frames per second"
        )
    return fps
