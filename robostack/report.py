"""What a run leaves for people: a learning curve, a film, and a page that holds both."""

import base64
import html
import io
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from robostack.config import RunConfig
from robostack.learn import policy as policies
from robostack.store import params
from robostack.store.disk import write_whole
from robostack.store.run import Run, read_json
from robostack.study.ledger import Line, lines
from robostack.study.statistics import rolling_mean, wilson

matplotlib.use("Agg")  # no display needed
from matplotlib import pyplot as plt

WINDOW = 20  # episodes a rate is taken over
BLUE, ORANGE, GREEN, GREY = "#2b6cb0", "#dd6b20", "#2f855a", "#718096"


def write(run: Run, config: RunConfig, with_film: bool = True) -> dict[str, Any]:
    """Writes learning_curve.png, evaluation.mp4 and report.html; returns the numbers in it.

    The page comes first and whole: a film that fails (Unavailable) leaves everything else in place.
    """
    ledger = lines(run.episodes)
    actor = read_json(run.path / "actor.json", {})
    learner = read_json(run.path / "learner.json", {})
    numbers = summary(ledger, actor, learner)
    draw_curve(run.path / "learning_curve.png", ledger, actor.get("checks", []), config)
    page = _page(run, config, numbers, ledger, actor, film_name=None)
    write_whole(run.path / "report.html", page.encode())
    if with_film and params.pinned_version(run.params) >= 0:
        name = _film(run, config, ledger)
        page = _page(run, config, numbers, ledger, actor, film_name=name)
        write_whole(run.path / "report.html", page.encode())
    return numbers


def summary(ledger: list[Line], actor: dict, learner: dict) -> dict[str, Any]:
    """The numbers people ask for."""
    exam = [line for line in ledger if line.kind == "evaluation"]
    practice = [line for line in ledger if line.kind in ("practice", "solo")]
    wins = sum(line.is_success for line in exam)
    low, high = wilson(wins, len(exam))
    seconds = [line.steps for line in exam if line.is_success]
    return {
        "evaluation_successes": wins,
        "evaluation_episodes": len(exam),
        "wilson_low": low,
        "wilson_high": high,
        "median_steps": float(np.median(seconds)) if seconds else None,
        "practice_steps": sum(line.steps for line in practice),
        "practice_episodes": len(practice),
        "demonstrations": sum(line.kind == "demonstration" for line in ledger),
        "person_steps": sum(line.person_steps for line in practice),
        "guarded_steps": sum(line.held for line in practice),
        "learner_steps": learner.get("learner_steps", 0),
        "critic_updates": learner.get("critic_updates", 0),
        "ratio": learner.get("ratio"),
        "held_out_error": learner.get("held_out_error"),
        "training_seconds": actor.get("training_seconds"),
        "lateness_p99": max((line.lateness_p99 for line in practice), default=0.0),
    }


def draw_curve(path: Path, ledger: list[Line], checks: list[dict], config: RunConfig) -> None:
    """Success and the person's share against control steps of practice."""
    trained = [line for line in ledger if line.kind in ("practice", "solo")]
    at_steps = np.cumsum([line.steps for line in trained])
    practice = [line for line in trained if line.kind == "practice"]
    figure, axes = plt.subplots(figsize=(8, 4.2), dpi=110, layout="constrained")
    axes.set(xlabel="control steps of practice and checks", ylabel="rate", ylim=(-0.03, 1.05))
    axes.set_title(f"{config.task} on {config.robot}, seed {config.seed}")
    axes.grid(alpha=0.25)
    if practice:
        # Checks cost steps too, so the curve pauses where they stand.
        steps = at_steps[[line.kind == "practice" for line in trained]]
        success = rolling_mean(np.array([line.is_success for line in practice]), WINDOW)
        share = rolling_mean(
            np.array([line.person_steps / max(1, line.steps) for line in practice]), WINDOW
        )
        axes.plot(steps, success, color=BLUE, alpha=0.5, label=f"practice, last {WINDOW} episodes")
        axes.fill_between(
            steps, 0, share, color=ORANGE, alpha=0.3, label="person's share of steps", lw=0
        )
        alone = [
            (at, line.is_success)
            for at, line in zip(steps, practice, strict=True)
            if not line.person_steps and not line.guide_steps
        ]
        if alone:
            at, wins = zip(*alone, strict=True)
            axes.plot(
                at,
                rolling_mean(np.array(wins), WINDOW),
                color=GREY,
                ls="--",
                lw=1,
                label="… those without help",
            )
    if checks:
        at = [check["steps"] for check in checks]
        rate = np.array([check["successes"] / check["episodes"] for check in checks])
        bounds = np.array([wilson(check["successes"], check["episodes"]) for check in checks])
        error = np.abs(bounds.T - rate)
        axes.errorbar(
            at,
            rate,
            error,
            color=GREEN,
            marker="o",
            ms=4,
            lw=1.8,
            capsize=2,
            label="policy alone (95 %)",
        )
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", fontsize=8, framealpha=0.9)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    write_whole(path, drawn.getvalue())
    plt.close(figure)


def _film(run: Run, config: RunConfig, ledger: list[Line]) -> str:
    from robostack.film import film  # opens a GL context; only where a film is wanted

    task = config.load_task()
    version = params.pinned_version(run.params)
    policy = policies.load(params.path_of(run.params, version), config.spec())
    path, draft = run.path / "evaluation.mp4", run.path / ".evaluation.mp4"
    exam = [line for line in ledger if line.kind == "evaluation"]
    failed = [line.seed for line in exam if not line.is_success]
    # Failures are what one wants to see; then the first of the others.
    seeds = (failed[:2] + [line.seed for line in exam if line.is_success])[:5]
    seeds = seeds or [0, 1, 2]
    views = config.spec().views
    film(draft, task, config.load_robot(), lambda: policy, seeds, config.noise, views)
    draft.replace(path)
    return path.name


def verdict(numbers: dict[str, Any]) -> str:
    """One sentence: what was learned and how sure that is."""
    wins, trials = numbers["evaluation_successes"], numbers["evaluation_episodes"]
    if not trials:
        return "not examined yet"
    low, high = 100 * numbers["wilson_low"], 100 * numbers["wilson_high"]
    return f"alone, on fresh seeds: {wins} of {trials} succeed (95 % interval {low:.1f} to {high:.1f} %)"


def _ratio(numbers: dict[str, Any]) -> str:
    """Learner steps per control step at the end, and what they were chosen by."""
    if numbers["ratio"] is None:
        return "–"
    error = numbers["held_out_error"]
    chosen = "" if error is None else f", chosen; held-out error {error:.2g}"
    return f"{numbers['ratio']:g} learner steps per control step{chosen}"


def _page(
    run: Run,
    config: RunConfig,
    numbers: dict,
    ledger: list[Line],
    actor: dict,
    film_name: str | None,
) -> str:
    task = config.load_task()
    curve = base64.b64encode((run.path / "learning_curve.png").read_bytes()).decode()
    share = 100 * numbers["person_steps"] / max(1, numbers["practice_steps"])
    rows = {
        "Success means": task.title,
        "Person": f"{numbers['demonstrations']} demonstrations, then {numbers['person_steps']} of "
        f"{numbers['practice_steps']} practice steps ({share:.0f} %)",
        "Practice": f"{numbers['practice_episodes']} episodes",
        "Training took": minutes(numbers["training_seconds"]),
        "Updates": f"{numbers['learner_steps']} learner steps, {numbers['critic_updates']} critic updates",
        "Updates per step": _ratio(numbers),
        "A success takes": f"{numbers['median_steps'] * task.period:.1f} s (median)"
        if numbers["median_steps"]
        else "–",
        "Guard acted": f"in {numbers['guarded_steps']} of {numbers['practice_steps']} practice steps",
        "Tick lateness": f"{1e3 * numbers['lateness_p99']:.1f} ms (99th percentile, worst episode)",
        "Served version": str(params.pinned_version(run.params)),
        "Folder": str(run.path),
    }
    facts = "".join(f"<tr><th>{html.escape(k)}<td>{html.escape(v)}" for k, v in rows.items())
    checks = "".join(
        f"<tr><td>{c['steps']}<td>{c['version']}<td>{c['successes']}/{c['episodes']}<td>{c['length']:.0f}"
        f"<td>{c.get('validation', '–')}"
        for c in actor.get("checks", [])
    )
    failed = [line.seed for line in ledger if line.kind == "evaluation" and not line.is_success]
    failures = ", ".join(map(str, failed)) or "none"
    film = (
        f'<h2>Film</h2><video controls muted loop autoplay src="{film_name}"></video>'
        "<p>Episodes of the examination, seen by each camera; failures first.</p>"
        if film_name
        else ""
    )
    versions = html.escape(
        ", ".join(f"{k} {v}" for k, v in read_json(run.path / "versions.json", {}).items())
    )
    return f"""<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>{html.escape(config.name)}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #1a202c; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
h1 {{ margin-bottom: 0 }} .verdict {{ font-size: 1.25rem; color: {GREEN}; margin-top: .3rem }}
table {{ border-collapse: collapse }} th {{ text-align: left; font-weight: 600 }}
th, td {{ padding: .25rem 1.2rem .25rem 0; border-bottom: 1px solid #e2e8f0; vertical-align: top }}
img, video {{ width: 100%; border: 1px solid #e2e8f0; border-radius: 6px }} small {{ color: {GREY} }}
</style>
<h1>{html.escape(config.task)} on {html.escape(config.robot)}</h1>
<p class="verdict">{html.escape(verdict(numbers))}</p>
<table>{facts}</table>
<h2>Learning curve</h2><img alt="learning curve" src="data:image/png;base64,{curve}">
{film}
<h2>Checks of the policy alone</h2>
<table><tr><th>practice steps<th>version<th>successes<th>mean steps
<th>validation, of {config.validation}{checks}</table>
<p>Seeds that failed in the examination: {failures}</p>
<p><small>{versions}; seed {config.seed}</small></p></html>
"""


def minutes(seconds: float | None) -> str:
    """A duration as people say it."""
    return "–" if seconds is None else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
