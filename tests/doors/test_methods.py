"""Methods that only imitate: `train` runs them to their end, also after a kill, and it is the same end."""

import pytest

from benchmarks import resume
from benchmarks.resume import Kill
from robostack import cli
from robostack import config as configs
from robostack.config import RunConfig
from robostack.core.errors import UnknownName
from robostack.learn import policy as policies
from robostack.store import params
from robostack.store.run import Run, read_json
from robostack.study.ledger import lines

SMALL = (
    "learner.widths=[16,16]", "learner.batch=16", "learner.trunk=none", "cloning=60", "steps=150",
    "evaluation=2", "pictures=[]", "checkpoint_every=0.05", "capacity=1000",
)  # fmt: skip
CAMERAS = ("observe=cameras", "cameras=[front_camera]", "learner.eye_width=8", "demonstrations=2")


def kinds(run: Run) -> list[str]:
    return list(dict.fromkeys(line.kind for line in lines(run.episodes)))


def network(run: Run):
    return policies.network_of(params.load(params.path_of(run.params, 0)))


@pytest.mark.parametrize(
    ("method", "settings", "kind"),
    [
        ("bc", (), "gaussian"),
        pytest.param("bc", CAMERAS, "gaussian", marks=pytest.mark.slow),
        pytest.param("flow", ("learner.flow.horizon=4",), "flow", marks=pytest.mark.slow),
        pytest.param("flow", CAMERAS, "flow", marks=pytest.mark.slow),
    ],
)
def test_a_clone_is_shown_judged_and_examined_and_ends_the_same_when_it_was_killed(
    tmp_path, method, settings, kind
):
    wanted = (f"method={method}", *SMALL, *settings)
    whole = resume.begin(tmp_path / "whole", *wanted)
    resume.play(whole)
    assert kinds(whole) == ["demonstration", "solo", "validation", "evaluation"]
    assert params.versions(whole.params) == [0] and network(whole).kind == kind
    told = read_json(whole.path / "learner.json")
    assert told["learner_steps"] == 60 and told["episodes"] == 0  # of demonstrations alone
    kills = (Kill(("actor",), 1, 0.0), Kill(("learner", "actor"), 5, 0.1))
    killed = resume.begin(tmp_path / "killed", *wanted)
    resume.play(killed, kills)
    assert resume.differences(whole, killed) == []


@pytest.mark.slow
def test_hg_dagger_practises_with_a_person_and_goes_on_where_it_was_killed(tmp_path):
    wanted = ("method=hg_dagger", *SMALL, "person.patience=2")
    whole = resume.begin(tmp_path / "whole", *wanted)
    resume.play(whole)
    played = lines(whole.episodes)
    assert {"practice", "solo"} <= set(kinds(whole))
    assert sum(line.person_steps for line in played if line.kind == "practice") > 0
    assert not network(whole).explores
    killed = resume.begin(tmp_path / "killed", *wanted)
    first = kinds(whole).index("practice") and [line.kind for line in played].index("practice")
    resume.play(killed, (Kill(("learner", "actor"), first + 2, 0.0),))
    assert resume.differences(whole, killed) == []


def test_a_method_that_is_not_known_is_refused_with_those_that_are(tmp_path, capsys):
    with pytest.raises(
        UnknownName, match='no method "dagger"; there are: bc, flow, hg_dagger, sac'
    ):
        configs.override(RunConfig(), ["method=dagger"])
    assert cli.main(["train", "--set", "method=dagger", "--runs", str(tmp_path)]) == 2
    assert "\n" not in capsys.readouterr().err.strip() and not list(tmp_path.iterdir())


@pytest.mark.parametrize("method", ["bc", "flow", "hg_dagger"])
def test_the_ratio_is_chosen_only_where_a_critic_has_a_held_out_error(method):
    with pytest.raises(configs.BadValue, match="ratio.mode is rule, expected fixed with method"):
        configs.override(RunConfig(), [f"method={method}", "ratio.mode=rule"])
    chosen = configs.override(RunConfig(), ["ratio.mode=bandit", "ratio.arms=[1,4]"])
    assert configs.from_dict(configs.as_dict(chosen)) == chosen


@pytest.mark.parametrize("setting", ["learner.flow.horizon=0", "cloning=-1"])
def test_impossible_choices_name_their_field(setting):
    with pytest.raises(configs.BadValue, match=setting.split(".")[-1].split("=")[0]):
        configs.override(RunConfig(), [setting])


def test_a_run_is_named_after_a_method_that_is_not_the_usual_one():
    assert RunConfig(task="reach", method="bc").name == "reach-fr3-bc-s0"
    assert RunConfig(task="reach").name == "reach-fr3-s0"
