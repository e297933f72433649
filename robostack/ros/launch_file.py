"""The part of ROS 2's XML launch files that ours use, read without the launch packages, which pip does not have.

arg, node, param, remap, group, include, push_ros_namespace, if/unless; $(var), $(env), $(dirname), $(find-pkg-share).
Anything else is refused by name, file and line: a launch file that is half understood moves the wrong arm.
"""

import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from robostack.core.errors import BadValue, UnknownName
from robostack.ros import environment
from robostack.ros.launch_xml import TRUTH, Element, Reader, Scope, parse

TYPES = {"str": str, "int": int, "float": float, "bool": lambda text: TRUTH[text.lower()]}


@dataclass(frozen=True)
class Argument:
    """An argument that a launch file takes; without a default it must be given."""

    name: str
    default: str | None
    description: str


@dataclass(frozen=True)
class NodeStart:
    """A node to start, everything resolved. `settings`: its parameters and remappings as ROS arguments, in order."""

    name: str
    namespace: str
    package: str
    executable: str
    arguments: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    def command(self) -> list[str]:
        """The process to run. Raises UnknownName when the executable is not installed."""
        ros = ["--ros-args", *self.settings, "-r", f"__node:={self.name}"]
        ros += ["-r", f"__ns:={self.namespace or '/'}"]
        return [*find_executable(self.package, self.executable), *self.arguments, *ros]


def load(path: Path, given: Mapping[str, str]) -> list[NodeStart]:
    """The nodes that `path` starts with these arguments. Raises BadValue or UnknownName with file and line."""
    return _load(path, given)


def _load(
    path: Path, given: Mapping[str, str], namespace: str = "", outer: tuple[Path, ...] = ()
) -> list[NodeStart]:
    root = parse(path)
    known = [
        element.attributes.get("name", "") for element in root.children if element.tag == "arg"
    ]
    for name in given:
        if name not in known:
            raise UnknownName("argument", name, known, str(path))
    return _run(root, Scope(path, dict(given), namespace, outer))


def arguments(path: Path) -> list[Argument]:
    """What `path` takes, outermost arguments only."""
    taken = [child.attributes for child in parse(path).children if child.tag == "arg"]
    return [Argument(a.get("name", ""), a.get("default"), a.get("description", "")) for a in taken]


def find_executable(package: str, name: str) -> list[str]:
    """How to run a package's executable: ours with this interpreter, others as they are."""
    if package == "robostack":
        if path := environment.executable(name):
            return [sys.executable, str(path)]
    else:
        for prefix in environment.prefixes():
            if (path := prefix / "lib" / package / name).is_file():
                return [str(path)]
    places = ", ".join(str(prefix / "lib" / package) for prefix in environment.prefixes())
    raise UnknownName("executable", name, [], f"looked in {places}")


def _run(parent: Element, scope: Scope) -> list[NodeStart]:
    """The nodes of an element's children; a group's arguments and namespace end with it."""
    scope, nodes = replace(scope, variables=dict(scope.variables)), []
    for element in parent.children:
        read = Reader(element, scope)
        if not read.is_wanted:
            continue
        match element.tag:
            case "arg":
                scope.variables[read("name")] = _argument(element, read, scope)
            case "push_ros_namespace" | "push-ros-namespace":
                scope = replace(scope, namespace=_join(scope.namespace, read("namespace")))
            case "group":
                nodes += _run(element, scope)
            case "include":
                nodes += _include(element, Path(read("file")), scope)
            case "node":
                nodes.append(_node(element, read, scope))
    return nodes


def _include(element: Element, file: Path, scope: Scope) -> list[NodeStart]:
    chain = (*scope.outer, scope.file)
    if file.resolve() in [path.resolve() for path in chain]:
        names = " > ".join(path.name for path in (*chain, file))
        raise BadValue(f"{element.place}: a launch file includes itself: {names}")
    readers = [Reader(child, scope) for child in element.children]
    passed = {child("name"): child("value") for child in readers}
    return _load(file, passed, scope.namespace, chain)


def _argument(element: Element, read: Reader, scope: Scope) -> str:
    name = read("name")
    if name in scope.variables:
        return scope.variables[name]
    if "default" not in element.attributes:
        raise BadValue(f"{element.place}: argument {name} must be given: {name}:=value")
    return read("default")


def _node(element: Element, read: Reader, scope: Scope) -> NodeStart:
    settings: list[str] = []
    for child in element.children:
        get = Reader(child, scope)
        if child.tag == "remap":
            settings += ["-r", f"{get('from')}:={get('to')}"]
        elif "from" in child.attributes:
            settings += ["--params-file", get("from")]
        else:
            settings += ["-p", f"{get('name')}:={json.dumps(_value(child, get))}"]
    return NodeStart(
        name=read("name", read("exec")),
        namespace=_join(scope.namespace, read("namespace", "")),
        package=read("pkg"),
        executable=read("exec"),
        arguments=tuple(shlex.split(read("args", ""))),
        settings=tuple(settings),
    )


def _value(element: Element, read: Reader) -> Any:
    """A parameter's value, by its type where one is named, else by its look."""
    text, kind = read("value"), read("type", "")
    if not kind:
        try:
            return TRUTH[text.lower()] if text.isalpha() else json.loads(text)
        except (ValueError, KeyError):
            return text
    if kind not in TYPES:
        raise UnknownName("type", kind, TYPES, element.place)
    try:
        return TYPES[kind](text)
    except (ValueError, KeyError):
        name = read("name")
        raise BadValue(f'{element.place}: parameter {name} is "{text}", expected {kind}') from None


def _join(namespace: str, name: str) -> str:
    if name.startswith("/") or not name:
        return (name or namespace).rstrip("/")
    return f"{namespace}/{name}"
