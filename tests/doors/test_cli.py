"""The command line: names every choice, and answers mistakes with one line and a status."""

import os
import subprocess
import sys

import pytest

from robostack import cli, config, doctor
from robostack.config import RunConfig
from robostack.core.errors import BadValue, UnknownName


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
        ("learner.discount=1.5", "between 0 and 1"),
        ("options.clearance=0.1", "0.0002 to 0.002"),
        ("learner=5", "expected fields"),
    ],
)
def test_bad_value_says_what_was_expected(capsys, setting, says):
    status, _, err = said(capsys, "check", "--set", setting)
    assert status == 2 and err.count("\n") == 1 and says in err


def test_config_survives_its_own_json():
    made = config.override(
        RunConfig(), ["task=reach", "learner.widths=[32,32]", "person.noise=0.5"]
    )
    assert config.from_dict(config.as_dict(made)) == made


def test_config_file_and_settings_add_up(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("task: reach\nlearner:\n  batch: 64\n")
    made = config.override(config.from_file(path), ["learner.critics=4"])
    assert (made.task, made.learner.batch, made.learner.critics) == ("reach", 64, 4)


@pytest.mark.parametrize("text", ["[1, 2]", "task: [", "taks: reach"])
def test_bad_config_file_is_refused(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises((BadValue, UnknownName)):
        config.from_file(path)


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
