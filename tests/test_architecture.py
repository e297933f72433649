"""The rooms and what each may touch. The table below is the architecture; the rest reads files and holds it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def words(text: str) -> set[str]:
    return set(text.split())


ROS = (
    "rclpy ament_index_python builtin_interfaces rcl_interfaces rosgraph_msgs lifecycle_msgs "
    "std_msgs std_srvs geometry_msgs sensor_msgs trajectory_msgs diagnostic_msgs visualization_msgs "
    "tf2_msgs control_msgs"  # These two only where ROS 2 is sourced; the code must do without.
)

ROOMS = {
    # room: (other rooms it may import, libraries beside numpy)
    "core": ("", "yaml"),
    "robots": ("core", ""),
    "tasks": ("core robots", ""),
    "store": ("core", "mcap rosbags safetensors grpc cryptography pyarrow av"),
    "learn": ("core store", "jax jaxlib flax optax"),
    "twin": ("core robots tasks", "mujoco gymnasium"),
    "study": ("core store", "scipy"),
    "drivers": ("core", "any SDK, one a file"),
    "ros": ("core robots tasks store drivers", ROS),
    "console": ("core store", "cv2"),
    "calibration": ("core robots tasks twin study", "cv2 scipy"),
}
DOORS = "rich matplotlib ray launch"  # robostack/*.py: every room and library above, and these.

BESIDE = ("robots", "tasks", "calibration")  # Top-level folders, linked into the package.
PURE = words("core robots tasks")  # Facts and arithmetic: no threads, network or processes.
LIVE = words("ros drivers console")  # Meet the world's own time and chance; the rest replays.
EFFECTS = words(
    "threading _thread concurrent multiprocessing asyncio queue "
    "socket socketserver ssl http urllib select selectors subprocess"
)
PICKLES = words("pickle _pickle shelve marshal cloudpickle dill joblib")
UNPICKLER = "robostack/store/exchange/unpickle.py"  # A program of its own, for strangers' pickles.
ONLY_IN = {"pyarrow": "robostack/store/exchange/", "av": "robostack/store/exchange/"}  # An extra.
SEEDED = words("default_rng Generator SeedSequence BitGenerator PCG64 Philox")
CLOCK = "robostack/core/clock.py"  # The only file of the rest that reads the time.
LONGEST = 400  # Lines. Near 120 is pleasant, 300 is a question.

SDK_ROOM = "drivers"
LIBRARIES = {room: words(row[1]) | {"numpy"} for room, row in ROOMS.items() if room != SDK_ROOM}
NAMED = set().union(*LIBRARIES.values())


def room_of(path: str) -> str:
    """A row of the table, "doors", or "package" for robostack/__init__.py, which every import runs."""
    parts = Path(path).parts
    if parts[0] in BESIDE:
        return parts[0]
    if parts[0] == "robostack" and len(parts) > 2:
        return parts[1]
    return "package" if path == "robostack/__init__.py" else "doors"


def complaints(path: str, text: str) -> list[str]:
    """What the file at `path` (from the root) does that its room may not."""
    room, tree = room_of(path), ast.parse(text)
    imported = list(imports(tree))
    found = [
        (line, f"imports {name}: {why}")
        for line, name in imported
        if (why := no_import(room, path, name))
    ]
    if room == SDK_ROOM:
        sdks = {top.partition("_")[0] for _, name in imported if (top := third_party(name))}
        if len(sdks - {"numpy"}) > 1:
            found.append((1, f"imports {sorted(sdks)}: one SDK a file, so that one can be missing"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            found.append((node.lineno, "a relative import: write the full name"))
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            if ast.unparse(node.value) != "False":
                found.append((node.value.lineno, "allow_pickle: a file could bring code to run"))
        elif room not in {"doors", *LIVE}:
            found += unrepeatable(node, path)
    return [f"{path}:{line} {what}" for line, what in sorted(found)]


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import, in functions and by import_module("…") too."""
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from ((node.lineno, alias.name) for alias in node.names)
            case ast.ImportFrom(module=str(module), level=0):
                yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__")
                | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                if third_party(name):  # Ours by name is how the catalog finds robots.
                    yield node.lineno, name


def third_party(name: str) -> str:
    """The library that `name` belongs to; "" for Python's own and for ours."""
    top = name.partition(".")[0]
    return "" if top in sys.stdlib_module_names or top in ("robostack", *BESIDE) else top


def no_import(room: str, path: str, name: str) -> str:
    """Why this room may not import `name`; "" if it may."""
    top, _, rest = name.partition(".")
    if top in PICKLES:
        is_right = path == UNPICKLER and name == "pickle"
        return (
            ""
            if is_right
            else "no pickle across a file or process border; safetensors, MCAP or JSON"
        )
    if name.startswith(UNPICKLER.removesuffix(".py").replace("/", ".")):
        return f"{UNPICKLER} runs as a program of its own, never in ours"
    if not path.startswith(ONLY_IN.get(top, "")):
        return f"only {ONLY_IN[top]} does"
    if top in BESIDE:
        return f"say robostack.{name}, or it is loaded twice"
    if room == "doors":
        known = NAMED | words(DOORS)
        return "" if third_party(name) in {"", *known} else "not in this test's table"
    if top == "robostack":
        return no_room(room, rest.partition(".")[0])
    if top == "time" and path != CLOCK and room not in LIVE:
        return f"only {CLOCK} reads the time"
    if top == "random" and room not in LIVE:
        return "global randomness; take a numpy Generator or a JAX key"
    if top in EFFECTS and room in {"package", *PURE}:
        return f"{room} has no threads, network or processes"
    if not (library := third_party(name)):
        return ""
    if room == SDK_ROOM:
        owners = [owner for owner, row in LIBRARIES.items() if library in row]
        return f"{owners[0]}/ does that" if library in NAMED - {"numpy", "cv2"} else ""
    allowed = LIBRARIES.get(room, set())
    return "" if library in allowed else f"{room} may import {sorted(allowed)}"


def no_room(room: str, other: str) -> str:
    if other in ("", "__version__"):
        return "" if room != "package" else "the package's own __init__ imports nothing"
    if other not in ROOMS:
        return "a door; doors open into rooms, not out of them"
    allowed = words(ROOMS[room][0]) | {room} if room in ROOMS else set()
    return "" if other in allowed else f"{room} may import {sorted(allowed)}"


def unrepeatable(node: ast.AST, path: str) -> Iterator[tuple[int, str]]:
    """(line, why) for global randomness, and for the time read around the clock."""
    match node:
        case ast.Attribute(value=ast.Attribute(value=ast.Name(id="np" | "numpy"), attr="random")):
            if node.attr not in SEEDED:
                yield node.lineno, f"np.random.{node.attr}: global randomness; take a Generator"
        case ast.ImportFrom(module="numpy.random"):
            if names := {alias.name for alias in node.names} - SEEDED:
                yield node.lineno, f"{sorted(names)}: global randomness; take a Generator"
        case ast.Call(ast.Attribute(attr="default_rng") | ast.Name("default_rng"), [], []):
            yield node.lineno, "default_rng() without a seed"
        case ast.Attribute(attr="now" | "utcnow" | "today") if path != CLOCK:
            if ast.unparse(node.value).rpartition(".")[2] in ("datetime", "date"):
                yield node.lineno, f"only {CLOCK} reads the time"


def unresolved(text: str) -> list[str]:
    """Names in `__all__` that the module does not bind, without running it."""
    promised: list[str] = []
    bound: set[str] = set()
    for node in outside_functions(ast.parse(text)):
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")]):
                promised += ast.literal_eval(node.value)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                bound.add(node.name)
            case ast.Import() | ast.ImportFrom():
                bound |= {(name.asname or name.name).partition(".")[0] for name in node.names}
            case ast.Name(ctx=ast.Store()):
                bound.add(node.id)
    return sorted(set(promised) - bound)


def outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from outside_functions(child)


def python_files(*folders: str) -> list[str]:
    """From the root, each once: the links in robostack/ are not followed."""
    return sorted(
        str(path.relative_to(ROOT))
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if path.relative_to(ROOT).parts[:2] not in {("robostack", linked) for linked in BESIDE}
    )


OURS = python_files("robostack", *BESIDE)
OURS += sorted(str(path.relative_to(ROOT)) for path in (ROOT / "libexec").iterdir())


@pytest.mark.parametrize("path", OURS)
def test_file_stays_within_its_room(path):
    assert not complaints(path, (ROOT / path).read_text())


@pytest.mark.parametrize("path", OURS)
def test_every_name_in_all_exists(path):
    assert not unresolved((ROOT / path).read_text())


def test_every_folder_has_a_row_in_the_table():
    folders = {path.parent for path in (ROOT / "robostack").rglob("*.py")} - {ROOT / "robostack"}
    assert {folder.relative_to(ROOT / "robostack").parts[0] for folder in folders} <= set(ROOMS)


def test_no_file_is_too_long():
    files = [*OURS, *python_files("tests", "benchmarks")]
    lengths = {path: len((ROOT / path).read_text().splitlines()) for path in files}
    assert not {path: lines for path, lines in lengths.items() if lines > LONGEST}


def test_nothing_of_ours_reads_or_writes_pickle():
    for path in python_files("tests", "benchmarks"):  # Rooms and doors are held to it above.
        tops = {name.partition(".")[0] for _, name in imports(ast.parse((ROOT / path).read_text()))}
        assert not tops & PICKLES, path


def test_launch_files_wire_and_do_not_think():
    assert not python_files("launch")


IMPORT_ALL = """
import importlib, pkgutil, sys
room, walled = sys.argv[1], set(sys.argv[2].split())
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in walled:
            raise ModuleNotFoundError(f"{name} is outside {room}", name=name)
sys.meta_path.insert(0, Wall())
package = importlib.import_module(f"robostack.{room}")
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(module.name)
"""


@pytest.mark.parametrize(
    "room",
    [
        pytest.param(room, marks=pytest.mark.ros if room == "ros" else ())
        for room in ("core", "store", "learn", "twin", "study", "ros")
        if (ROOT / "robostack" / room).is_dir()
    ],
)
def test_room_imports_where_other_rooms_libraries_are_missing(room):
    """A learner machine needs no ROS, a robot computer no MuJoCo, and core only numpy and yaml."""
    reach = set().union(*(LIBRARIES[r] for r in {room, *words(ROOMS[room][0])} - {SDK_ROOM}))
    walled = (NAMED if room == "core" else {"rclpy", "mujoco", "jax"}) - reach
    command = [sys.executable, "-c", IMPORT_ALL, room, " ".join(sorted(walled))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert not done.returncode, done.stderr


@pytest.mark.parametrize(
    ("path", "text", "complaint"),
    [
        ("robostack/core/x.py", "import jax", "core may import"),
        ("robostack/core/x.py", "def f():\n    from mujoco import viewer", "x.py:2 imports mujoco"),
        ("robostack/core/x.py", "importlib.import_module('jax')", "core may import"),
        ("robostack/core/x.py", "import threading", "no threads"),
        ("robostack/core/x.py", "import time", "only robostack/core/clock.py"),
        ("robostack/core/x.py", "from datetime import datetime\ndatetime.now()", "reads the time"),
        ("robostack/core/x.py", "import numpy as np\nnp.random.normal()", "global randomness"),
        ("robostack/core/x.py", "from numpy.random import rand", "global randomness"),
        ("robostack/core/x.py", "import numpy as np\nnp.random.default_rng()", "without a seed"),
        ("robostack/twin/x.py", "import random", "global randomness"),
        ("robostack/core/x.py", "from . import lie", "full name"),
        ("robostack/core/x.py", "from robostack.twin import scene", "core may import"),
        ("robostack/learn/x.py", "import robostack.cli", "a door"),
        ("robostack/learn/x.py", "from robostack import demo", "a door"),
        ("robostack/learn/x.py", "from robostack.robots import fr3", "learn may import"),
        ("robostack/store/x.py", "import pickle", "no pickle"),
        ("robostack/x.py", "import pickle", "no pickle"),
        ("robostack/store/exchange/x.py", "import pickle", "no pickle"),
        ("robostack/store/exchange/unpickle.py", "import cloudpickle", "no pickle"),
        (
            "robostack/store/exchange/x.py",
            "from robostack.store.exchange import unpickle",
            "a program of its own",
        ),
        ("robostack/store/x.py", "import pyarrow.parquet", "only robostack/store/exchange/"),
        ("robostack/x.py", "import av", "only robostack/store/exchange/"),
        ("robostack/x.py", "import numpy\nnumpy.load('f', allow_pickle=True)", "allow_pickle"),
        ("robostack/x.py", "import torch", "not in this test's table"),
        ("robostack/ros/x.py", "import mujoco", "ros may import"),
        ("robostack/__init__.py", "from robostack.core import lie", "package may import"),
        ("robostack/drivers/x.py", "import std_msgs.msg", "ros/ does that"),
        ("robostack/drivers/x.py", "import pyrealsense2, franky", "one SDK a file"),
        ("robots/fr3/__init__.py", "import robots.ur5e", "loaded twice"),
        ("tasks/reach/__init__.py", "import mujoco", "tasks may import"),
        ("calibration/x.py", "from robostack.ros import plant", "calibration may import"),
    ],
)
def test_the_checker_complains(path, text, complaint):
    assert complaint in "\n".join(complaints(path, text))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("robostack/core/x.py", "import numpy as np\nimport yaml\nrng = np.random.default_rng(3)"),
        ("robostack/core/x.py", "def f(rng: np.random.Generator): import_module(f'robostack.{a}')"),
        ("robostack/core/clock.py", "import time\nfrom datetime import datetime\ndatetime.now()"),
        ("robostack/ros/x.py", "import threading, time\nfrom std_msgs.msg import Bool"),
        ("robostack/drivers/ur.py", "import numpy, rtde_control, rtde_receive"),
        ("robostack/cli.py", "import time, rich, mujoco, jax\nfrom robostack import demo"),
        ("robostack/store/x.py", "from robostack import __version__"),
        ("robostack/store/exchange/x.py", "import av\nimport pyarrow.parquet as pq"),
        ("robostack/store/exchange/unpickle.py", "import pickle"),
    ],
)
def test_the_checker_lets_pass(path, text):
    assert not complaints(path, text)


def test_a_name_missing_from_all_is_seen():
    text = "__all__ = ['a', 'b', 'c', 'd']\nimport a\nb: int = 1\ndef c():\n    d = 1"
    assert unresolved(text) == ["d"]
