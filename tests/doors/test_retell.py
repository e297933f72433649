"""`report`: what a run left is made again, and a film that cannot be made does not cost the verdict."""

import pytest

from robostack import cli, config, report
from robostack.config import RunConfig
from robostack.core import catalog
from robostack.core.errors import Unavailable
from robostack.core.guard import Guard
from robostack.core.loop import Loop, StillPolicy
from robostack.core.observe import spec_of
from robostack.core.plant import GuardedPlant, MockPlant
from robostack.store.episode import EpisodeWriter
from robostack.store.run import Run, write_json

KINDS = ("demonstration", "practice", "solo", "evaluation", "evaluation")


@pytest.fixture
def run(tmp_path) -> Run:
    """Five episodes of a policy that does nothing, and the actor's numbers."""
    made = Run.create(tmp_path, "reach-fr3-s0", config.as_dict(RunConfig(task="reach")))
    task, robot = catalog.task("reach"), catalog.robot("fr3")
    recorder = EpisodeWriter(made.episodes, spec_of(task))
    plant = GuardedPlant(MockPlant(task), Guard(robot.safety, task.period))
    loop = Loop(plant, task, robot, recorder=recorder)
    for index, kind in enumerate(KINDS):
        loop.run(StillPolicy(loop.spec.action_size), kind, index, index)
    check = {"version": 0, "steps": 9, "successes": 0, "episodes": 1, "length": 9.0}
    write_json(made.path / "actor.json", {"training_seconds": 61.0, "checks": [check]})
    return made


def test_report_is_made_again(run, capsys):
    assert cli.main(["report", str(run.path), "--no-film"]) == 0
    out = capsys.readouterr().out
    assert "fr3 learned reach in 1 min 1 s: 1 demonstrations" in out
    assert "0 of 2 succeed (95 % interval 0.0 to" in out and str(run.path / "report.html") in out
    assert {"learning_curve.png", "report.html"} <= {path.name for path in run.path.iterdir()}


def test_film_that_cannot_be_made_is_one_line_beside_the_verdict(run, capsys, monkeypatch):
    def no_film(*_):
        raise Unavailable("cannot write evaluation.mp4: this OpenCV has no VP9 encoder")

    monkeypatch.setattr(report.params, "pinned_version", lambda _: 0)  # there is a best version
    monkeypatch.setattr(report, "_film", no_film)
    assert cli.main(["report", str(run.path)]) == 0
    out, err = capsys.readouterr()
    assert err == "no film: cannot write evaluation.mp4: this OpenCV has no VP9 encoder\n"
    assert "0 of 2 succeed" in out and "<video" not in (run.path / "report.html").read_text()


def test_page_that_cannot_be_written_is_an_error(run, capsys, monkeypatch):
    def no_room(*_):
        raise Unavailable("cannot write report.html: no space left on device")

    monkeypatch.setattr(report, "write_whole", no_room)
    for words in ([], ["--no-film"]):
        assert cli.main(["report", str(run.path), *words]) == 2
        out, err = capsys.readouterr()
        assert not out and err.splitlines()[-1].endswith("no space left on device")


@pytest.mark.filterwarnings("ignore:No artists with labels:UserWarning")
def test_run_that_has_only_begun_has_a_report_that_says_so(tmp_path, capsys):
    run = Run.create(tmp_path, "reach-fr3-s0", config.as_dict(RunConfig(task="reach")))
    assert cli.main(["report", str(run.path)]) == 0
    out = capsys.readouterr().out
    assert "fr3 is still learning reach" in out and "Not examined yet" in out
