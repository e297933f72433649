"""What is in an episode file and whether all of it is whole, read with every checksum."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from robostack.core.errors import RobostackError
from robostack.core.spec import Spec
from robostack.core.types import EpisodeHeader
from robostack.store import episode, reading
from robostack.store.disk import explained, write_whole

OK, CUT, DAMAGED, NEWER = "ok", "cut", "damaged", "newer"
_BLOCK = 1 << 20  # bytes read at once


@dataclass(frozen=True)
class Check:
    """What a file is good for."""

    path: Path
    state: str  # "ok", "cut" (or still running), "damaged", "newer" than this robostack
    steps: int  # whole ones
    whole: int  # bytes up to the last whole step; all of them where the state is ok
    size: int  # bytes
    why: str = ""  # of damage, in words

    @property
    def line(self) -> str:
        """For people: "cut: whole up to step 12"."""
        match self.state:
            case "ok":
                return f"ok: {self.steps} steps"
            case "cut":
                left = self.size - self.whole
                rest = f", then {left} bytes of a step that was being written" if left else ""
                return f"cut: whole up to step {self.steps}{rest}"
            case "damaged":
                return f"damaged at byte {self.whole}: {self.why}; whole up to step {self.steps}"
        return f"newer: {self.why}"


def check(path: Path) -> Check:
    """Reads all of a file, a block at a time. Raises Unavailable where it cannot be read."""
    prefix = reading.Prefix()
    size = 0
    with explained("read", path), open(path, "rb") as file:
        while block := file.read(_BLOCK):
            if not size:
                try:
                    next(reading.messages(block), None)
                except reading.NewerFormat as error:
                    return Check(path, NEWER, 0, 0, path.stat().st_size, str(error))
                except ValueError:
                    pass  # the prefix says why
            size += len(block)
            prefix.feed(block)
    steps = prefix.steps
    if prefix.error:
        return Check(path, DAMAGED, steps, prefix.size, size, prefix.error)
    if not prefix.is_finished:
        return Check(path, CUT, steps, prefix.size, size)
    try:
        outcome = episode.outcome(path)
        why = "" if outcome and outcome.steps == steps else "its end tells another story"
    except RobostackError as error:
        why = str(error).removeprefix(f"{path} is no episode file: ")
    if why:
        return Check(
            path, DAMAGED, steps, _end_of_last_step(path, size), size, f"after its last step, {why}"
        )
    return Check(path, OK, steps, size, size)


def _end_of_last_step(path: Path, size: int) -> int:
    """Where the end of a finished file begins, which is small."""
    prefix, whole = reading.Prefix(), 0
    with explained("read", path), open(path, "rb") as file:
        prefix.feed(file.read(max(0, size - _BLOCK // 16)))
        while not prefix.is_finished and (piece := file.read(16)):  # less than any record
            steps = prefix.steps
            prefix.feed(piece)
            if prefix.steps > steps or not whole:
                whole = prefix.size
    return whole


def rescue(found: Check, folder: Path) -> Path:
    """Copies the whole steps of a cut or damaged file, byte for byte, into `folder`; gives the copy's path.

    The copy is an episode that every reader takes: a cut one, unless only what followed its end was bad. Raises
    Unavailable rather than overwrite.
    """
    with explained("make", folder):
        folder.mkdir(parents=True, exist_ok=True)
    copy = folder / found.path.name
    with explained("write", copy):
        copy.touch(exist_ok=False)
        with open(found.path, "rb") as file:
            data = file.read(found.whole)
    write_whole(copy, data)
    return copy


def opening(path: Path) -> tuple[EpisodeHeader, Spec] | None:
    """What a file says of itself at its beginning; None where that is not whole. Raises RobostackError."""
    size = _BLOCK
    with explained("read", path), open(path, "rb") as file:
        data = file.read(size)
        while True:
            try:
                message = next(reading.messages(data), None)
            except ValueError as error:
                raise RobostackError(f"{path} {error}") from None
            if message is not None:
                return EpisodeHeader(**message[1]["header"]), Spec.from_dict(message[1]["spec"])
            if not (more := file.read(size)):
                return None
            data += more
            size *= 2


def episode_files(path: Path) -> list[Path]:
    """The episode files of a run folder, of an episodes folder, or the file itself. Raises RobostackError for none."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise RobostackError(
            f"{path} is not there; name a run folder, an episodes folder or a file"
        )
    found = next((list(paths) for paths in _places(path) if paths), [])
    if not found:
        raise RobostackError(
            f"{path} holds no episode (000000-practice.mcap, …), and neither does {path / 'episodes'}"
        )
    return found


def _places(path: Path) -> Iterator[list[Path]]:
    yield episode.episode_paths(path / "episodes")
    yield episode.episode_paths(path)
