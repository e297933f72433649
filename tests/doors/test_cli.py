"""The command line: names every choice, and answers mistakes with one line and a status."""

import ast
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from robostack import act, cli, config, doctor, evaluate, playing, show
from robostack.config import RunConfig


def said(capsys, *words):
    status = cli.main(list(words))
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_help_names_every_verb(capsys):
    status, out, _ = said(capsys)
    assert status == 0 and all(verb in out for verb in cli.VERBS)


@pytest.mark.parametrize("verb", sorted(cli.VERBS))
def test_every_verb_explains_itself(verb):
    done = subprocess.run(
        [sys.executable, "-m", "robostack", verb, "--help"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and "usage:" in done.stdout.lower()


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("nope",), ["demo", "train", "doctor"]),
        (("check", "--task", "peg_insret"), ["peg_insert", "reach"]),
        (("check", "--robot", "panda"), ["fr3", "ur5e"]),
        (("check", "--set", "step=5"), ["steps", "updates_per_step"]),
        (("check", "--set", "learner.batches=5"), ["learner.batch", "learner.discount"]),
        (("check", "--set", "options.clarence=1"), ["clearance", "bias"]),
        (("check", "--set", "plant=gazebo"), ["ros", "twin"]),
    ],
)
def test_unknown_name_is_one_line_that_lists_the_valid_ones(capsys, words, names):
    status, _, err = said(capsys, *words)
    assert status == 2 and err.count("\n") == 1
    assert all(name in err for name in names)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("steps", "name=value"),
        ("steps=many", "steps is 'many', expected int"),
        ("steps=0", "at least 1"),
        ("steps=2.5", "steps is 2.5, expected int"),
        ("steps=[1", "is not YAML"),
        ("steps=2024-13-01", "is not YAML"),
        ("seed=-1", "0 to 499"),
        ("seed=500", "0 to 499"),
        ("warmup=-1", "at least 0"),
        ("check_every=0", "at least 1"),
        ("check_episodes=0", "at least 1"),
        ("check_from=1.1", "0 to 1"),
        ("perfect_checks=0", "at least 1"),
        ("validation=0", "validation is 0, expected 1 to 100000"),
        ("evaluation=100001", "1 to 100000"),
        ("capacity=999", "at least 1000 frames"),
        ("updates_per_step=0", "more than 0"),
        ("ratio.arms=[2,1]", "rising numbers above 0"),
        ("ratio={mode: rule, arms: [1, 2.5], span: 0}", "ratio.span is 0, expected at least 1"),
        ("updates_per_step=.nan", "updates_per_step is nan, expected float"),
        ("learner.discount=1.5", "between 0 and 1"),
        ("learner.widths=[]", "whole numbers from 1"),
        ("learner.widths=[0]", "whole numbers from 1"),
        ("learner.widths=[256,wide]", "learner.widths[1] is 'wide', expected int"),
        ("learner.widths=256", "expected tuple"),
        ("learner.critics=0", "learner.critics is 0, expected at least 1"),
        ("learner.target_critics=3", "1 to critics = 2"),
        ("learner.critic_updates=0", "at least 1"),
        ("learner.batch=7", "even"),
        ("learner.rate=0", "more than 0"),
        ("learner.rate=fast", "learner.rate is 'fast', expected float"),
        ("learner.target_rate=1.5", "at most 1"),
        ("learner.served_rate=0", "more than 0"),
        ("learner.temperature=0", "more than 0"),
        ("learner.return_bounds=[1,0]", "the lower and then the higher"),
        ("learner.return_bounds=[1]", "the lower and then the higher"),
        ("learner.imitation=-0.1", "at least 0"),
        ("person.reaction=-1", "person.reaction is -1, expected at least 0"),
        ("person.noise=-1", "at least 0"),
        ("person.patience=0", "at least 1"),
        ("person.finishes=1", "expected bool"),
        ("options.clearance=0.1", "0.0002 to 0.002"),
        ("options.clearance=tight", "options.clearance is 'tight', expected float"),
        ("options={1: 2}", 'no option "1"'),
        ("learner=5", "expected fields"),
    ],
)
def test_bad_value_says_what_was_expected(capsys, setting, says):
    status, _, err = said(capsys, "check", "--set", setting)
    assert status == 2 and err.count("\n") == 1 and says in err


@pytest.mark.parametrize("verb", ["check", "train", "twin"])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"task: reach\nseed: -1\n", "seed is -1"),  # shows that the file is read
        (b"[1, 2]", "holds list"),
        (b"", "holds NoneType"),
        (b"task: [", "is not YAML"),
        (b"taks: reach", 'no field "taks"'),
        (b"1: 2", 'no field "1"'),
        (b"task: r\xe9ach", "is not YAML"),  # Latin-1
        (None, "cannot read"),
    ],
)
def test_bad_config_file_is_one_line_that_names_what_is_wrong(
    capsys, tmp_path, verb, content, says
):
    path = tmp_path / "run.yaml"
    if content is not None:
        path.write_bytes(content)
    status, _, err = said(capsys, verb, "--config", str(path))
    assert status == 2 and err.count("\n") == 1 and says in err


def test_no_run_draws_the_seeds_that_evaluate_begins_with():
    assert config.SEEDS * playing.SEEDS_A_RUN <= evaluate.FRESH
    most = max(act.VALIDATION, act.EVALUATION) + config.MOST_EXAMINED
    assert most <= playing.SEEDS_A_RUN and act.EVALUATION - act.VALIDATION >= config.MOST_EXAMINED


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("evaluate", "{folder}", "--episodes", "0"), "--episodes is 0, expected at least 1"),
        (("evaluate", "{folder}", "--seed", "-1"), "--seed is -1, expected at least 0"),
        (("evaluate", "{folder}", "--version", "-1"), "--version is -1, expected at least 0"),
        (("twin", "--episodes", "0"), "--episodes is 0, expected at least 1"),
        (("twin", "--film", "{folder}/nowhere/x.mp4"), "mkdir -p {folder}/nowhere"),
    ],
)
def test_impossible_flag_is_one_line(capsys, tmp_path, words, says):
    words = [word.format(folder=tmp_path) for word in words]
    status, _, err = said(capsys, *words)
    assert status == 2 and err.count("\n") == 1 and says.format(folder=tmp_path) in err


def test_twin_films_each_episode_with_an_expert_of_its_own(capsys, monkeypatch, tmp_path):
    makers = []
    monkeypatch.setattr(show, "film", lambda path, task, robot, make, *_: makers.append(make))
    status, _, _ = said(capsys, "twin", "--task", "reach", "--film", str(tmp_path / "x.mp4"))
    (make,) = makers
    first, second = make(), make()
    assert status == 0 and first._expert is not second._expert


def test_ctrl_c_closes_the_window(capsys, monkeypatch):
    closed = []

    def watched(twin):
        twin.on_close = lambda: closed.append(True)
        return twin

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(show, "watched", watched)
    monkeypatch.setattr(show.clock, "sleep", interrupt)
    status, _, _ = said(capsys, "twin", "--task", "reach", "--watch")
    assert status == 130 and closed == [True]


def test_integers_are_taken_where_numbers_are_expected():
    assert config.override(RunConfig(), ["updates_per_step=1"]).updates_per_step == 1.0


def test_folder_that_is_no_run_is_refused_in_one_line(capsys, tmp_path):
    for verb in ("act", "learn", "evaluate"):
        status, _, err = said(capsys, verb, str(tmp_path))
        assert status == 2 and "not a run folder" in err and err.count("\n") == 1


def test_runs_folder_that_may_not_be_written_is_one_line(capsys, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")  # root may write anywhere; nobody makes a folder inside a file
    status, _, err = said(
        capsys, "train", "--no-film", "--set", "plant=twin", "--runs", str(blocked / "runs")
    )
    assert status == 2 and err.count("\n") == 1 and str(blocked) in err


def test_missing_opengl_stops_a_run_before_it_starts(tmp_path):
    """An EGL that cannot be loaded: MuJoCo is pointed at a backend that needs a display."""
    environment = {**os.environ, "MUJOCO_GL": "glfw", "DISPLAY": ""}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "robostack",
            "train",
            "--set",
            "plant=twin",
            "--runs",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )
    assert done.returncode == 2 and "apt-get install libegl1" in done.stderr.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_watching_without_a_display_is_refused(capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    for verb in (["twin"], ["train", "--runs", str(tmp_path)]):
        status, _, err = said(capsys, *verb, "--watch")
        assert status == 2 and "DISPLAY" in err
    assert not list(tmp_path.iterdir())


def test_list_names_robots_tasks_options_and_units(capsys):
    status, out, _ = said(capsys, "list")
    assert status == 0
    assert all(
        word in out for word in ("fr3", "ur5e", "peg_insert", "reach", "clearance=0.001", "N, N m")
    )


def test_doctor_names_the_mending_command_and_fails(capsys):
    bad = doctor.Finding("OpenGL", "libEGL.so.1 is missing", "apt-get install libegl1")
    status = doctor.main([], look=lambda: iter([doctor.Finding("numpy", "2"), bad]))
    out = capsys.readouterr().out
    assert status == 1 and "mend: apt-get install libegl1" in out and "ok  numpy" in out


def test_doctor_looks_at_every_library_that_robostack_needs():
    setup = (Path(__file__).parents[2] / "setup.py").read_text()
    needed = re.search(r"^REQUIRES = (\[.*?^\])", setup, re.M | re.S)
    assert needed is not None
    names = {requirement.partition(">")[0] for requirement in ast.literal_eval(needed[1])}
    assert names == {doctor.PACKAGE.get(name, name) for name in doctor.LIBRARIES}


def test_doctor_forgives_what_only_some_need(capsys):
    status = doctor.main(
        [], look=lambda: iter([doctor.Finding("ROS 2", "no", "do this", is_needed=False)])
    )
    assert status == 0 and "mend: do this" in capsys.readouterr().out


def test_doctor_finds_this_machine_well(capsys):
    status, out, _ = said(capsys, "doctor")
    assert status == 0, out


def test_missing_rclpy_is_one_line_with_the_command(tmp_path):
    """A Python whose rclpy cannot be imported, in a process of its own."""
    (tmp_path / "rclpy.py").write_text("raise ImportError('not here')\n")
    environment = {
        **os.environ,
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
    }
    done = subprocess.run(
        [sys.executable, "-m", "robostack", "train", "--no-film", "--runs", str(tmp_path / "runs")],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )
    assert done.returncode == 2
    assert "pip install" in done.stderr and done.stderr.strip().count("\n") == 0
    assert not (tmp_path / "runs").exists()


def test_opencv_without_its_libraries_stops_a_run_before_it_starts(tmp_path):
    said = "libGL.so.1: cannot open shared object file"
    (tmp_path / "cv2.py").write_text(f"raise ImportError({said!r})\n")
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    command = [sys.executable, "-m", "robostack", "train", "--runs", str(tmp_path / "runs")]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert said in done.stderr and "robostack doctor" in done.stderr
    assert not (tmp_path / "runs").exists()


SWALLOWING = """
import gc, os, signal, time
from robostack import interrupts
interrupts.raise_interrupt(signal.SIGINT)
def _xla_gc_callback(phase, info):
    time.sleep(0.2)
gc.callbacks.append(_xla_gc_callback)
try:
    print("ready", flush=True)
    gc.collect()
    for _ in range(100):
        time.sleep(0.02)
    print("nothing happened")
except KeyboardInterrupt:
    print("interrupted")
"""


def test_an_interrupt_while_jax_tidies_up_is_not_swallowed():
    """JAX's callback of the garbage collector prints what is raised in it as ignored, and nothing would end."""
    words = [sys.executable, "-c", SWALLOWING]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout and child.stderr
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        assert child.stdout.read() == "interrupted\n"
        assert "Traceback" not in child.stderr.read()


@pytest.mark.parametrize("verb", ["train", "act", "learn", "demo"])
def test_an_interrupt_before_anything_is_begun_ends_without_a_word(verb, tmp_path):
    words = [sys.executable, "-m", "robostack", verb, str(tmp_path / "run")]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        time.sleep(0.25)  # Python is up, JAX is not
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=20)
    assert "Traceback" not in err
    assert child.returncode in (130, -signal.SIGINT, 2)
    assert not out
