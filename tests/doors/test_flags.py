"""What a run is asked to do: numbers as people write them, and what goes before what."""

import argparse

import pytest

from robostack import config, flags
from robostack.config import RunConfig


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("learner.rate=1e-4", 1e-4),  # YAML 1.1 reads a number without a point as text
        ("steps=2e4", 20_000),
        ("learner.return_bounds=[-1e-1,1]", (-0.1, 1.0)),
        ("options.clearance=5e-4", {"clearance": 5e-4}),
    ],
)
def test_numbers_are_read_as_people_write_them(setting, value):
    made = config.override(RunConfig(), [setting])
    for name in setting.partition("=")[0].split(".")[:2]:
        made = made if isinstance(made, dict) else getattr(made, name)
    assert made == value and type(made) is type(value)


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


def test_flags_go_before_the_config_file_and_settings_before_flags(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("task: reach\nseed: 3\nsteps: 7\n")
    parser = argparse.ArgumentParser()
    flags.add_choices(parser)
    words = ["--config", str(path), "--seed", "4", "--set", "steps=8", "--set", "robot=ur5e"]
    made = flags.chosen(parser.parse_args(words))
    assert (made.task, made.seed, made.steps, made.robot) == ("reach", 4, 8, "ur5e")


def test_a_tasks_own_choices_are_what_a_run_begins_with_and_whatever_is_said_goes_before(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("learner:\n  imitation: 0.2\n")
    parser = argparse.ArgumentParser()
    flags.add_choices(parser)

    def of(*words):
        learner = flags.chosen(parser.parse_args(words)).learner
        return learner.discount, learner.imitation

    own, usual = (configured.learner for configured in (config.of_task("pick_place"), RunConfig()))
    assert (own.discount, own.imitation) != (usual.discount, usual.imitation)
    assert of("peg_insert") == (usual.discount, usual.imitation)
    for words in (("pick_place",), ("--set", "task=pick_place")):
        assert of(*words) == (own.discount, own.imitation)
    assert of("pick_place", "--set", "learner.discount=0.9") == (0.9, own.imitation)
    assert of("pick_place", "--config", str(path)) == (own.discount, 0.2)
