"""A disk that is full: one clear line, everything that was written stays whole, and with room again it goes on."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from robostack import cli
from robostack.store import params, state
from robostack.store.episode import episode_paths, outcome
from robostack.store.run import Run, read_json
from robostack.study.ledger import lines
from tests.faults.played import begun
from tests.faults.supervised import Train, require_nothing_lost, training

FULL = "no space left on device; make room there, or choose a folder on another disk"
ENOUGH = 300_000  # kB; a run asks for 200 MB before it starts


class Disk:
    """A disk of its own, in memory, whose size can be set while it is in use."""

    def __init__(self, path: Path):
        self.path = path
        path.mkdir(exist_ok=True)
        self._mount("size=300m")

    def _mount(self, options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(self.path)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")

    def leave(self, kilobytes: int) -> None:
        """So many are free from now on."""
        for _ in range(20):  # others write meanwhile
            stat = os.statvfs(self.path)
            used = (stat.f_blocks - stat.f_bfree) * stat.f_frsize // 1024
            command = ["mount", "-o", f"remount,size={used + kilobytes}k", str(self.path)]
            if subprocess.run(command, capture_output=True).returncode == 0:
                return
        raise AssertionError("the disk cannot be made smaller")

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self.path)], check=True)


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Disk]:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk; `unshare -rm make test` makes you root")
    disk = Disk(tmp_path / "disk")
    yield disk
    disk.close()


def require_whole_files(run: Run) -> None:
    """No half file under a name that counts, and no draft of one."""
    require_nothing_lost(run)
    for version in params.versions(run.params):
        params.load(params.path_of(run.params, version))
    for step in state.steps(run.path / "state"):
        state.load(state.path_of(run.path / "state", step))
    assert not [path for path in run.path.rglob(".*") if re.search(r"\.\d+$", path.name)]


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "is_lockstep",
    [
        pytest.param(True, id="lockstep", marks=pytest.mark.soak),
        pytest.param(False, id="real time"),
    ],
)
def test_a_run_on_a_full_disk_ends_in_one_line_and_goes_on_when_there_is_room(
    small_disk, is_lockstep
):
    settings = ("plant=twin", "steps=60", f"lockstep={is_lockstep}")
    with training(Train.new(runs := small_disk.path / "runs", *settings)) as train:
        run = train.wait_for_episodes(runs, 4)
        small_disk.leave(8)
        assert train.end() == 2, train.out
    last = train.out.strip().splitlines()[-1]
    assert FULL in last and f"go on with `robostack train --resume {run.path}`" in last
    require_whole_files(run)
    before = {path.name: path.read_bytes() for path in episode_paths(run.episodes)[:-1]}
    small_disk.leave(ENOUGH)
    with training(Train.resumed(train.out)) as train:
        assert train.end() == 0, train.out
    assert read_json(run.path / "actor.json")["phase"] == "done"
    assert [line.index for line in lines(run.episodes)] == sorted(
        int(path.name[:6]) for path in episode_paths(run.episodes) if outcome(path)
    )
    assert all((run.episodes / name).read_bytes() == data for name, data in before.items())


@pytest.mark.parametrize("place", ["params", "state"])
def test_a_learner_without_room_ends_in_one_line_and_goes_on_where_it_was(tmp_path, place, capsys):
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk; `unshare -rm make test` makes you root")
    run = begun(tmp_path, "warmup=1", "lockstep=false", "checkpoint_every=0.0")
    recorded = {path.name: path.read_bytes() for path in episode_paths(run.episodes)}
    disk = Disk(run.path / place)
    try:
        disk.leave(4)
        assert cli.main(["learn", str(run.path)]) == 2
        said = capsys.readouterr().err.strip()
        assert said.startswith("robostack learn: cannot write") and FULL in said
        assert "\n" not in said and f"/{place}/" in said
        require_whole_files(run)
        disk.leave(ENOUGH)
        trained(run)
        require_whole_files(run)
        assert read_json(run.path / "learner.json")["episodes"] == 6
        assert params.latest_version(run.params) >= 1
    finally:
        disk.close()
    assert recorded == {path.name: path.read_bytes() for path in episode_paths(run.episodes)}


def trained(run: Run) -> None:
    """All that is there, in this process."""
    from robostack import config as configs
    from robostack.learner import Training

    training = Training(run, configs.from_dict(run.config))
    while training.poll():
        pass
    training.close()


def test_files_of_the_learner_are_whole_or_not_there_on_a_disk_that_fills_up(small_disk, tmp_path):
    """Version after version until there is no room: what has a name is whole."""
    from robostack.core.errors import Unavailable
    from tests.faults.oracle import SPEC
    from tests.faults.programs import weights

    small_disk.leave(500)
    folder = small_disk.path / "params"
    with pytest.raises(Unavailable, match="no space left on device; make room there"):
        for version in range(100):
            params.save(folder, version, weights(version), SPEC)
    versions = params.versions(folder)
    assert 5 < len(versions) < 20
    for version in versions:
        found = params.load(params.path_of(folder, version)).arrays["w"]
        assert found.tobytes() == weights(version)["w"].tobytes()
    assert len(list(folder.iterdir())) == len(versions)
