"""Door `list`: robots and tasks, with their options and the terms a policy sees."""

import argparse
from dataclasses import asdict

from robostack.core import catalog, observe


def main(argv: list[str] | None = None) -> int:
    """Prints the catalog."""
    parser = argparse.ArgumentParser(prog="robostack list", description=__doc__)
    parser.parse_args(argv)
    print("robots")
    for name in catalog.robots():
        robot = catalog.robot(name)
        print(
            f"  {name:<12}{robot.title}, {len(robot.joints)} joints, tool frame {robot.tool_frame}"
        )
    print("\ntasks")
    for name in catalog.tasks():
        task = catalog.task(name)
        spec = observe.spec_of(task)
        print(f"  {name:<12}done when {task.title}; {1 / task.period:g} Hz, {task.steps} steps")
        options = ", ".join(f"{key}={value:g}" for key, value in asdict(task.options).items())
        print(f"    options   {options}")
        for kind, terms in (("sees", spec.observation), ("does", spec.action)):
            for term in terms:
                frame = f", frame: {term.frame}" if term.frame else ""
                print(f"    {kind:<10}{term.name:<16}({term.size}) {term.unit}{frame}")
    return 0
