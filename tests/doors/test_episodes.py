"""`episodes`: what is on disk, in words and for programs; out, in, and mistakes in one line."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from robostack import cli
from robostack.core import catalog
from robostack.core.guard import Guard
from robostack.core.loop import Loop
from robostack.core.observe import spec_of
from robostack.core.operator import ScriptedPerson
from robostack.core.plant import GuardedPlant, MockPlant
from robostack.core.types import Sample
from robostack.store import wire
from robostack.store.episode import EpisodeWriter, episode_paths, recover

TASK = replace(catalog.task("reach"), steps=20)
KINDS = ("demonstration", "practice", "practice", "solo", "practice", "practice")


class Cell(MockPlant):
    """A mock cell with one eye."""

    def read(self):
        rng = np.random.default_rng(round(self.now * 1e3))
        return {
            **super().read(),
            "wrist": Sample(self.now, rng.integers(0, 256, (6, 8, 3), np.uint8)),
        }


class Drift:
    version = 5

    def act(self, observation, rng, pictures=None):
        del observation, rng, pictures
        return np.full(7, 0.2)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> Path:
    """A run's folder: four whole episodes, one cut, one damaged."""
    run = tmp_path_factory.mktemp("run")
    robot = catalog.robot("fr3")
    plant = GuardedPlant(Cell(TASK), Guard(robot.safety, TASK.period))
    person = ScriptedPerson(lambda: TASK.expert(TASK.options))
    writer = EpisodeWriter(run / "episodes", spec_of(TASK))
    loop = Loop(plant, TASK, robot, operator=person, recorder=writer)
    for index, kind in enumerate(KINDS):
        loop.run(Drift(), kind, index, index)
    paths = episode_paths(run / "episodes")
    paths[4].write_bytes(paths[4].read_bytes()[:20_000])
    data = bytearray(paths[5].read_bytes())
    data[data.index(b'"step":3') + 7] ^= 1
    paths[5].write_bytes(data)
    return run


@pytest.fixture
def run(recorded, tmp_path) -> Path:
    return Path(shutil.copytree(recorded, tmp_path / "run"))


@pytest.fixture
def whole(run) -> Path:
    """The same without the damaged one."""
    episode_paths(run / "episodes")[5].unlink()
    return run


def said(capsys, *words: object) -> tuple[int, str, str]:
    status = cli.main(["episodes", *map(str, words)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_list_has_a_line_for_each_episode(run, capsys):
    status, out, err = said(capsys, "list", run)
    assert status == 0 and not err
    lines = out.splitlines()
    assert lines[0].split() == (
        "index kind robot task steps success person seconds MB cameras state".split()
    )
    truth = [recover(path).episode for path in episode_paths(run / "episodes")]
    for line, episode, kind in zip(lines[1:7], truth, KINDS, strict=True):
        words = line.split()
        assert words[:4] == [str(episode.header.index), kind, "fr3", "reach"]
        assert words[4] == str(len(episode.steps))
        assert words[5] == ("yes" if episode.is_success else "no")
        assert words[6] == f"{100 * episode.person_share:.0f}" and "wrist 8×6" in line
    assert [line.rpartition("wrist 8×6")[2].split()[0] for line in lines[1:7]] == (
        ["complete"] * 4 + ["cut", "damaged"]
    )
    assert f"cut after step {len(truth[4].steps)}" in lines[5]
    assert lines[7].startswith("6 episodes, 4 of them complete; ")


def test_list_for_programs_says_the_same(run, capsys):
    status, out, _ = said(capsys, "list", run / "episodes", "--json")
    lines = json.loads(out)
    assert status == 0 and len(lines) == 6
    episode = recover(lines[1]["path"]).episode
    assert lines[1]["steps"] == len(episode.steps) and lines[1]["is_complete"]
    assert lines[1]["seconds"] == pytest.approx(len(episode.steps) * TASK.period)
    assert lines[1]["cameras"] == {"wrist": [6, 8]}
    assert lines[1]["person_share"] == episode.person_share


def test_list_names_what_it_cannot_read_and_goes_on(run, capsys, monkeypatch):
    paths = episode_paths(run / "episodes")
    paths[0].write_text("no episode")
    paths[1].write_bytes(b"")
    paths[2].write_bytes(paths[2].read_bytes() + b"more")  # finished, and then written to
    with monkeypatch.context() as patch:
        patch.setattr(wire, "FORMAT", 99)
        newer = replace(recover(paths[3]).episode.header, index=9, cameras={})
        writer = EpisodeWriter(run / "episodes", spec_of(TASK))
        writer.begin(newer, np.zeros(spec_of(TASK).observation_size))
        writer.end()
    status, out, _ = said(capsys, "list", run)
    assert status == 0
    assert "damaged at byte 0: it does not begin as MCAP does" in out
    assert "cut: whole up to step 0" in out
    assert f"damaged after step {len(recover(paths[2]).episode.steps)}" in out
    assert "newer: has episode format 99" in out


def test_show_tells_all_about_an_episode_and_draws_it(run, capsys, tmp_path):
    path = episode_paths(run / "episodes")[1]
    status, out, _ = said(capsys, "show", path, "--picture", tmp_path / "sheet.png")
    episode = recover(path).episode
    assert status == 0
    for fact in ("kind      practice", "robot     fr3", "plant     mock", "seed      1", "drawn"):
        assert fact in out
    for term in spec_of(TASK).observation:
        assert term.name in out and term.unit in out
    assert f"the person acted in {episode.person_steps} of {len(episode.steps)} steps" in out
    assert "parameters 5" in out and "age of the oldest sample: median" in out
    guarded = sum(bool(step.guard) for step in episode.steps)
    assert f"the guard stepped in {guarded} times" in out
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet is not None and sheet.shape[0] > 400 and sheet.std() > 10


def test_show_ranges_are_in_units(run, capsys):
    path = episode_paths(run / "episodes")[1]
    _, out, _ = said(capsys, "show", path)
    episode, spec, _ = recover(path)
    [line] = [line for line in out.splitlines() if line.startswith("target_error")]
    term = next(term for term in spec.observation if term.name == "target_error")
    values = episode.observations[:, spec.observation_slice("target_error")] * term.scale
    assert " ".join(f"{value:.3g}" for value in values.min(0)) in line


def test_verify_reads_everything_and_fails_on_damage(run, capsys):
    status, out, _ = said(capsys, "verify", run)
    assert status == 1
    lines = out.splitlines()
    assert [" ok: " in line for line in lines[:6]] == [True] * 4 + [False] * 2
    assert "cut: whole up to step" in lines[4]
    assert "damaged at byte" in lines[5] and lines[5].endswith("whole up to step 3")
    assert lines[6].startswith("6 files: 4 ok, 1 damaged, 1 cut; ")
    assert said(capsys, "verify", *episode_paths(run / "episodes")[:5])[0] == 0


def test_verify_for_programs(run, capsys):
    status, out, _ = said(capsys, "verify", run, "--json")
    assert status == 1
    assert [found["state"] for found in json.loads(out)] == ["ok"] * 4 + ["cut", "damaged"]


def test_verify_saves_whole_steps_elsewhere_and_touches_nothing(run, capsys, tmp_path):
    before = {path: path.read_bytes() for path in episode_paths(run / "episodes")}
    status, out, _ = said(capsys, "verify", run, "--repair", tmp_path / "saved")
    assert status == 1 and "000005-practice.mcap  3 whole steps" in out
    saved = episode_paths(tmp_path / "saved")
    assert [path.name for path in saved] == ["000004-practice.mcap", "000005-practice.mcap"]
    assert said(capsys, "verify", tmp_path / "saved")[0] == 0
    assert {path: path.read_bytes() for path in before} == before
    status, _, err = said(capsys, "verify", run, "--repair", run / "episodes")
    assert status == 2 and "name a new folder" in err


def test_episodes_go_out_losslessly_and_come_back(whole, capsys, tmp_path):
    status, out, _ = said(capsys, "export", whole, tmp_path / "out", "--images", "lossless")
    assert status == 0
    assert "note: 1 episodes are cut; their whole steps are there, without an end" in out
    assert "LeRobotDataset v3.0, 5 episodes" in out
    status, out, _ = said(
        capsys, "import", tmp_path / "out", tmp_path / "back", "--format", "lerobot"
    )
    assert status == 0 and f"{tmp_path / 'back'}: 5 episodes" in out
    for path in episode_paths(whole / "episodes"):
        ours, theirs = recover(tmp_path / "back" / path.name), recover(path)
        assert (ours.is_complete, ours.episode.header) == (
            theirs.is_complete,
            theirs.episode.header,
        )
        np.testing.assert_array_equal(ours.episode.observations, theirs.episode.observations)
        np.testing.assert_array_equal(
            ours.episode.pictures["wrist"], theirs.episode.pictures["wrist"]
        )


def test_a_damaged_episode_stops_the_export_before_anything_is_written(run, capsys, tmp_path):
    status, out, err = said(capsys, "export", run, tmp_path / "out")
    assert status == 2 and not out
    assert "000005-practice.mcap is damaged at byte" in err and "--repair" in err
    assert not (tmp_path / "out").exists()


RECORD = """
import pickle, sys
import numpy as np
seen = lambda t: {"state": np.full((1, 2), t, float), "wrist": np.full((1, 4, 4, 3), t, np.uint8)}
pickle.dump([dict(observations=seen(t), next_observations=seen(t + 1), actions=np.zeros(2), rewards=float(t == 4),
    masks=1.0 - (t == 4), dones=t == 4) for t in range(5)], open(sys.argv[1], "wb"))
"""


def test_demonstrations_of_hil_serl_come_in(capsys, tmp_path):
    subprocess.run([sys.executable, "-c", RECORD, str(tmp_path / "demos.pkl")], check=True)
    words = ("--format", "hil-serl", "--robot", "franka", "--hz", "20")
    status, out, _ = said(capsys, "import", tmp_path / "demos.pkl", tmp_path / "new", *words)
    assert status == 0 and f"{tmp_path / 'new'}: 1 episodes, 5 steps" in out
    episode, spec, _ = recover(episode_paths(tmp_path / "new")[0])
    assert (episode.header.robot, episode.header.task) == ("franka", "demos")
    assert spec.period == 0.05 and episode.is_success


MISTAKES = [
    ("list nowhere", "nowhere is not there; name a run folder"),
    ("list .", "holds no episode (000000-practice.mcap"),
    ("show nowhere", "FILE is nowhere, expected an episode file"),
    ("verify nowhere", "nowhere is not there"),
    ("export nowhere out", "nowhere is not there"),
    ("import nowhere out --format lerobot", "is no LeRobotDataset: it has no meta/info.json"),
    ("import nowhere out --format hil-serl", "cannot read nowhere: no such file or directory"),
    ("import text out --format hil-serl", "text is refused: it is damaged or no pickle"),
    ("import text out --format hil-serl --hz 0", "--hz is 0.0, expected more than 0"),
    ("import text text --format hil-serl", "text is there already; nothing is overwritten"),
]


@pytest.mark.parametrize(("words", "line"), MISTAKES, ids=[words for words, _ in MISTAKES])
def test_a_mistake_is_one_line_and_status_2(capsys, tmp_path, monkeypatch, words, line):
    monkeypatch.chdir(tmp_path)
    Path("text").write_text("hello")
    status, out, err = said(capsys, *words.split())
    assert (status, out) == (2, "")
    assert line in err and err.count("\n") == 1
    assert os.listdir() == ["text"]


def test_without_the_extra_the_line_names_it(whole, capsys, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("robostack.store.exchange.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "av", None)
    for words in (
        ("export", whole, tmp_path / "o"),
        ("import", whole, tmp_path / "o", "--format", "lerobot"),
    ):
        status, _, err = said(capsys, *words)
        assert status == 2 and "pip install 'robostack[lerobot]'" in err
    assert said(capsys, "list", whole)[0] == 0


def test_a_picture_that_cannot_be_written_is_one_line(whole, capsys):
    path = episode_paths(whole / "episodes")[0]
    status, _, err = said(capsys, "show", path, "--picture", "/nowhere/sheet.png")
    assert status == 2 and "cannot write /nowhere/sheet.png" in err
