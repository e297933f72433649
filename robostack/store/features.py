"""What a frozen trunk made of an episode's pictures, kept beside the run: a learner that goes on need not look again.

A file for each episode. It may be removed at any time; one that is damaged, or of other pictures, another trunk or
other crops, counts as not there.
"""

import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from robostack.core.errors import RobostackError
from robostack.core.types import Episode
from robostack.store import tensors
from robostack.store.disk import explained, forget_drafts, write_whole


class Features:
    """Owns a folder. `label` says what makes features from pictures: equal labels and pictures, equal features."""

    def __init__(self, folder: Path, label: str):
        self._folder, self._label = folder, label
        with explained("make", folder):
            folder.mkdir(parents=True, exist_ok=True)
        forget_drafts(folder, "*.safetensors")

    def load(self, episode: Episode) -> dict[str, np.ndarray] | None:
        """By camera, (T + 1, ...); None where they must be made."""
        path = self._path(episode)
        with suppress(RobostackError, *tensors.UNREADABLE):
            if path.exists():
                labels, data = tensors.unpack(path)
                if labels["of"] == self._of(episode):
                    return tensors.arrays(data)
        return None

    def save(self, episode: Episode, features: Mapping[str, np.ndarray]) -> None:
        """Raises Unavailable."""
        # Nothing is lost with it, so nobody waits for the disk.
        data = tensors.pack(features, {"of": self._of(episode)})
        write_whole(self._path(episode), data, is_durable=False)

    def _path(self, episode: Episode) -> Path:
        actor = f"{episode.header.actor}-" if episode.header.actor else ""
        return self._folder / f"{actor}{episode.header.index:06d}.safetensors"

    def _of(self, episode: Episode) -> str:
        sums = [
            f"{name} {zlib.crc32(p.tobytes()):08x}" for name, p in sorted(episode.pictures.items())
        ]
        return "; ".join([self._label, *sums])
