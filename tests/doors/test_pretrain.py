"""The door that learns the mirror's trunk: a tiny run writes weights that load, and repeats itself by seed."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from robostack import cli, pretrain
from robostack.learn import pretraining, trunks
from robostack.twin import sights

TINY = "pretrain --pictures 80 --steps 2 --batch 4 --tasks peg_insert reach --robots fr3 --seed 5"


def run(out: Path) -> None:
    assert cli.main([*TINY.split(), "--out", str(out)]) == 0


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("made")
    run(out)
    return out


def test_a_tiny_run_writes_weights_that_are_the_networks(made):
    labels, arrays = trunks.read(made / "mirror.safetensors")
    trunks.check("mirror", arrays, "the tiny run")
    told = json.loads((made / "pretrain.json").read_text())
    assert told["sha256"] == labels["sha256"] and "--seed 5" in labels["source"]
    assert told["command"] == labels["source"]
    assert any("position_median_mm" in str(value) for value in told["held_out"].values())


def test_the_figure_shows_pictures_above_depth(made):
    picture = cv2.imread(str(made / "pretrain.png"))
    assert picture is not None and picture.std() > 20.0


def test_the_data_are_of_all_tasks_and_cameras_plain_and_not(made):
    heads, plain = np.load(made / "head.npy"), np.load(made / "plain.npy")
    assert np.array_equal(np.bincount(heads), [20] * 4)
    assert 0.1 < plain.mean() < 0.6
    pictures = np.load(made / "pictures.npy")
    assert all(picture.std() > 1.0 for picture in pictures)


@pytest.mark.slow
def test_data_are_made_once_and_learned_to_the_same_weights(made):
    when, first = (made / "pictures.npy").stat().st_mtime_ns, (made / "mirror.safetensors")
    before = first.read_bytes()
    run(made)
    assert (made / "pictures.npy").stat().st_mtime_ns == when
    assert first.read_bytes() == before


def test_the_same_seed_gives_the_same_data(made, tmp_path):
    pretrain.gather(tmp_path, [("peg_insert", "fr3"), ("reach", "fr3")], 80, 5)
    for name in ("pictures.npy", "labels.npy", "head.npy", "plain.npy"):
        assert (made / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_nothing_is_learned_from_held_out_pictures():
    learn, held = pretrain.split(1000, seed=0)
    assert len(held) == 50 and not set(learn) & set(held)
    assert np.array_equal(np.sort(np.concatenate([learn, held])), np.arange(1000))


def test_labels_of_the_twin_are_those_that_are_learned():
    assert list(sights.LABELS.items()) == list(pretraining.LABELS.items())
    assert sights.DEPTH == pretraining.DEPTH


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--pictures 10", "--pictures is 10, expected at least"),
        ("--steps 0", "--steps is 0, expected at least 1"),
        ("--tasks nope", 'no task "nope"; there are:'),
        ("--robots nope", 'no robot "nope"; there are:'),
        ("--start nope.safetensors", "nope.safetensors"),
    ],
)
def test_a_wrong_choice_is_one_line_and_writes_nothing(flags, words, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main(["pretrain", *flags.split(), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not out.exists()
