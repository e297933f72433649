"""meta/robostack/: what an episode holds and LeRobot has no place for, so that what went out can come back equal.

about.json        the spec with units, frames and scales; whether pictures lost nothing
episodes.parquet  one row each: header, complete or cut, the frame after the last step with its pictures
steps.parquet     one row for each row of data/: numbers in full precision, who, guard, guide, versions, ages
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from robostack.core.errors import RobostackError
from robostack.core.spec import Spec
from robostack.core.types import EpisodeHeader, Step, Who
from robostack.store.episode import Recording
from robostack.store.exchange import pictures
from robostack.store.exchange.lerobot_layout import open_table, table_writer
from robostack.store.run import read_json, write_json

FOLDER = "meta/robostack"
FORMAT = 2  # 2: a guide may act
_NUMBERS = ("reward", "stamp", "age", "lateness")
_FLAGS = ("terminated", "truncated")

_EPISODES = pa.schema(
    {
        "episode_index": pa.int64(),
        "header": pa.string(),  # JSON
        "is_complete": pa.bool_(),
        "observation": pa.list_(pa.float32()),
        "pictures": pa.list_(pa.struct({"camera": pa.string(), "png": pa.binary()})),
    }
)
_STEPS = pa.schema(
    {
        "episode_index": pa.int64(),
        "action_policy": pa.list_(pa.float64()),
        "action": pa.list_(pa.float64()),
        "who": pa.string(),
        "parameters": pa.int64(),
        "guard": pa.string(),
        "guide": pa.list_(pa.float64()),
        **{name: pa.float64() for name in _NUMBERS},
        **{name: pa.bool_() for name in _FLAGS},
    }
)


class BesideWriter:
    """Owns the three files while they grow, an episode at a time."""

    def __init__(self, root: Path, spec: Spec, is_lossless: bool):
        folder = root / FOLDER
        folder.mkdir(parents=True)
        about = {"format": FORMAT, "spec": spec.as_dict(), "is_lossless": is_lossless}
        write_json(folder / "about.json", about, is_durable=False)
        self._episodes = table_writer(folder / "episodes.parquet", _EPISODES)
        self._steps = table_writer(folder / "steps.parquet", _STEPS)

    def add(self, index: int, recording: Recording) -> None:
        """The recording as row `index` of meta/episodes; one row group in each file."""
        episode = recording.episode
        row = {
            "episode_index": index,
            "header": json.dumps(asdict(episode.header)),
            "is_complete": recording.is_complete,
            "observation": episode.observations[-1].tolist(),
            "pictures": [
                {"camera": camera, "png": pictures.png(film[-1])}
                for camera, film in episode.pictures.items()
            ],
        }
        self._episodes.write_table(pa.Table.from_pylist([row], _EPISODES))
        rows = [{"episode_index": index, **_row(step)} for step in episode.steps]
        self._steps.write_table(pa.Table.from_pylist(rows, _STEPS))

    def close(self) -> None:
        self._episodes.close()
        self._steps.close()


def _row(step: Step) -> dict[str, Any]:
    return {
        "action_policy": np.asarray(step.action_policy, float).tolist(),
        "action": np.asarray(step.action, float).tolist(),
        "who": Who(step.who).name.lower(),
        "parameters": step.parameters,
        "guard": step.guard,
        "guide": None if step.guide is None else np.asarray(step.guide, float).tolist(),
        **{name: float(getattr(step, name)) for name in _NUMBERS},
        **{name: bool(getattr(step, name)) for name in _FLAGS},
    }


class Beside:
    """The three files, read an episode at a time."""

    def __init__(self, root: Path):
        """Raises RobostackError for a newer format."""
        about = read_json(root / FOLDER / "about.json")
        if (got := about["format"]) > FORMAT:
            raise RobostackError(
                f"{root / FOLDER} has format {got}, this robostack reads {FORMAT}; "
                "read it with the robostack that wrote it, or a newer one"
            )
        self.spec = Spec.from_dict(about["spec"])
        self._episodes = open_table(root / FOLDER / "episodes.parquet")
        self._steps = open_table(root / FOLDER / "steps.parquet")

    @staticmethod
    def is_in(root: Path) -> bool:
        return (root / FOLDER / "about.json").is_file()

    def __iter__(
        self,
    ) -> Iterator[tuple[EpisodeHeader, bool, np.ndarray, dict[str, np.ndarray], list[dict]]]:
        """For each episode: header, is it complete, last observation, last pictures, rows of its steps."""
        for number in range(self._episodes.num_row_groups):
            [row] = self._episodes.read_row_group(number).to_pylist()
            last = {item["camera"]: pictures.picture_of(item["png"]) for item in row["pictures"]}
            steps = self._steps.read_row_group(number).to_pylist()
            header = EpisodeHeader(**json.loads(row["header"]))
            yield header, row["is_complete"], np.array(row["observation"], np.float32), last, steps


def step_of(row: dict[str, Any], observation: np.ndarray) -> Step:
    """The step that a row was made from."""
    rest = {name: value for name, value in row.items() if name not in ("episode_index", "who")}
    for name in ("action_policy", "action", "guide"):
        if rest.get(name) is not None:
            rest[name] = np.array(rest[name], float)
    return Step(observation=observation, who=Who[row["who"].upper()], **rest)
