"""Whole runs, small: every process is real. What is left behind is whole, whatever ended them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

from robostack import config as configs
from robostack.core.guard import Guard
from robostack.core.loop import Loop, StillPolicy
from robostack.core.operator import ScriptedPerson
from robostack.core.plant import GuardedPlant
from robostack.store import params, sensors
from robostack.store.episode import episode_paths, outcome, recover
from robostack.store.run import Run
from robostack.study.ledger import lines
from robostack.twin.plant import TwinPlant

SMALL = [
    "demonstrations=3", "steps=150", "warmup=20", "check_every=2", "check_from=0.0", "check_episodes=2",
    "validation=2", "evaluation=4", "learner.widths=[16,16]", "learner.batch=16", "capacity=5000",
]  # fmt: skip


def command(runs: Path, *settings: str, film: bool = False) -> list[str]:
    words = [sys.executable, "-m", "robostack", "train", "--task", "reach", "--runs", str(runs)]
    words += [] if film else ["--no-film"]
    for setting in (*SMALL, *settings):
        words += ["--set", setting]
    return words


def only(runs: Path) -> Run:
    (path,) = runs.iterdir()
    return Run.open(path)


def run(
    runs: Path, *settings: str, film: bool = False, flags: Sequence[str] = ()
) -> tuple[Run, str]:
    words = [*command(runs, *settings, film=film), *flags]
    done = subprocess.run(words, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    return only(runs), done.stdout


def weights(run: Run) -> dict:
    return params.load(params.path_of(run.params, params.pinned_version(run.params))).arrays


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    """A run on the mirror inside the actor, with a film."""
    return run(tmp_path_factory.mktemp("native"), "plant=twin", film=True)


def test_run_leaves_everything_that_was_promised(native):
    made, _ = native
    names = {"config.json", "versions.json", "actor.json", "learner.json", "log.txt"}
    names |= {"learning_curve.png", "evaluation.mp4", "report.html", "episodes", "params"}
    assert names <= {path.name for path in made.path.iterdir()}


def test_last_lines_say_what_was_learned_how_sure_and_where_to_look(native):
    made, out = native
    last = out.strip().splitlines()[-3:]
    assert "fr3 learned reach in" in last[0]
    assert "of 4 succeed (95 % interval" in last[1]
    assert str(made.path / "report.html") in last[2]


def test_config_and_folder_are_printed_before_anything_moves(native):
    made, out = native
    assert (
        out.index("task: reach") < out.index(f"run folder: {made.path}") < out.index("fr3 learned")
    )


def test_episodes_come_in_order_and_nothing_is_missing(native):
    made, _ = native
    ledger = lines(made.episodes)
    assert [line.index for line in ledger] == list(range(len(ledger)))
    kinds = [line.kind for line in ledger]
    assert kinds[:3] == ["demonstration"] * 3 and kinds[-4:] == ["evaluation"] * 4
    assert sum(line.steps for line in ledger if line.kind in ("practice", "solo")) >= 150


def test_examination_uses_seeds_that_nothing_else_used(native):
    ledger = lines(native[0].episodes)
    exam = {line.seed for line in ledger if line.kind == "evaluation"}
    assert len(exam) == 4 and not exam & {line.seed for line in ledger if line.kind != "evaluation"}


def test_examined_policy_is_the_pinned_best(native):
    made, _ = native
    best = params.pinned_version(made.params)
    assert {line.parameters for line in lines(made.episodes) if line.kind == "evaluation"} == {best}


def test_practice_uses_exactly_the_version_that_the_schedule_names(native):
    """Episode k after the demonstrations acts with the parameters made from the k - 1 before the last."""
    trained = [line for line in lines(native[0].episodes) if line.kind in ("practice", "solo")]
    for number, line in enumerate(trained):
        if line.kind == "practice":
            assert line.parameters == max(0, number - 1)


def test_updates_are_paid_by_the_step(native):
    made, _ = native
    learner = json.loads((made.path / "learner.json").read_text())
    seen = [line for line in lines(made.episodes) if line.kind in ("practice", "solo")][
        : learner["episodes"]
    ]
    assert learner["learner_steps"] - 20 == pytest.approx(
        2.0 * sum(line.steps for line in seen), abs=1
    )


def test_report_shows_the_numbers_of_the_run(native):
    page = (native[0].path / "report.html").read_text()
    assert "of 4 succeed" in page and "data:image/png;base64," in page and "evaluation.mp4" in page


def test_run_repeats_itself_bit_for_bit(native, tmp_path):
    again, _ = run(tmp_path, "plant=twin")
    first, second = weights(native[0]), weights(again)
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.ros
def test_run_over_ros_topics_equals_the_run_in_one_process(native, tmp_path):
    over_ros, _ = run(tmp_path, "plant=ros")
    ours, theirs = lines(native[0].episodes), lines(over_ros.episodes)
    assert [(a.kind, a.steps, a.is_success) for a in ours] == [
        (b.kind, b.steps, b.is_success) for b in theirs
    ]
    assert all(
        np.array_equal(weights(native[0])[n], weights(over_ros)[n]) for n in weights(over_ros)
    )


def test_evaluate_examines_the_run_again(native, capsys):
    from robostack import cli

    assert cli.main(["evaluate", str(native[0].path), "--episodes", "3"]) == 0
    assert "of 3 succeed" in capsys.readouterr().out


def start(runs: Path, *settings: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command(runs, "steps=100000", "perfect_checks=99", *settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    _started.append(process)
    return process


_started: list[subprocess.Popen] = []


@pytest.fixture(autouse=True)
def _nothing_left_behind():
    """A test that fails must not leave a run that makes the next ones slow. What it started ends with it."""
    yield
    while _started:
        process = _started.pop()
        process.kill()
        process.communicate()


def children(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
    return [int(child) for child in found]


def wait_for_episodes(runs: Path, count: int, process: subprocess.Popen) -> Run:
    deadline = time.monotonic() + 80
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        folders = list(runs.iterdir()) if runs.exists() else []
        if folders and len(episode_paths(folders[0] / "episodes")) >= count:
            return Run.open(folders[0])
        time.sleep(0.05)
    raise AssertionError(f"fewer than {count} episodes in 80 s")


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    status = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[-1].split()
    return status[0] == "Z"


@pytest.mark.ros
@pytest.mark.parametrize("episodes", [1, 8], ids=["while demonstrating", "while practising"])
def test_ctrl_c_ends_all_processes_within_3_s_and_keeps_what_was_recorded(tmp_path, episodes):
    process = start(tmp_path, "plant=ros")
    made = wait_for_episodes(tmp_path, episodes, process)
    alive = children(process.pid)
    assert len(alive) == 4  # mirror, guard, learner, actor
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out = process.communicate(timeout=20)[0]
    assert time.monotonic() - began < 3.0
    assert process.returncode == 130 and "everything recorded so far is in" in out
    assert "Traceback" not in out
    assert all(is_gone(pid) for pid in alive)
    kept = [recover(path) for path in episode_paths(made.episodes)[:-1]]
    assert len(kept) >= episodes - 1 and all(recording.is_complete for recording in kept)
    assert not (made.path / "report.html").exists()  # nothing half done looks like a result


@pytest.mark.ros
@pytest.mark.parametrize("after", [0.5, 1.0, 1.5, 2.0, 3.0])
def test_ctrl_c_while_starting_ends_quietly_within_3_s(tmp_path, after):
    process = start(tmp_path, "plant=ros")
    time.sleep(after)
    alive = children(process.pid)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out = process.communicate(timeout=20)[0]
    assert time.monotonic() - began < 3.0
    assert process.returncode in (130, -signal.SIGINT) and "Traceback" not in out
    assert all(is_gone(pid) for pid in alive)


@pytest.mark.ros
def test_hiccup_of_a_real_time_cell_costs_an_episode_and_not_the_run(tmp_path):
    process = start(tmp_path, "plant=ros", "lockstep=false")
    made = wait_for_episodes(tmp_path, 2, process)
    (mirror,) = [
        pid
        for pid in children(process.pid)
        if b"/mirror\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    os.kill(mirror, signal.SIGSTOP)
    time.sleep(0.5)
    os.kill(mirror, signal.SIGCONT)
    count = len(episode_paths(made.episodes))
    wait_for_episodes(tmp_path, count + 2, process)
    process.send_signal(signal.SIGINT)
    out = process.communicate(timeout=20)[0]
    assert "was cut short" in out and process.returncode == 130
    whole = [recover(path).is_complete for path in episode_paths(made.episodes)[:-1]]
    assert whole.count(False) == 1


@pytest.mark.ros
@pytest.mark.parametrize("victim", ["mirror", "guard", "actor"])
def test_killed_process_stops_the_run_and_is_named(tmp_path, victim):
    process = start(tmp_path, "plant=ros")
    made = wait_for_episodes(tmp_path, 4, process)
    names = {"mirror": "mirror", "guard": "guard", "actor": "act"}
    for pid in children(process.pid):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        if any(word == names[victim] or word.endswith(f"/{names[victim]}") for word in words):
            os.kill(pid, signal.SIGKILL)
    alive = children(process.pid)
    out = process.communicate(timeout=20)[0]
    # Its peers may notice first; whoever is named, the run does not go on and does not claim success.
    assert process.returncode == 2
    assert "SIGKILL" in out or "exited with status" in out
    assert f"go on with `robostack train --resume {made.path}`" in out
    assert all(is_gone(pid) for pid in alive)
    assert "learned" not in out


def test_recorded_pictures_are_what_the_cell_looked_like_and_others_read_them(native):
    """The first demonstration, made again from its seed, against its file as the `mcap` library's decoder reads it."""
    made, _ = native
    config = configs.from_dict(made.config)
    task, robot = config.load_task(), config.load_robot()
    twin = TwinPlant(task, robot, cameras=config.cameras)
    plant = GuardedPlant(twin, Guard(robot.safety, task.period))
    person = ScriptedPerson(lambda: task.expert(task.options), config.person, config.seed)
    loop = Loop(plant, task, robot, operator=person)
    try:
        again = loop.run(StillPolicy(loop.spec.action_size), "demonstration", 0, 0)
    finally:
        plant.close()
    assert again.pictures.keys() == set(config.cameras)
    for name, pictures in again.pictures.items():
        with open(episode_paths(made.episodes)[0], "rb") as file:
            reader = make_reader(file, decoder_factories=[DecoderFactory()])
            images = [m for *_, m in reader.iter_decoded_messages([sensors.topic_of_camera(name)])]
        assert len(images) == len(pictures) == len(again.steps) + 1
        for image, picture in zip(images, pictures, strict=True):
            assert picture.std() > 1.0, "a blank picture"
            seen = np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)
            np.testing.assert_array_equal(seen, picture)


def test_cameras_are_recorded_in_the_kinds_of_episodes_that_the_config_names(native):
    made, _ = native
    for path in episode_paths(made.episodes):
        found = outcome(path)
        assert found
        is_seen = found.header.kind == "demonstration"
        assert set(found.header.cameras) == ({"wrist_camera", "front_camera"} if is_seen else set())
