"""Robots and tasks by name. A folder with the right constant is in the catalog; nothing registers itself."""

import pkgutil
from importlib import import_module
from types import ModuleType
from typing import TypeVar

from robostack.core.errors import RobostackError, UnknownName
from robostack.core.robot import Robot
from robostack.core.task import Task

Kind = TypeVar("Kind")


def _names(room: str) -> list[str]:
    package = import_module(f"robostack.{room}")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__) if module.ispkg)


def _load(room: str, kind: str, name: str) -> ModuleType:
    if name not in (valid := _names(room)):
        raise UnknownName(kind, name, valid, f"folders of {room}/")
    return import_module(f"robostack.{room}.{name}")


def robots() -> list[str]:
    """Names of all robots."""
    return _names("robots")


def tasks() -> list[str]:
    """Names of all tasks."""
    return _names("tasks")


def robot(name: str) -> Robot:
    """The robot in robots/<name>. Raises UnknownName with the valid ones."""
    return _constant(_load("robots", "robot", name), "ROBOT", Robot)


def task(name: str, **options: float) -> Task:
    """The task in tasks/<name>, with options changed. Raises UnknownName or BadValue."""
    found = _constant(_load("tasks", "task", name), "TASK", Task)
    return found.with_options(**options) if options else found


def _constant(module: ModuleType, name: str, kind: type[Kind]) -> Kind:
    value = getattr(module, name, None)
    if not isinstance(value, kind):
        raise RobostackError(
            f"{module.__name__} defines no {name} of type {kind.__name__}; see docs/architecture.md"
        )
    return value
