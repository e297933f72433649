"""The XML of a launch file: elements that know their line, and the values of their attributes."""

import os
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from robostack.core.errors import BadValue, UnknownName
from robostack.ros import environment

SUBSTITUTION = re.compile(r"\$\(([^()]*)\)")
SUBSTITUTIONS = ("var", "env", "dirname", "find-pkg-share")
TRUTH = {"true": True, "1": True, "false": False, "0": False}
ACTIONS = "arg node group include push_ros_namespace push-ros-namespace"
CHILDREN = {"launch": ACTIONS, "group": ACTIONS, "node": "param remap", "include": "arg"}
ATTRIBUTES = {  # element -> what it may carry, all of it understood by launch_file.py
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


@dataclass
class Element:
    """One element as it stands in the file."""

    tag: str
    attributes: dict[str, str]
    place: str  # file:line
    children: list["Element"] = field(default_factory=list)


@dataclass(frozen=True)
class Scope:
    """What an element sees around it."""

    file: Path
    variables: dict[str, str]
    namespace: str = ""
    outer: tuple[Path, ...] = ()  # the files that include this one, outermost first


class Reader:
    """An element's attributes with their substitutions done."""

    def __init__(self, element: Element, scope: Scope):
        self._element, self._scope = element, scope

    def __call__(self, name: str, default: str | None = None) -> str:
        """The value. Raises BadValue when it is missing and has no default."""
        element = self._element
        if name in element.attributes:
            return SUBSTITUTION.sub(lambda m: self._substitute(m[1]), element.attributes[name])
        if default is None:
            raise BadValue(f"{element.place}: <{element.tag}> needs {name}")
        return default

    @property
    def is_wanted(self) -> bool:
        """What `if` and `unless` say."""
        for name, wanted in (("if", True), ("unless", False)):
            text = self(name, str(wanted)).strip().lower()
            if text not in TRUTH:
                place = self._element.place
                raise BadValue(f'{place}: {name}="{text}", expected true, false, 1 or 0')
            if TRUTH[text] != wanted:
                return False
        return True

    def _substitute(self, text: str) -> str:
        place, variables = self._element.place, self._scope.variables
        word, *rest = shlex.split(text) or [""]
        match word, rest:
            case "var", [name]:
                if name not in variables:
                    raise UnknownName("argument", name, variables, place)
                return variables[name]
            case "env", [name]:
                if name not in os.environ:
                    raise BadValue(f"{place}: environment variable {name} is not set")
                return os.environ[name]
            case "env", [name, default]:
                return os.environ.get(name, default)
            case "dirname", []:
                return str(self._scope.file.resolve().parent)
            case "find-pkg-share", [package]:
                return str(self._share_of(package))
        raise UnknownName("substitution", text, SUBSTITUTIONS, place)

    def _share_of(self, package: str) -> Path:
        if package == "robostack" and (environment.CHECKOUT / "package.xml").is_file():
            return environment.CHECKOUT
        for prefix in environment.prefixes():
            if (path := prefix / "share" / package).is_dir():
                return path
        place = self._element.place
        raise UnknownName("package", package, [], f"{place}; is it installed and sourced?")


def parse(path: Path) -> Element:
    """The file's root. Raises UnknownName for an element or attribute that is none of ours."""
    stack: list[Element] = []
    roots: list[Element] = []
    parser = expat.ParserCreate()

    def start(tag: str, attributes: dict[str, str]) -> None:
        place = f"{path}:{parser.CurrentLineNumber}"
        valid = CHILDREN.get(stack[-1].tag, "").split() if stack else ["launch"]
        if tag not in valid:
            raise UnknownName("element", tag, valid, place)
        for name in attributes:
            if name not in (known := ATTRIBUTES[tag].split()):
                raise UnknownName(f"attribute of <{tag}>", name, known, place)
        element = Element(tag, attributes, place)
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
