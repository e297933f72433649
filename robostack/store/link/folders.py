"""The learner's run folders, as far as couriers see them: made from the first Hello, parameters read from them."""

import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from robostack.core.errors import RobostackError
from robostack.store import params
from robostack.store.disk import explained
from robostack.store.link import message as m
from robostack.store.link.receiver import require_room
from robostack.store.run import Run, versions, write_json

CONFIG = "config.json"
REMEMBERED = 1000  # digests of versions


class RunFolders:
    """Owns the folders of runs below `root`. Its methods may be called from any thread."""

    def __init__(self, root: Path):
        self.root = root
        self._making = threading.Lock()
        self._digests: dict[tuple[Path, int, int], str] = {}

    def open(self, hello: m.Hello) -> Run:
        """The run's folder; made from the first Hello, compared with every later one. Raises RobostackError."""
        path, config = self.root / hello.run, _config(hello.config)
        with self._making:
            if not (path / CONFIG).exists():
                require_room(self.root)
                with explained("make folders in", path):
                    (path / "episodes").mkdir(parents=True, exist_ok=True)
                    (path / "params").mkdir(exist_ok=True)
                write_json(path / "versions.json", versions())
                write_json(path / "run.json", {"id": hello.id})
                write_json(path / CONFIG, config)  # last: with it the folder is a run
            run = Run.open(path)
            if not (path / "run.json").exists():
                write_json(path / "run.json", {"id": hello.id})
            if run.id != hello.id:
                raise RobostackError(
                    f"{hello.run} is another run here (id {run.id}, got {hello.id}); "
                    "rename one of the two folders"
                )
            if difference := _difference(run.config, config):
                raise RobostackError(
                    f"{hello.run} was set up differently here: {difference}; "
                    "start another run, or copy config.json"
                )
            return run

    def news(self, run: Run, every: bool, told: dict[int, str]) -> list[m.News]:
        """Versions not told yet: all in their order in lockstep, else the newest."""
        folder, found = run.params, []
        there = params.versions(folder)
        for gone in told.keys() - set(there):
            del told[gone]
        for version in there if every else there[-1:]:
            path = params.path_of(folder, version)
            try:
                stat = path.stat()
                key = (path, stat.st_size, stat.st_mtime_ns)
                if len(self._digests) > REMEMBERED:
                    self._digests.clear()
                if key not in self._digests:
                    self._digests[key] = hashlib.sha256(path.read_bytes()).hexdigest()
            except OSError:
                continue  # pruned meanwhile
            if told.get(version) != self._digests[key]:
                told[version] = self._digests[key]
                found.append(m.News(version, stat.st_size, told[version]))
        return found

    def part(self, wanted: m.Fetch) -> bytes:
        """Bytes of a version. Raises OSError where it is not there any more."""
        path = params.path_of(self.root / wanted.run / "params", wanted.version)
        with open(path, "rb") as file:
            file.seek(wanted.offset)
            return file.read(min(wanted.length, m.LARGEST))


def _config(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise m.BadMessage("config is no JSON object")
    return found


def _difference(here: dict[str, Any], there: dict[str, Any]) -> str:
    """The fields that differ: "steps is 20000 here and 10000 at the actor"; "" for none."""
    ours, theirs = dict(_flat(here)), dict(_flat(there))
    names = sorted(name for name in ours | theirs if ours.get(name) != theirs.get(name))
    said = [f"{n} is {ours.get(n)!r} here and {theirs.get(n)!r} at the actor" for n in names[:5]]
    return "; ".join(said) + (f"; and {len(names) - 5} more" if len(names) > 5 else "")


def _flat(values: dict[str, Any], start: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{start}{name}.")
        else:
            yield f"{start}{name}", value
