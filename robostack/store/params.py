"""Versioned parameters: one safetensors file each, whole or not there, with the spec they fit and a hash."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robostack.core import spec as specs
from robostack.core.errors import RobostackError
from robostack.core.spec import Spec
from robostack.store import tensors
from robostack.store.disk import explained, write_whole
from robostack.store.run import read_json, write_json

FORMAT = "1"
_NAME = re.compile(r"(\d{6,})\.safetensors")


@dataclass(frozen=True)
class Parameters:
    """Weights by name and what they are for. Versions count publications from 0."""

    version: int
    arrays: dict[str, np.ndarray]
    spec: Spec
    meta: dict[str, Any] = field(default_factory=dict)  # updates, steps, score, …
    sha256: str = ""


def path_of(folder: Path, version: int) -> Path:
    """Where `version` lies, whether it is there or not."""
    return folder / f"{version:06d}.safetensors"


def save(
    folder: Path,
    version: int,
    arrays: Mapping[str, np.ndarray],
    spec: Spec,
    meta: Mapping[str, Any] | None = None,
) -> Path:
    """Writes one version at a stroke and returns its path. Raises Unavailable."""
    with explained("make", folder):
        folder.mkdir(parents=True, exist_ok=True)
    labels = {
        "format": FORMAT,
        "version": str(version),
        "spec": json.dumps(spec.as_dict()),
        "meta": json.dumps(dict(meta or {})),
    }
    path = path_of(folder, version)
    write_whole(path, tensors.pack(arrays, labels))
    return path


def load(path: Path, expected_spec: Spec | None = None) -> Parameters:
    """One version. Raises RobostackError if it is damaged, SpecMismatch if it fits another task."""
    try:
        labels, data = tensors.unpack(path)
        if labels["format"] != FORMAT:
            raise RobostackError(
                f"{path} has parameter format {labels['format']}, this robostack reads {FORMAT}"
            )
        found = Parameters(
            version=int(labels["version"]),
            arrays=tensors.arrays(data),
            spec=Spec.from_dict(json.loads(labels["spec"])),
            meta=json.loads(labels["meta"]),
            sha256=labels["sha256"],
        )
    except tensors.UNREADABLE as error:
        raise RobostackError(f"{path} is damaged or no parameter file: {error}") from None
    if expected_spec is not None:
        specs.require_equal(found.spec, expected_spec, f"the parameters in {path}")
    return found


def versions(folder: Path) -> list[int]:
    """Versions that are there, oldest first."""
    if not folder.is_dir():
        return []
    names = (_NAME.fullmatch(path.name) for path in folder.iterdir())
    return sorted(int(name[1]) for name in names if name)


def latest_version(folder: Path) -> int:
    """The newest version, -1 while there is none."""
    return max(versions(folder), default=-1)


def pin(folder: Path, name: str, version: int) -> None:
    """Gives a version a name ("best"), under which it is served and never pruned."""
    if not path_of(folder, version).is_file():
        raise RobostackError(f'cannot pin version {version} as "{name}": it is not in {folder}')
    write_json(folder / f"{name}.json", {"version": version})


def pinned_version(folder: Path, name: str = "best") -> int:
    """The version with this name, -1 while none has it."""
    return int(read_json(folder / f"{name}.json", {"version": -1})["version"])


def prune(folder: Path, keep: int, pinned: Collection[int] = ()) -> None:
    """Removes all but the newest `keep` versions, the pinned ones, and those with a name."""
    named = {pinned_version(folder, path.stem) for path in folder.glob("*.json")}
    old = versions(folder)[: -keep or None]
    for version in sorted(set(old) - named - set(pinned)):
        with explained("remove", path_of(folder, version)):
            path_of(folder, version).unlink(missing_ok=True)
