"""What is new in a growing folder of episodes: each one once, whatever else happens there."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from robostack.core.errors import RobostackError, Unavailable
from robostack.core.spec import Spec
from robostack.core.types import Episode
from robostack.store import reading
from robostack.store.disk import explained
from robostack.store.episode import CUT, Damaged, NothingWhole, listed, recover


class EpisodeFollower:
    """Owns the memory of which episodes of a folder, and of the folders of its actors, it has given out.

    `with_cut`: also those that were cut and are followed by another one, as far as they are whole. `say`: gets one line
    about each damaged file; it is given as far as it is whole, or passed over. Without it they raise.
    """

    def __init__(
        self,
        folder: Path | str,
        expected_spec: Spec | None = None,
        has_pictures: bool = True,
        with_cut: bool = False,
        say: Callable[[str], None] | None = None,
    ):
        self._folder, self._expected_spec = Path(folder), expected_spec
        self._has_pictures, self._with_cut, self._say = has_pictures, with_cut, say
        self._given: dict[Path, set[str]] = defaultdict(set)
        self._trouble: RobostackError | None = None

    def poll(self) -> list[Episode]:
        """Episodes not given before, by actor and index. Reads each file once; costs little when there is none.

        Running ones are passed over. A damaged file or another spec raises, once, after what is good before it.
        """
        if self._trouble is None:
            new: list[Episode] = []
            try:
                new.extend(self.each())
            except RobostackError as error:
                if not new:
                    raise
                self._trouble = error
            return new
        trouble, self._trouble = self._trouble, None
        raise trouble

    def each(self) -> Iterator[Episode]:
        """As `poll`, one by one, so that only one is in memory; raises where the damaged file comes."""
        for folder in (self._folder, *_actors(self._folder)):
            given = self._given[folder]
            waiting = listed(folder, given)
            for index, name in waiting:
                path, is_last = folder / name, index == waiting[-1][0]
                try:
                    is_cut = not _is_finished(path)
                    if is_cut and (is_last or not self._with_cut):
                        continue
                    given.add(name)
                    episode = self._read(path, is_cut)
                except (Damaged, NothingWhole, Unavailable) as error:
                    if not os.path.lexists(path):
                        given.discard(name)
                        continue  # put aside while we looked
                    given.add(name)
                    self._trouble_with(error)
                    continue
                if episode is not None:
                    yield episode

    def skip(self, names: Iterable[str]) -> None:
        """Takes these files as given: "000012-practice.mcap", or "actor/000012-practice.mcap"."""
        for name in names:
            path = self._folder / name
            self._given[path.parent].add(path.name)

    def _read(self, path: Path, is_cut: bool) -> Episode | None:
        """None for one that was cut before it held a step."""
        try:
            episode, _, is_complete = recover(path, self._expected_spec, self._has_pictures)
        except NothingWhole:
            if is_cut:
                return None
            raise
        is_damaged = not is_complete and not is_cut
        if is_damaged:
            reason = "its checksums do not fit"
            self._trouble_with(
                Damaged(f"{path} is damaged after step {len(episode.steps)}: {reason}")
            )
        return episode if episode.steps or not (is_cut or is_damaged) else None

    def _trouble_with(self, error: RobostackError) -> None:
        if self._say is None:
            raise error
        self._say(str(error))


def _actors(folder: Path) -> list[Path]:
    """Folders of named actors."""
    try:
        found = [entry.path for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    return sorted(path for path in map(Path, found) if path.name != CUT)


def _is_finished(path: Path) -> bool:
    with explained("read", path):
        return reading.is_finished(path)
