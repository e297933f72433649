"""`success`: from episodes to a classifier, by commands, on the mirror; and mistakes in one line."""

import csv
import json
import shutil
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from robostack import cli, done, judging, label_page
from robostack import config as configs
from robostack.audit import APART, hard_of
from robostack.core import observe
from robostack.core.errors import BadValue
from robostack.core.types import Sample
from robostack.learn import judge, trunks
from robostack.learn.success import Look
from robostack.store import labels
from robostack.store.episode import EpisodeWriter, episode_paths, recover
from robostack.store.labels import NO, UNSURE, YES
from robostack.store.run import Run
from robostack.study.verdicts import Judged

EPISODES = 10


def run(*words: object) -> int:
    return cli.main(["success", *map(str, words)])


@pytest.fixture(scope="module")
def episodes(tmp_path_factory) -> Path:
    """Collected in the mirror and labelled by geometry."""
    folder = tmp_path_factory.mktemp("reach")
    assert run("collect", folder, "--task", "reach", "--episodes", EPISODES) == 0
    assert run("label", folder, "--by", "geometry") == 0
    return folder


@pytest.fixture(scope="module")
def classifier(episodes) -> Path:
    out = episodes / "reach.safetensors"
    where = ["--where", "tool_in_base.z <= 0.5", "--camera", "wrist_camera=16,16,112,96@128x128"]
    assert run("train", episodes, "--out", out, "--alpha", 0.3, "--steps", 60, *where) == 0
    return out


@pytest.fixture
def copy(episodes, tmp_path) -> Path:
    return Path(shutil.copytree(episodes, tmp_path / "copy"))


def test_collected_episodes_hold_successes_near_misses_and_do_not_end_with_a_success(episodes):
    marks = labels.load(episodes)
    assert marks is not None and marks.by == "geometry" and len(marks.frames) == EPISODES
    counts = marks.counts()
    assert counts["success"] > 20 and counts["no success"] > 200
    left = []
    for path in episode_paths(episodes):
        episode, spec, is_complete = recover(path)
        assert (
            is_complete
            and len(episode.steps) == 50
            and set(episode.pictures)
            == {
                "wrist_camera",
                "front_camera",
            }
        )
        assert not any(step.terminated or step.reward for step in episode.steps)
        error = observe.unpack(spec, episode.observations)["target_error"]
        left.append(np.linalg.norm(error[:, :3], axis=-1))
    near = np.concatenate(left)
    assert np.count_nonzero((near > 0.01) & (near < 0.03)) > 50  # 10 mm would have been there


def test_labels_by_geometry_are_what_the_task_says_of_the_true_target(episodes):
    marks = labels.load(episodes)
    assert marks is not None
    for path in episode_paths(episodes)[:3]:
        episode, spec, _ = recover(path, has_pictures=False)
        terms = observe.unpack(spec, episode.observations)
        far = np.linalg.norm(terms["target_error"][:, :3], axis=-1)
        called = marks.frames[path.name] == YES
        assert (far[called] < 0.011).all() and (far[~called] > 0.009).all()  # sensors have noise


def test_a_classifier_is_trained_examined_and_stored(episodes, classifier, capsys):
    found = judge.load(classifier, trunks.load)
    about = found.about
    assert about.task == "reach" and about.trunk == "mirror" and about.steps == 60
    assert about.looks == {"wrist_camera": Look(128, 128, (16, 16, 112, 96), (128, 128))}
    assert about.counts["episodes to calibrate"] == 3
    assert [c.text for c in about.conditions] == ["tool_in_base.z <= 0.5"]
    assert about.rates["false_episodes"]["of"] == 2
    assert about.threshold is not None and about.threshold >= np.log(0.7 / 0.3) - 1e-9


def test_no_episode_is_in_two_parts_and_the_split_is_by_chance():
    parts = judging.parts(40, seed=3)
    assert sorted(np.concatenate(parts).tolist()) == list(range(40))
    assert [len(part) for part in parts] == [20, 12, 8]
    assert parts[0].tolist() != judging.parts(40, seed=4)[0].tolist()


def test_too_few_episodes_for_the_promise_are_refused_with_how_many_are_missing(episodes, capsys):
    assert run("train", episodes, "--out", episodes / "x.safetensors", "--alpha", 0.05) == 2
    said = capsys.readouterr().err.strip()
    assert "leave 3 to calibrate on, alpha 0.05 needs 19" in said and "--alpha 0.25" in said
    assert "\n" not in said and not (episodes / "x.safetensors").exists()
    more = int(said.split("label ")[1].split()[0])
    assert len(judging.parts(EPISODES + more, 0)[1]) >= 19
    assert len(judging.parts(EPISODES + more - 1, 0)[1]) < 19


def test_an_audit_draws_the_hardest_frames_and_takes_their_labels_back(copy, classifier, tmp_path):
    out = tmp_path / "audit"
    assert run("audit", classifier, copy, "--out", out, "--count", 6) == 0
    for name in ("false.png", "missed.png"):
        picture = cv2.imread(str(out / name))
        assert picture is not None and picture.shape[0] > 128 and picture.std() > 10
    rows = list(csv.DictReader((out / "relabel.csv").read_text().splitlines()))
    assert [row["label"] for row in rows] == ["no"] * 6 + ["success"] * 6
    scores = [float(row["score"]) for row in rows]
    assert scores[:6] == sorted(scores[:6], reverse=True) and scores[6:] == sorted(scores[6:])
    before = labels.load(copy)
    rows[0]["label"], rows[7]["label"] = "Success ", "unsure"
    with open(out / "relabel.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert run("label", copy, "--from", out / "relabel.csv") == 0
    after = labels.load(copy)
    assert before is not None and after is not None and after.by == "person"
    changed = [(Path(row["episode"]).name, int(row["frame"])) for row in (rows[0], rows[7])]
    for (name, frame), kind in zip(changed, (YES, UNSURE), strict=True):
        assert after.frames[name][frame] == kind
        before.frames[name][frame] = kind
    for name, frames in before.frames.items():
        np.testing.assert_array_equal(frames, after.frames[name])


def test_the_hardest_frames_are_the_highest_without_success_some_frames_apart(episodes):
    path = episode_paths(episodes)[0]
    recorded = judging.read((path, np.full(51, NO, np.int8)), print)
    scores = np.zeros(50)
    scores[[10, 11, 12, 13, 30]] = [5, 9, 8, 7, 6]
    found = hard_of(recorded, scores, NO)
    assert [hard.frame for hard in found[:2]] == [12, 31] and found[0].score == 9.0
    frames = sorted(hard.frame for hard in found)
    assert min(np.diff(frames)) >= APART
    assert hard_of(recorded, scores, YES) == []


def test_sheets_show_every_frame_with_its_label(copy, tmp_path):
    out = tmp_path / "sheets"
    assert run("label", copy, "--sheets", out) == 0
    marks = labels.load(copy)
    assert marks is not None and len(list(out.iterdir())) == EPISODES
    name = max(marks.frames, key=lambda name: np.count_nonzero(marks.frames[name] == YES))
    picture = cv2.imread(str(out / f"{Path(name).stem}.png"))
    assert picture is not None
    green = (picture == (60, 170, 60)).all(-1)
    width, tiles = 256 + 6, np.count_nonzero(marks.frames[name] == YES)
    assert green.sum() == tiles * (2 * 3 * width + 2 * 3 * 128)


def test_labels_that_are_there_are_not_replaced_by_geometry(copy, capsys):
    marks = labels.load(copy)
    assert marks is not None
    name = sorted(marks.frames)[0]
    marks.frames[name][:] = UNSURE
    del marks.frames[sorted(marks.frames)[-1]]
    labels.save(copy, marks)
    assert run("label", copy, "--by", "geometry") == 0
    assert f"{EPISODES - 1} episodes had labels, which stay" in capsys.readouterr().out
    after = labels.load(copy)
    assert after is not None and len(after.frames) == EPISODES
    assert (after.frames[name] == UNSURE).all()


@contextmanager
def served(folder: Path):
    """The page's address, while it is up."""
    server = label_page.server_of(label_page.Desk(folder, episode_paths(folder)), 0)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(url: str, data: bytes | None = None, **headers: str):
    request = urllib.request.Request(url, data, headers)
    return urllib.request.urlopen(request, timeout=20)


def test_a_person_labels_on_the_page_and_it_is_on_the_disk_at_once(copy):
    (copy / labels.FILE).unlink()
    json_kind = {"Content-Type": "application/json"}
    with served(copy) as url:
        assert b"this is success" in ask(url).read()
        listed = json.loads(ask(f"{url}/list").read())
        assert [entry["labels"] for entry in listed] == [""] * EPISODES
        film = ask(f"{url}/film/2")
        about = json.loads(film.headers["X-About"])
        picture = cv2.imdecode(np.frombuffer(film.read(), np.uint8), cv2.IMREAD_COLOR)
        assert (about["frames"], about["width"], about["height"]) == (51, 256, 128)
        assert picture is not None and picture.shape == (7 * 128, 8 * 256, 3)
        text = "." * 20 + "??" + "x" * 29
        ask(f"{url}/labels/2", json.dumps(text).encode(), **json_kind)
        assert json.loads(ask(f"{url}/list").read())[2]["labels"] == text
    found = labels.load(copy)
    assert found is not None and found.by == "person"
    assert labels.ranges(np.flatnonzero(found.frames[listed[2]["name"]] == YES)) == "22-50"


@pytest.mark.parametrize(
    ("path", "data", "headers", "status"),
    [
        ("/labels/0", b'"..."', {"Content-Type": "application/json"}, 400),  # not 51 letters
        ("/labels/0", b"[1]", {"Content-Type": "application/json"}, 400),
        ("/labels/99", b'""', {"Content-Type": "application/json"}, 400),
        ("/labels/0", b"{", {"Content-Type": "application/json"}, 400),
        ("/labels/0", b'"x"', {"Content-Type": "text/plain"}, 400),
        ("/film/99", None, {}, 404),
        ("/film/-1", None, {}, 404),
        ("/../success.labels.json", None, {}, 404),
        ("/list", None, {"Host": "evil.example:80"}, 403),
    ],
)
def test_the_page_takes_nothing_else(episodes, path, data, headers, status):
    before = (episodes / labels.FILE).read_bytes()
    with served(episodes) as url:
        assert urlsplit(url).hostname == "127.0.0.1"
        ask(f"{url}/film/0").read()
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask(url + path, data, **headers)
        assert caught.value.code == status
    assert (episodes / labels.FILE).read_bytes() == before


def test_a_camera_that_shows_nothing_is_named_and_its_frames_are_not_learned_from(
    episodes, tmp_path
):
    path = episode_paths(episodes)[0]
    episode, spec, _ = recover(path)
    episode.pictures["wrist_camera"][5:9] = 0
    hurt = tmp_path / path.name
    rewrite(episode, spec, hurt.parent)
    said: list[str] = []
    recorded = judging.read((hurt, np.full(51, YES, np.int8)), said.append)
    assert np.flatnonzero(recorded.labels == UNSURE).tolist() == [5, 6, 7, 8]
    [line] = said
    assert "episode 0: wrist_camera showed one colour in 4 frames from step 5 on" in line


def rewrite(episode, spec, folder: Path) -> None:
    """The same episode with other pictures, as a cell would have recorded it."""

    def samples(t: int, stamp: float) -> dict[str, Sample]:
        pose = np.array([0.5, 0, 0.2, 0, 1, 0, 0])
        seen = {name: Sample(stamp, values[t]) for name, values in episode.pictures.items()}
        return {"tool_pose": Sample(stamp, pose), **seen}

    writer = EpisodeWriter(folder, spec)
    writer.begin(episode.header, episode.observations[0], samples(0, 0.0))
    for t, step in enumerate(episode.steps, 1):
        writer.append(step, episode.observations[t], samples(t, step.stamp + spec.period))
    writer.end()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--agree", "4/3"], "agree is 4/3, expected m/n"),
        (["--agree", "x"], "--agree is x, expected m/n, as in 2/3"),
        (["--alpha", "2"], "alpha is 2.0, expected between 0 and 1"),
        (["--where", "height <= 3"], 'no term "height"'),
        (["--camera", "side_camera"], "has no pictures of side_camera; it has: "),
        (["--camera", "wrist_camera=0,0,200,128"], "within 128x128"),
        (["--trunk", "vgg"], 'no trunk "vgg"; there are: '),
    ],
)
def test_a_wrong_choice_is_one_line_and_nothing_is_written(episodes, words, said, capsys):
    out = episodes / "wrong.safetensors"
    assert run("train", episodes, "--out", out, *words) == 2
    err = capsys.readouterr().err.strip()
    assert said in err and "\n" not in err and not out.exists()


def config_of(classifier: object, **changes) -> configs.RunConfig:
    base = {"task": "reach", "plant": "twin", "success": str(classifier), "demonstrations": 1}
    return replace(configs.RunConfig(), **{**base, **changes})


def test_a_run_keeps_a_copy_of_its_classifier_and_judges_by_it_ever_after(classifier, tmp_path):
    config = config_of(classifier)
    run = Run.create(tmp_path, config.name, configs.as_dict(config))
    judged = done.judge_of(run, config)
    assert judged is not None and judged.cameras == {"wrist_camera": (128, 128)}
    assert (run.path / done.FILE).read_bytes() == classifier.read_bytes()
    gone = config_of(tmp_path / "gone.safetensors")
    again = done.judge_of(run, gone)
    assert again is not None and again.about == judged.about
    assert done.judge_of(run, replace(config, success="geometry")) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"success": "nowhere.safetensors"}, "cannot read nowhere.safetensors: no such file"),
        ({"task": "peg_insert"}, "is reach, expected peg_insert, the run's"),
        ({"cameras": ("front_camera",)}, "wrist_camera 128x128, the cell gives front_camera"),
    ],
)
def test_a_classifier_that_does_not_fit_is_refused_before_anything_starts(
    classifier, changes, said, tmp_path, capsys
):
    config = config_of(classifier, **changes)
    settings = [f"--set={name}={getattr(config, name)}" for name in ("task", "plant", "success")]
    settings.append(f"--set=cameras=[{','.join(config.cameras)}]")
    assert cli.main(["train", "--no-film", "--runs", str(tmp_path / "runs"), *settings]) == 2
    err = capsys.readouterr().err.strip()
    assert said in err and "\n" not in err and not (tmp_path / "runs").exists()


def test_every_episode_looks_through_the_cameras_of_a_classifier_and_films_as_before(classifier):
    config = config_of(classifier, pictures=())
    for kind in configs.KINDS:
        assert config.looks_through(kind) == config.cameras and not config.films(kind)
    assert replace(config, success="geometry").looks_through("practice") == ()
    with pytest.raises(BadValue, match="cameras is .*, expected at least one with success="):
        replace(config, cameras=())


def test_a_folder_without_labels_is_one_line(episodes, tmp_path, capsys):
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(episode_paths(episodes)[0], bare)
    assert run("train", bare, "--out", tmp_path / "x.safetensors") == 2
    assert "no labelled episodes in" in capsys.readouterr().err


def test_an_episode_scored_at_training_is_scored_alike_at_work(episodes, classifier):
    """Calibration and serving are one: the whole episode through Success.is_done."""
    found = judge.load(classifier, trunks.load)
    path = episode_paths(episodes)[1]
    marks = labels.load(episodes)
    assert marks is not None
    recorded = judging.read((path, marks.frames[path.name]), print)
    judged: Judged = judging.judge(found, recorded)
    served = found.with_about(threshold=float(np.median(judged.scores)))
    calls = judged.calls(served.about.needed, served.about.of) > served.about.threshold
    success = judge.Success(served)
    success.begin()
    at_work = [
        success.is_done(
            {name: values[t] for name, values in recorded.terms.items()},
            {name: values[t] for name, values in recorded.episode.pictures.items()},
        )
        for t in range(1, 51)
    ]
    assert at_work == calls.tolist() and 0 < sum(at_work) < 50
