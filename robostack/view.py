"""The one terminal view of long work: what happens, how well, how fast, how long still."""

from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from robostack.config import RunConfig
from robostack.core import clock

PHASES = {  # phase -> (what a person reads, weight in the bar's order)
    "starting": "starting the cell",
    "demonstrations": "the person demonstrates",
    "fill": "the policy to begin with, as it is",
    "practice": "practice, the person corrects",
    "check": "check: the policy alone",
    "validation": "choosing the best version",
    "evaluation": "examination: alone, on fresh seeds",
    "done": "done",
}


@dataclass
class Speed:
    """Progress per second of one phase, for the time left."""

    phase: str = ""
    start: float = 0.0
    first: float = 0.0

    def left(self, phase: str, done: float, total: float) -> str:
        if phase != self.phase:
            self.phase, self.start, self.first = phase, clock.now(), done
        elapsed, gained = clock.now() - self.start, done - self.first
        if gained <= 0 or elapsed < 3.0:
            return "–"
        return _minutes((total - done) * elapsed / gained)


class View:
    """Owns the terminal while a run goes on. Falls back to a line now and then where there is no terminal."""

    def __init__(self, config: RunConfig, console: Console | None = None):
        self._config = config
        self.console = console or Console()
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(None),
            TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[unit]}"),
            TimeElapsedColumn(),
            console=self.console,
        )
        self._task = self._bar.add_task(PHASES["starting"], total=1, unit="")
        self._live = Live(console=self.console, refresh_per_second=4, transient=False)
        self._speed, self._said, self._phase = Speed(), 0.0, ""

    def __enter__(self) -> "View":
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def say(self, line: str) -> None:
        """A line that stays, above the view."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def show(self, actor: dict[str, Any], learner: dict[str, Any]) -> None:
        """Draws what actor.json and learner.json say."""
        phase = actor.get("phase", "starting")
        done, total, unit = self._amount(phase, actor)
        left = self._speed.left("practice" if phase == "check" else phase, done, total)
        numbers = _numbers(actor, learner, left)
        if self.console.is_terminal:
            self._bar.update(
                self._task,
                description=PHASES.get(phase, phase),
                completed=done,
                total=total,
                unit=unit,
            )
            self._live.update(Group(self._bar, _table(numbers)))
        elif phase != self._phase or clock.now() - self._said > 15.0:
            self._said = clock.now()
            told = "  ".join(f"{name} {value}" for name, value in numbers.items() if value != "–")
            self.console.print(
                f"{PHASES.get(phase, phase)}: {done:.0f}/{total:.0f} {unit}  {told}", soft_wrap=True
            )
        self._phase = phase

    def _amount(self, phase: str, actor: dict[str, Any]) -> tuple[float, float, str]:
        config = self._config
        if phase in ("practice", "check"):
            return actor.get("steps", 0), config.steps, "steps at most"
        if phase == "demonstrations":
            return actor.get("episodes", 0), config.demonstrations, "episodes"
        if phase == "fill":
            return actor.get("episodes", 0), config.start.fill, "episodes"
        if phase == "evaluation":
            return actor.get("evaluated", 0), config.evaluation, "episodes"
        return (1, 1, "") if phase == "done" else (0, 1, "")


def _numbers(actor: dict[str, Any], learner: dict[str, Any], left: str) -> dict[str, str]:
    checks = actor.get("checks", [])
    last = checks[-1] if checks else None
    return {
        "success, last 20": _rate(actor.get("success", [])),
        "without the person": _rate(actor.get("unaided", [])),
        "last check alone": f"{last['successes']}/{last['episodes']}" if last else "–",
        "person's share of steps": f"{100 * actor.get('person_share', 0.0):.0f} %",
        "learner steps/s": f"{learner.get('steps_per_second', 0.0):.3g}",
        "critic updates": f"{learner.get('critic_updates', 0)}",
        "learner steps per step": f"{learner.get('updates_per_step', 0.0):.2f}" + _now(learner),
        "tick lateness p99": f"{1e3 * actor.get('lateness_p99', 0.0):.1f} ms",
        "time left at most": left,
    }


def _now(learner: dict[str, Any]) -> str:
    """What the ratio is now, where it is chosen from what was held out."""
    if "held_out_error" not in learner:
        return ""
    return f", now {learner['ratio']:g} (held-out error {learner['held_out_error']:.2g})"


def _table(numbers: dict[str, str]) -> Table:
    table = Table.grid(padding=(0, 3))
    items = list(numbers.items())
    for start in range(0, len(items), 3):
        table.add_row(*(f"[dim]{name}[/] {value}" for name, value in items[start : start + 3]))
    return table


def _rate(wins: list[bool]) -> str:
    return f"{100 * sum(wins) / len(wins):.0f} %" if wins else "–"


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
