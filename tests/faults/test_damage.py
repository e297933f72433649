"""Damaged and foreign files, and things that are no files, among the episodes of a run: told, and nothing else lost."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mcap.writer import MCAP0_MAGIC

from robostack import cli
from robostack import config as configs
from robostack.core import clock
from robostack.core.errors import RobostackError
from robostack.learner import Training
from robostack.past import Past
from robostack.store import reading, wire
from robostack.store.episode import EpisodeWriter, episode_paths, recover
from robostack.store.follow import EpisodeFollower
from robostack.store.run import read_json
from tests.faults import oracle
from tests.faults.kill_matrix import environment
from tests.faults.oracle import KIND, SPEC, Oracle
from tests.faults.played import begun, play

TRUTH = Oracle(size=8)
HURT = 2  # index of the episode that is damaged
COUNT = 5


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(b'"step":1,') + 7] ^= 1
    path.write_bytes(data)


def replace_by(make) -> object:
    def damage(path: Path) -> None:
        path.unlink()
        make(path)

    return damage


def claim_to_be_huge(path: Path) -> None:
    """A record of a terabyte, behind step 1, in a file that ends as it should."""
    data = path.read_bytes()
    prefix = reading.Prefix()
    prefix.feed(data[: data.index(b'"step":1,')])
    place = prefix.size
    path.write_bytes(data[:place] + b"\x05" + (1 << 40).to_bytes(8, "little") + data[place:])


MAGIC = MCAP0_MAGIC
# What happens to a finished file, and the steps of it that are still good: None where they are all there are.
DAMAGE = {
    "a flipped bit": (flip_a_bit, 1),
    "an oversized record": (claim_to_be_huge, 1),
    "zero length": (lambda path: path.write_bytes(b""), 0),
    "garbage": (lambda path: path.write_bytes(MAGIC + b"nonsense" * 50 + MAGIC), 0),
    "only its two ends": (lambda path: path.write_bytes(MAGIC * 3), 0),
    "a film of that name": (lambda path: path.write_bytes(b"\0\0\0 ftypisom" + MAGIC), 0),
    "a folder of that name": (replace_by(lambda path: path.mkdir()), 0),
    "a link to nowhere": (replace_by(lambda path: path.symlink_to("nowhere")), 0),
    "a link to itself": (replace_by(lambda path: path.symlink_to(path.name)), 0),
    "a truncated file": (lambda path: os.truncate(path, path.stat().st_size - 20), None),
}
QUIET = ("zero length", "a truncated file")  # as a kill leaves them: no damage


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Episodes of the oracle."""
    folder = tmp_path_factory.mktemp("whole")
    loop = TRUTH.loop(EpisodeWriter(folder, SPEC), oracle.Plant(TRUTH))
    for index in range(COUNT):
        loop.run(oracle.Policy(), KIND, index, index)
    return folder


@pytest.mark.parametrize("name", DAMAGE)
def test_a_follower_with_a_voice_passes_over_what_is_damaged_and_gives_all_that_is_whole(
    whole, tmp_path, name
):
    folder, said = Path(shutil.copytree(whole, tmp_path / "episodes")), list[str]()
    damage, kept = DAMAGE[name]
    damage(path := folder / f"{HURT:06d}-{KIND}.mcap")
    follower = EpisodeFollower(folder, SPEC, with_cut=True, say=said.append)
    found = follower.poll()
    assert follower.poll() == []
    steps = {episode.header.index: len(episode.steps) for episode in found}
    for episode in found:
        is_complete = episode.header.index != HURT or kept is None
        assert TRUTH.wrong_in(episode, episode.header.index, is_complete) == []
    expected = {i: TRUTH.length(i)[0] for i in range(COUNT)}
    expected[HURT] = expected[HURT] if kept is None else kept
    assert steps == {index: count for index, count in expected.items() if count}
    if name in QUIET:
        assert said == []
    else:
        assert len(said) == 1 and str(path) in said[0] and "\n" not in said[0]


@pytest.mark.parametrize("name", [name for name in DAMAGE if name not in QUIET])
def test_a_follower_without_a_voice_raises_once_and_goes_on(whole, tmp_path, name):
    folder = Path(shutil.copytree(whole, tmp_path / "episodes"))
    DAMAGE[name][0](path := folder / f"{HURT:06d}-{KIND}.mcap")
    follower = EpisodeFollower(folder, SPEC)
    assert [episode.header.index for episode in follower.poll()] == [0, 1]
    with pytest.raises(RobostackError) as caught:
        follower.poll()
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert [episode.header.index for episode in follower.poll()] == [3, 4]
    assert follower.poll() == []


@pytest.mark.parametrize("name", DAMAGE)
def test_verify_names_what_is_damaged(whole, tmp_path, name, capsys):
    folder = Path(shutil.copytree(whole, tmp_path / "episodes"))
    DAMAGE[name][0](path := folder / f"{HURT:06d}-{KIND}.mcap")
    status = cli.main(["episodes", "verify", str(folder)])
    said = capsys.readouterr()
    if status == 2:  # nothing that can be read at all
        assert (
            not path.is_file() and said.err.count("\n") == 1 and f"cannot read {path}" in said.err
        )
        return
    [line] = [line for line in said.out.splitlines() if line.startswith(str(path))]
    assert ("  cut: " if name in QUIET else "  damaged at byte ") in line
    assert status == (0 if name in QUIET else 1)
    assert f"{COUNT} files: {COUNT - 1} ok, 1 " in said.out


def test_names_that_almost_fit_are_nobodys_business(whole, tmp_path):
    folder = Path(shutil.copytree(whole, tmp_path / "episodes"))
    names = "000007-.mcap 00008-practice.mcap 000009-practice.mcap~ .000010-practice.mcap a.mcap"
    for name in (*names.split(), "000011-practice.MCAP", "-000012-practice.mcap"):
        (folder / name).write_bytes(b"not ours")
    (folder / "000013-practice.mcap.part").mkdir()
    said: list[str] = []
    found = EpisodeFollower(folder, SPEC, with_cut=True, say=said.append).poll()
    assert [episode.header.index for episode in found] == list(range(COUNT)) and not said


def test_a_file_put_aside_while_it_is_read_is_no_trouble(whole, tmp_path, monkeypatch):
    """In lockstep an actor that comes back moves a cut file away under the learner's hands."""
    folder = Path(shutil.copytree(whole, tmp_path / "episodes"))
    path, is_finished = episode_paths(folder)[-1], reading.is_finished

    def gone(asked):
        path.unlink(missing_ok=True)
        return is_finished(asked)

    monkeypatch.setattr(reading, "is_finished", gone)
    assert len(EpisodeFollower(folder, SPEC).poll()) == COUNT - 1


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv, to be another user")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_file_that_may_not_be_read_is_told_with_the_way_out(whole, tmp_path):
    shutil.copytree(whole, folder := tmp_path / "episodes")
    (hurt := folder / f"{HURT:06d}-{KIND}.mcap").chmod(0)
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.geteuid() and not path.stat().st_mode & 0o001:
            path.chmod(path.stat().st_mode | 0o001)
    folder.chmod(0o755)
    script = (
        "import sys; from robostack.store.follow import EpisodeFollower\n"
        "found = EpisodeFollower(sys.argv[1], with_cut=True, say=print).poll()\n"
        "print(len(found))"
    )
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    done = subprocess.run(
        [*nobody, sys.executable, "-c", script, str(folder)],
        capture_output=True,
        text=True,
        env=environment(),
    )
    if "robostack" in done.stderr and "Error" in done.stderr:
        pytest.skip(f"another user may not read this checkout: {done.stderr.splitlines()[-1]}")
    said, count = done.stdout.splitlines()
    assert f"cannot read {hurt}: permission denied; choose a folder" in said
    assert count == str(COUNT - 1)


@pytest.mark.timeout(100)
def test_in_real_time_the_learner_tells_of_damage_in_a_line_each_and_trains_on(tmp_path):
    run = begun(tmp_path, "lockstep=false")
    names = ["a flipped bit", "garbage", "a link to nowhere"]
    hurt = episode_paths(run.episodes)[4:7]
    for name, path in zip(names, hurt, strict=True):
        DAMAGE[name][0](path)
    command = [sys.executable, "-m", "robostack", "learn", str(run.path)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment()
    )
    try:
        wait_for(lambda: read_json(run.path / "learner.json", {}).get("episodes") == 4, process)
        process.send_signal(signal.SIGTERM)
        out = process.communicate(timeout=60)[0]
    finally:
        process.kill()
    assert process.returncode == 0, out
    told = [line for line in out.splitlines() if ".mcap" in line]
    assert [str(path) in line for path, line in zip(hurt, told, strict=True)] == [True] * 3
    assert f"learner: {hurt[0]} is damaged after step 1" in told[0]
    assert all(os.path.lexists(path) for path in hurt)  # nothing is thrown away


def wait_for(is_there, process: subprocess.Popen) -> None:
    deadline = clock.now() + 80.0
    while not is_there():
        assert process.poll() is None and clock.now() < deadline
        clock.sleep(0.05)


@pytest.fixture
def quiet_doors():
    """Doors take over signals; a test run wants its Ctrl-C back."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a flipped bit", "is damaged after step 1: its checksums do not fit"),
        ("a truncated file", "is missing or cut: a run in lockstep learns from all of them"),
        ("a link to nowhere", "cannot read"),
    ],
)
def test_in_lockstep_damage_stops_the_learner_with_the_reason(
    tmp_path, name, said, capsys, quiet_doors
):
    run = begun(tmp_path, "warmup=1")
    DAMAGE[name][0](episode_paths(run.episodes)[4])
    assert cli.main(["learn", str(run.path)]) == 2
    last = capsys.readouterr().err.strip().splitlines()
    assert len(last) == 1 and last[0].startswith("robostack learn: ") and said in last[0]


@pytest.mark.parametrize("is_lockstep", [False, True])
def test_a_newer_file_stops_the_learner_with_both_versions(
    tmp_path, is_lockstep, monkeypatch, capsys, quiet_doors
):
    """Not passed over in real time: whoever writes such files writes more of them."""
    run = begun(tmp_path, f"lockstep={is_lockstep}", "warmup=1", count=4)
    with monkeypatch.context() as patch:
        patch.setattr(wire, "FORMAT", 7)
        play(run, 4, "practice")
    assert cli.main(["learn", str(run.path)]) == 2
    said = capsys.readouterr().err.strip()
    assert "has episode format 7, this robostack reads up to 3" in said and "\n" not in said


def test_in_real_time_an_actor_goes_on_over_a_damaged_episode(tmp_path):
    run = begun(tmp_path, count=4)
    path = episode_paths(run.episodes)[3]
    steps = len(recover(path).episode.steps)
    data = path.read_bytes()
    place = data.rindex(b'"steps"')
    path.write_bytes(data[:place] + data[place:].replace(b'"', b"!", 1))
    past = Past(run.episodes, is_lockstep=False)
    assert past.take(3, "practice", 3) is None
    assert past.take_cut(3, "practice", 3)[0] in (steps, steps - 1)
    with pytest.raises(RobostackError, match="damaged"):
        Past(run.episodes, is_lockstep=True).take(3, "practice", 3)


def test_training_on_what_is_left_counts_only_whole_steps(tmp_path):
    run = begun(tmp_path, "lockstep=false", "warmup=1")
    flip_a_bit(episode_paths(run.episodes)[4])
    training = Training(run, configs.from_dict(run.config))
    while training.poll():
        pass
    training.close()
    told = read_json(run.path / "learner.json")
    whole = [len(recover(path).episode.steps) for path in episode_paths(run.episodes)]
    assert told["transitions"] == sum(whole) and whole[4] == 1
