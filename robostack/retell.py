"""Door `report`: makes a run's learning curve, film and page again, and says what was learned."""

import argparse
import sys
from pathlib import Path

from robostack import config as configs
from robostack import report
from robostack.config import RunConfig
from robostack.core.errors import Unavailable
from robostack.store.run import Run


def main(argv: list[str] | None = None) -> int:
    """Works on finished runs, and on others as far as they got."""
    parser = argparse.ArgumentParser(prog="robostack report", description=__doc__)
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("--no-film", action="store_true", help="only the curve and the page")
    arguments = parser.parse_args(argv)
    run = Run.open(arguments.run)
    tell(run, configs.from_dict(run.config), with_film=not arguments.no_film)
    return 0


def tell(run: Run, config: RunConfig, with_film: bool) -> None:
    """Writes the report and prints a run's last lines. A film that cannot be made costs one line, not the verdict."""
    try:
        numbers = report.write(run, config, with_film)
    except Unavailable as error:
        if not with_film:
            raise
        numbers = report.write(run, config, with_film=False)
        print(f"no film: {error}", file=sys.stderr)
    _say(run, config, numbers)


def _say(run: Run, config: RunConfig, numbers: dict) -> None:
    """What was learned, how sure that is, where to look."""
    seconds = numbers["training_seconds"]
    did = (
        f"learned {config.task} in {report.minutes(seconds)}"
        if seconds
        else f"is still learning {config.task}"
    )
    print(
        f"\n{config.robot} {did}: {numbers['demonstrations']} demonstrations, "
        f"{numbers['practice_steps']} steps of practice, "
        f"{numbers['person_steps']} of them by the person."
    )
    print(report.verdict(numbers).capitalize() + ".")
    print(f"Look at {run.path / 'report.html'}; policy again: robostack evaluate {run.path}")
