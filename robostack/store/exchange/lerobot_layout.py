"""LeRobotDataset v3.0 as the lerobot package reads it: where its files lie and what their columns are.

https://github.com/huggingface/lerobot, src/lerobot/datasets. Many episodes share a file; meta/episodes says where
each one lies. A row is a frame with the action taken in it, so T steps are T rows. What LeRobot has no place for
(the frame after the last step among it) lies in meta/robostack/, which LeRobot does not look at; see beside.py.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from robostack.core.errors import RobostackError
from robostack.core.spec import Spec, Term
from robostack.store.disk import explained

VERSION = "v3.0"
INFO, STATS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
FILM = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
FILES_PER_CHUNK = 1000
DATA_MB, FILM_MB = 100, 200  # a file that has grown to this is the last for its episode
FILM_S = (
    1000  # LeRobot seeks with float32 seconds, to 0.1 ms; further on they are coarser than that
)

STATE, ACTION, CAMERA = "observation.state", "action", "observation.images."
REWARD, DONE, TRUNCATED, SUCCESS = "next.reward", "next.done", "next.truncated", "next.success"
PERSON = "complementary_info.is_intervention"
INDEXES = ("timestamp", "frame_index", "episode_index", "index", "task_index")

Feature = dict[str, Any]  # as in info.json: dtype, shape, names


def features(spec: Spec, cameras: dict[str, list[int]], is_film: bool) -> dict[str, Feature]:
    """Every column by name, in order; films are features, but no columns."""
    numbers = {
        STATE: ("float32", spec.observation_size, _names(spec.observation)),
        ACTION: ("float32", spec.action_size, _names(spec.action)),
        **dict.fromkeys((REWARD,), ("float32", 1, None)),
        **dict.fromkeys((DONE, TRUNCATED, SUCCESS, PERSON), ("bool", 1, None)),
        "timestamp": ("float32", 1, None),
        **dict.fromkeys(INDEXES[1:], ("int64", 1, None)),
    }
    found: dict[str, Feature] = {
        name: {"dtype": dtype, "shape": [size], "names": names}
        for name, (dtype, size, names) in numbers.items()
    }
    for camera, size in cameras.items():
        found[CAMERA + camera] = {
            "dtype": "video" if is_film else "image",
            "shape": [*size, 3],
            "names": ["height", "width", "channels"],
        }
    return found


def film_facts(height: int, width: int, fps: int) -> Feature:
    """What info.json says of a film beside its shape."""
    is_odd = bool(height % 2 or width % 2)
    return {
        "video.height": height,
        "video.width": width,
        "video.codec": "h264",
        "video.pix_fmt": "yuv444p" if is_odd else "yuv420p",
        "video.is_depth_map": False,
        "video.fps": fps,
        "video.channels": 3,
        "has_audio": False,
    }


def _names(terms: Iterable[Term]) -> list[str]:
    return [
        f"{term.name}.{number}" if term.size > 1 else term.name
        for term in terms
        for number in range(term.size)
    ]


def schema(columns: dict[str, Feature]) -> pa.Schema:
    """Of data/…/file-….parquet. Its metadata tells the `datasets` library which columns are pictures."""
    fields, told = [], {}
    for name, feature in columns.items():
        if feature["dtype"] == "video":
            continue
        if feature["dtype"] == "image":
            fields.append(pa.field(name, pa.struct({"bytes": pa.binary(), "path": pa.string()})))
            told[name] = {"_type": "Image"}
            continue
        value = pa.bool_() if feature["dtype"] == "bool" else getattr(pa, feature["dtype"])()
        [size] = feature["shape"]
        fields.append(pa.field(name, value if size == 1 else pa.list_(value, size)))
        told[name] = {"dtype": feature["dtype"], "_type": "Value"}
        if size > 1:
            told[name] = {"feature": told[name], "length": size, "_type": "Sequence"}
    return pa.schema(fields, {"huggingface": json.dumps({"info": {"features": told}})})


def tasks_table(tasks: list[str]) -> pa.Table:
    """meta/tasks.parquet: LeRobot reads it with pandas and expects the task as its index."""

    def column(name: str, kind: str, numpy_kind: str) -> dict[str, Any]:
        return {
            "name": name,
            "field_name": name,
            "pandas_type": kind,
            "numpy_type": numpy_kind,
            "metadata": None,
        }

    told = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [column("task_index", "int64", "int64"), column("task", "unicode", "object")],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.2.0",
    }
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": tasks})
    return table.replace_schema_metadata({"pandas": json.dumps(told)})


def table_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """A parquet file to write to, with checksums."""
    return pq.ParquetWriter(path, schema, write_page_checksum=True)


def open_table(path: Path) -> pq.ParquetFile:
    """A parquet file to read, its checksums verified where it has any. Raises RobostackError."""
    with explained("read", path):
        path.stat()
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        said = " ".join(str(error).split())
        raise RobostackError(f"{path} is damaged or no parquet file: {said}") from None


def next_file(chunk: int, file: int) -> tuple[int, int]:
    """Indices of the file after this one."""
    return (chunk, file + 1) if file + 1 < FILES_PER_CHUNK else (chunk + 1, 0)
