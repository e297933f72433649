"""The part of ROS 2's XML launch files that ours use, read without the launch packages, which pip does not have.

arg, node, param, remap, group, include, push_ros_namespace, if/unless; $(var), $(env), $(dirname), $(find-pkg-share).
Anything else is refused by name, file and line: a launch file that is half understood moves the wrong arm.
"""

import json
import os
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from xml.parsers import expat

from robostack.core.errors import BadValue, UnknownName
from robostack.ros import environment

SUBSTITUTION = re.compile(r"\$\(([^()]*)\)")
TRUTH = {"true": True, "1": True, "false": False, "0": False}
TYPES = {"str": str, "int": int, "float": float, "bool": lambda text: TRUTH[text.lower()]}
ATTRIBUTES = {  # element -> what it may carry, all of it understood below
    "launch": "",
    "arg": "name default description value",
    "node": "pkg exec name namespace args output if unless",
    "param": "name value type from",
    "remap": "from to",
    "group": "if unless",
    "push_ros_namespace": "namespace",
    "push-ros-namespace": "namespace",
    "include": "file if unless",
}
CHILDREN = {
    "launch": "arg node group include push_ros_namespace push-ros-namespace",
    "group": "arg node group include push_ros_namespace push-ros-namespace",
    "node": "param remap",
    "include": "arg",
}


@dataclass(frozen=True)
class Argument:
    """An argument that a launch file takes; without a default it must be given."""

    name: str
    default: str | None
    description: str


@dataclass(frozen=True)
class NodeStart:
    """A node to start, everything resolved."""

    name: str
    namespace: str
    package: str
    executable: str
    arguments: tuple[str, ...] = ()
    settings: tuple[
        str, ...
    ] = ()  # ROS arguments for parameters and remappings, in the file's order

    def command(self) -> list[str]:
        """The process to run. Raises UnknownName when the executable is not installed."""
        ros = ["--ros-args", *self.settings, "-r", f"__node:={self.name}"]
        ros += ["-r", f"__ns:={self.namespace or '/'}"]
        return [*find_executable(self.package, self.executable), *self.arguments, *ros]


@dataclass
class _Element:
    tag: str
    attributes: dict[str, str]
    place: str  # file:line
    children: list["_Element"] = field(default_factory=list)


@dataclass(frozen=True)
class _Scope:
    file: Path
    variables: dict[str, str]
    namespace: str = ""


def load(path: Path, given: Mapping[str, str]) -> list[NodeStart]:
    """The nodes that `path` starts with these arguments. Raises BadValue or UnknownName with file and line."""
    known = {argument.name for argument in arguments(path)}
    for name in given:
        if name not in known:
            raise UnknownName("argument", name, known, str(path))
    return _load(path, given, "")


def arguments(path: Path) -> list[Argument]:
    """What `path` takes, outermost arguments only."""
    taken = [child for child in _parse(path).children if child.tag == "arg"]
    return [
        Argument(
            *(a.attributes.get(key) for key in ("name", "default")),
            a.attributes.get("description", ""),
        )  # type: ignore[arg-type]
        for a in taken
    ]


def find_executable(package: str, name: str) -> list[str]:
    """How to run a package's executable: ours with this interpreter, others as they are."""
    if package == "robostack":
        if path := environment.executable(name):
            return [sys.executable, str(path)]
    else:
        for prefix in environment.prefixes():
            if (path := prefix / "lib" / package / name).is_file():
                return [str(path)]
    raise UnknownName(
        "executable",
        name,
        [],
        f"lib/{package} of {os.pathsep.join(map(str, environment.prefixes()))}",
    )


def _load(path: Path, given: Mapping[str, str], namespace: str) -> list[NodeStart]:
    return _run(_parse(path), _Scope(path, dict(given), namespace))


def _run(parent: _Element, scope: _Scope) -> list[NodeStart]:
    """The nodes of an element's children; a group's arguments and namespace end with it."""
    scope, nodes = replace(scope, variables=dict(scope.variables)), []
    for element in parent.children:
        get = _reader(element, scope)
        if not _is_wanted(element, get):
            continue
        match element.tag:
            case "arg":
                scope.variables[get("name")] = _argument(element, get, scope)
            case "push_ros_namespace" | "push-ros-namespace":
                scope = replace(scope, namespace=_join(scope.namespace, get("namespace")))
            case "group":
                nodes += _run(element, scope)
            case "include":
                passed = {}
                for child in element.children:
                    read = _reader(child, scope)
                    passed[read("name")] = read("value")
                nodes += _load(Path(get("file")), passed, scope.namespace)
            case "node":
                nodes.append(_node(element, get, scope))
    return nodes


def _argument(element: _Element, get, scope: _Scope) -> str:
    name = get("name")
    if name in scope.variables:
        return scope.variables[name]
    if "default" not in element.attributes:
        raise BadValue(f"{element.place}: argument {name} must be given: {name}:=value")
    return get("default")


def _node(element: _Element, get, scope: _Scope) -> NodeStart:
    settings: list[str] = []
    for child in element.children:
        read = _reader(child, scope)
        if child.tag == "remap":
            settings += ["-r", f"{read('from')}:={read('to')}"]
        elif "from" in child.attributes:
            settings += ["--params-file", read("from")]
        else:
            settings += ["-p", f"{read('name')}:={json.dumps(_value(child, read))}"]
    return NodeStart(
        name=get("name", get("exec")),
        namespace=_join(scope.namespace, get("namespace", "")),
        package=get("pkg"),
        executable=get("exec"),
        arguments=tuple(shlex.split(get("args", ""))),
        settings=tuple(settings),
    )


def _value(element: _Element, read) -> Any:
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
        raise BadValue(
            f'{element.place}: parameter {read("name")} is "{text}", expected {kind}'
        ) from None


def _is_wanted(element: _Element, get) -> bool:
    for name, wanted in (("if", True), ("unless", False)):
        if name in element.attributes:
            text = get(name).strip().lower()
            if text not in TRUTH:
                raise BadValue(f'{element.place}: {name}="{text}", expected true, false, 1 or 0')
            if TRUTH[text] != wanted:
                return False
    return True


def _join(namespace: str, name: str) -> str:
    if name.startswith("/") or not name:
        return (name or namespace).rstrip("/")
    return f"{namespace}/{name}"


def _reader(element: _Element, scope: _Scope):
    """Reads the element's attributes, substitutions done."""

    def get(name: str, default: str | None = None) -> str:
        if name not in element.attributes:
            if default is None:
                raise BadValue(f"{element.place}: <{element.tag}> needs {name}")
            return default
        return SUBSTITUTION.sub(
            lambda m: _substitute(m[1], element, scope), element.attributes[name]
        )

    return get


def _substitute(text: str, element: _Element, scope: _Scope) -> str:
    word, *rest = shlex.split(text) or [""]
    match word, rest:
        case "var", [name]:
            if name not in scope.variables:
                raise UnknownName("argument", name, scope.variables, element.place)
            return scope.variables[name]
        case "env", [name, *default] if len(default) < 2:
            if name not in os.environ and not default:
                raise BadValue(f"{element.place}: environment variable {name} is not set")
            return os.environ.get(name, *default)  # type: ignore[return-value]
        case "dirname", []:
            return str(scope.file.resolve().parent)
        case "find-pkg-share", [package]:
            return str(_share_of(package, element))
    raise UnknownName(
        "substitution", text, ["var", "env", "dirname", "find-pkg-share"], element.place
    )


def _share_of(package: str, element: _Element) -> Path:
    if package == "robostack" and (environment.CHECKOUT / "launch").is_dir():
        return environment.CHECKOUT
    for prefix in environment.prefixes():
        if (path := prefix / "share" / package).is_dir():
            return path
    raise UnknownName("package", package, [], f"{element.place}; is it installed and sourced?")


def _parse(path: Path) -> _Element:
    """The file as elements that know their line; every element and attribute is one of ours."""
    stack: list[_Element] = []
    roots: list[_Element] = []
    parser = expat.ParserCreate()

    def start(tag: str, attributes: dict[str, str]) -> None:
        place = f"{path}:{parser.CurrentLineNumber}"
        valid = CHILDREN.get(stack[-1].tag, "").split() if stack else ["launch"]
        if tag not in valid:
            raise UnknownName("element", tag, valid, place)
        for name in attributes:
            if name not in ATTRIBUTES[tag].split():
                raise UnknownName(f"attribute of <{tag}>", name, ATTRIBUTES[tag].split(), place)
        element = _Element(tag, attributes, place)
        (stack[-1].children if stack else roots).append(element)
        stack.append(element)

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda tag: stack.pop()
    try:
        parser.Parse(path.read_bytes(), True)
    except OSError as error:
        raise BadValue(f"cannot read launch file {path}: {error.strerror}") from error
    except expat.ExpatError as error:
        raise BadValue(f"{path}:{error.lineno}: not XML: {error}") from error
    return roots[0]
