"""What a begun run has played already: taken from its folder, in order, instead of being played again."""

from pathlib import Path

from robostack.core.errors import RobostackError
from robostack.core.types import EpisodeHeader
from robostack.store.disk import explained, sync_folder
from robostack.store.episode import (
    CUT,
    Damaged,
    NothingWhole,
    Outcome,
    episode_paths,
    outcome,
    recover,
)


class Past:
    """Owns the episodes that were there when the actor started; `len` is where playing begins.

    In lockstep an episode that was cut is moved to `cut/`, to be played again; it can only be the last. In real time
    it stays: what happened once does not happen again. Raises RobostackError for a folder that has gaps.
    """

    def __init__(self, folder: Path, is_lockstep: bool):
        self._is_lockstep, self._paths = is_lockstep, episode_paths(folder)
        for index, path in enumerate(self._paths):
            if (got := int(path.name.partition("-")[0])) != index:
                raise RobostackError(
                    f"{folder} has no episode {index}, but has episode {got}; put it back: "
                    "a run goes on from all its episodes"
                )
        if is_lockstep and self._paths and outcome(self._paths[-1]) is None:
            _move_away(self._paths.pop())

    def __len__(self) -> int:
        return len(self._paths)

    def take(self, index: int, kind: str, seed: int) -> Outcome | None:
        """What became of episode `index`; None for one that was cut or damaged, in real time.

        Raises RobostackError when it is not the one that this run would play now.
        """
        path = self._paths[index]
        try:
            found = outcome(path)
        except Damaged:
            found = None
        if found is None and self._is_lockstep:
            raise RobostackError(
                f"{path} is cut or damaged, and later episodes were made with what was learned from it; "
                "put a good copy there, or move it and all later ones away"
            )
        if found is not None:
            _require_fits(path, found.header, kind, seed)
        return found

    def take_cut(self, index: int, kind: str, seed: int) -> tuple[int, int]:
        """Whole steps of an episode that was cut, and those in which the person acted. Raises as `take`."""
        path = self._paths[index]
        try:
            episode = recover(path, has_pictures=False).episode
        except (Damaged, NothingWhole):
            return 0, 0
        _require_fits(path, episode.header, kind, seed)
        return len(episode.steps), episode.person_steps


def _require_fits(path: Path, header: EpisodeHeader, kind: str, seed: int) -> None:
    if (header.kind, header.seed) != (kind, seed):
        raise RobostackError(
            f"{path} is {header.kind} with seed {header.seed}, but by config.json this run would now play "
            f"{kind} with seed {seed}; a run goes on only with the choices and the episodes it was begun with"
        )


def _move_away(path: Path) -> None:
    """To `cut/`, beside what was cut there before."""
    folder = path.parent / CUT
    with explained("move", path):
        folder.mkdir(exist_ok=True)
        times = len(list(folder.glob(f"{path.stem}*")))
        path.rename(folder / (f"{path.stem}.{times}.mcap" if times else path.name))
        sync_folder(path.parent)
    print(f"{path.name} was cut in its middle: moved to {CUT}/, and played again", flush=True)
