"""A LeRobotDataset v3.x in, as episodes: ours come back equal, others as far as their columns go.

Of a dataset that is not ours the observation terms are its observation columns, with no unit and scale 1, and who is
the person, unless complementary_info.is_intervention says otherwise. It keeps no frame after an episode's last row.
Where the task ended there (next.done without next.truncated, or next.success), that frame is of no consequence, and
the row's own stands in for it: T rows are T steps. Elsewhere the last row is only the last step's next frame: T rows
are T - 1 steps, and the last is truncated.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from robostack import __version__
from robostack.core.errors import RobostackError
from robostack.core.spec import Spec
from robostack.core.types import Episode, EpisodeHeader, Sample, Step, Who
from robostack.store.episode import EpisodeWriter
from robostack.store.exchange import lerobot_layout as layout
from robostack.store.exchange.beside import Beside, step_of
from robostack.store.exchange.folder import whole_folder
from robostack.store.exchange.hil_serl import Brought
from robostack.store.exchange.lerobot_dataset import Dataset, Rows, sound


def bring(
    source: Path,
    folder: Path,
    robot: str = "",
    task: str = "",
    on_progress: Callable[[int], None] = lambda steps: None,
) -> Brought:
    """Writes a dataset's episodes to a new folder, whole or not at all. Raises RobostackError."""
    found = Brought()
    dataset = Dataset(source)
    make = _ours(dataset) if Beside.is_in(source) else _theirs(dataset, robot, task, found)
    with whole_folder(folder) as draft:
        for episode, spec, is_complete in make:
            write(EpisodeWriter(draft, spec), episode, is_complete)
            found.episodes += 1
            found.steps += len(episode.steps)
            on_progress(found.steps)
        if not found.episodes:
            raise RobostackError(f"{source} holds no episode with a step in it")
    return found


def write(writer: EpisodeWriter, episode: Episode, is_complete: bool = True) -> None:
    """Records a whole episode."""

    def samples(number: int, stamp: float) -> dict[str, Sample]:
        return {name: Sample(stamp, film[number]) for name, film in episode.pictures.items()}

    stamps = [step.stamp for step in episode.steps]
    with closing(writer):  # one that is not ended stays cut
        writer.begin(episode.header, episode.observations[0], samples(0, stamps[0]))
        for number, step in enumerate(episode.steps, start=1):
            stamp = stamps[min(number, len(stamps) - 1)]
            writer.append(step, episode.observations[number], samples(number, stamp))
        if is_complete:
            writer.end()


Made = Iterator[tuple[Episode, Spec, bool]]


def _ours(dataset: Dataset) -> Made:
    """Equal to what was exported, but for what a film loses."""
    beside = Beside(dataset.root)
    rows = iter(dataset)
    with sound(dataset.root, "meta/robostack"):
        for header, is_complete, last, last_pictures, records in beside:
            seen = next(rows, None)
            if seen is None or len(records) != len(seen.columns[layout.STATE]):
                raise RobostackError(
                    f"{dataset.root}: episode {header.index} has {len(records)} steps in meta/robostack, "
                    f"{len(seen.columns[layout.STATE]) if seen else 0} rows in data"
                )
            observations = np.concatenate([seen.columns[layout.STATE], last[None]])
            film = {
                name: np.concatenate([seen.pictures[name], last_pictures[name][None]])
                for name in header.cameras
            }
            steps = tuple(
                step_of(record, observation)
                for record, observation in zip(records, observations, strict=False)
            )
            yield Episode(header, observations, steps, film), beside.spec, is_complete


def _theirs(dataset: Dataset, robot: str, task: str, found: Brought) -> Made:
    spec, names = dataset.spec()
    short = 0
    index = 0
    for rows in dataset:
        count = len(rows.columns[layout.ACTION])
        is_terminated = _terminated(rows)
        steps = count if is_terminated else count - 1
        short += not is_terminated
        if steps < 1:
            found.notes.append(f"episode {rows.number} has one row and no end; it is left out")
            continue
        seen = np.concatenate([rows.columns[name] for name in names], 1).astype(np.float32)
        header = EpisodeHeader(
            index=index,
            kind="demonstration",
            robot=robot or str(dataset.info.get("robot_type") or "unknown"),
            task=task or rows.task or "unknown",
            plant="lerobot",
            seed=0,
            spec=spec.digest,
            code=__version__,
            drawn={"source": dataset.root.name, "episode": rows.number},
            cameras={name: list(film.shape[1:3]) for name, film in rows.pictures.items()},
        )
        if is_terminated:
            seen = np.concatenate([seen, seen[-1:]])
            film = {n: np.concatenate([x, x[-1:]]) for n, x in rows.pictures.items()}
        else:
            film = dict(rows.pictures)
        made = tuple(_step(rows, i, seen[i], spec.period) for i in range(steps))
        last = replace(made[-1], terminated=is_terminated, truncated=not is_terminated)
        index += 1
        yield Episode(header, seen, (*made[:-1], last), film), spec, True
    if short:
        found.notes.append(
            f"{short} episodes do not end with their task; the last row of each is only the frame "
            "after its last step, which is truncated"
        )


def _terminated(rows: Rows) -> bool:
    """Whether the task ended in the last row."""
    last = {name: bool(column[-1]) for name, column in rows.columns.items() if column.ndim == 1}
    if last.get(layout.TRUNCATED):
        return False
    return last.get(layout.DONE, False) or last.get(layout.SUCCESS, False)


def _step(rows: Rows, i: int, observation: np.ndarray, period: float) -> Step:
    columns = rows.columns
    action = np.asarray(columns[layout.ACTION][i], float)
    reward = columns.get(layout.REWARD, columns.get(layout.SUCCESS))
    is_person = bool(columns[layout.PERSON][i]) if layout.PERSON in columns else True
    return Step(
        observation=observation,
        action_policy=action,
        action=action,
        who=Who.PERSON if is_person else Who.POLICY,
        reward=float(reward[i]) if reward is not None else 0.0,
        terminated=False,
        truncated=False,
        parameters=-1,
        stamp=i * period,
        age=0.0,
        lateness=0.0,
    )
