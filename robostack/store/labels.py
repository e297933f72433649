"""Which frames of recorded episodes show success: a small JSON file beside them that a person can edit.

{"format": 1, "by": "geometry",
 "episodes": {"000012-probing.mcap": {"frames": 101, "success": "31-58, 70", "unsure": "29-30"}}}

Frames are counted from 0, the one before the first step. All that is not named is no success; an episode that is not
named at all has not been looked at.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robostack.core.errors import BadValue
from robostack.store.run import read_json, write_json

FORMAT = 1
FILE = "success.labels.json"
UNSURE, NO, YES = -1, 0, 1
_PIECE = re.compile(r"(\d+)(?:-(\d+))?")


@dataclass
class Labels:
    """Of the episodes of one folder: (frames,) int8 by file name."""

    by: str = "person"
    frames: dict[str, np.ndarray] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """Frames of each kind, and episodes."""
        every = np.concatenate([np.zeros(0, np.int8), *self.frames.values()])
        kinds = {"success": YES, "no success": NO, "unsure": UNSURE}
        found = {name: int(np.count_nonzero(every == kind)) for name, kind in kinds.items()}
        return {"episodes": len(self.frames), **found}


def load(folder: Path) -> Labels | None:
    """The labels beside a folder's episodes; None where there are none. Raises BadValue, with the place."""
    path = folder / FILE
    data = read_json(path)
    if data is None:
        return None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise BadValue(f'{path} is no file of labels: expected "format": {FORMAT}')
    found = Labels(str(data.get("by", "person")))
    episodes = data.get("episodes")
    if not isinstance(episodes, dict):
        raise BadValue(f'{path}: "episodes" is {episodes!r}, expected labels by file name')
    for name, entry in episodes.items():
        found.frames[name] = _parsed(entry, f"{path}, {name}")
    return found


def save(folder: Path, labels: Labels) -> Path:
    """Writes them whole. Raises Unavailable."""
    episodes = {name: _told(frames) for name, frames in sorted(labels.frames.items())}
    write_json(folder / FILE, {"format": FORMAT, "by": labels.by, "episodes": episodes})
    return folder / FILE


def ranges(numbers: Iterable[int]) -> str:
    """ "31-58, 70" of ascending numbers."""
    pieces: list[list[int]] = []
    for number in numbers:
        if pieces and number == pieces[-1][1] + 1:
            pieces[-1][1] = number
        else:
            pieces.append([number, number])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in pieces)


def numbers(text: str, count: int, where: str) -> list[int]:
    """Of "31-58, 70", below `count`. Raises BadValue."""
    found: list[int] = []
    for piece in filter(None, (part.strip() for part in text.split(","))):
        match = _PIECE.fullmatch(piece)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < count:
            raise BadValue(
                f'{where}: "{piece}" is no range of its {count} frames, expected one like "31-58"'
            )
        found += range(first, last + 1)
    return found


def made(success: str, unsure: str, count: int, where: str) -> np.ndarray:
    """(count,) int8. Raises BadValue."""
    frames = np.full(count, NO, np.int8)
    frames[numbers(success, count, where)] = YES
    frames[numbers(unsure, count, where)] = UNSURE
    return frames


def _told(frames: np.ndarray) -> dict[str, Any]:
    kinds = {"success": YES, "unsure": UNSURE}
    told = {name: ranges(np.flatnonzero(frames == kind).tolist()) for name, kind in kinds.items()}
    return {"frames": len(frames), **told}


def _parsed(entry: Any, where: str) -> np.ndarray:
    if not isinstance(entry, Mapping) or set(entry) - {"frames", "success", "unsure"}:
        raise BadValue(f'{where}: {entry!r}, expected "frames", "success" and "unsure"')
    count, success, unsure = entry.get("frames"), entry.get("success", ""), entry.get("unsure", "")
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count < 10**7:
        raise BadValue(f"{where}: frames is {count!r}, expected how many the episode has")
    if not isinstance(success, str) or not isinstance(unsure, str):
        raise BadValue(f'{where}: expected ranges as text, like "31-58, 70"')
    return made(success, unsure, count, where)
