"""One setup.py for every way to install: wheel, source archive, colcon, colcon with links."""

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

import robostack

ROOT = Path(__file__).parents[1]
# All that a build may need. A new top-level folder that belongs to it is named here too.
SOURCES = (
    "setup.py setup.cfg pyproject.toml package.xml MANIFEST.in README.md LICENSE "
    "resource libexec launch robostack robots tasks calibration"
).split()
NODES = sorted(path.name for path in (ROOT / "libexec").iterdir())
SHARED = ["package.xml", *(str(p.relative_to(ROOT)) for p in (ROOT / "launch").rglob("*.xml"))]
INSIDE = sorted(  # What a robot or a task keeps beside its code.
    str(path.relative_to(ROOT))
    for folder in ("robots", "tasks")
    for pattern in ("*/*.py", "*/*.xml", "*/*.png", "*/README.md")
    for path in (ROOT / folder).glob(pattern)
)
WEIGHTS = "learn/weights/mirror.safetensors"  # the trunk that every install comes with
SITE = "lib/python{}.{}/site-packages/".format(*sys.version_info)
COLCON = shutil.which("colcon", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")


def run(*command: object, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert not done.returncode, f"{command}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def build_wheel(source: Path, into: Path) -> Path:
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation")
    run(*pip, "--wheel-dir", into, source, cwd=into)
    (wheel,) = into.glob("*.whl")
    return wheel


def copy_of_the_sources(into: Path) -> Path:
    """A fresh copy to build in: builds leave folders behind that the next one would take up."""
    copy = into / "robostack"
    copy.mkdir(parents=True)
    skipped = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=skipped)
        else:
            shutil.copy2(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    return build_wheel(copy_of_the_sources(folder / "src"), folder)


def contents(wheel: Path) -> dict[str, int]:
    """Each path in the wheel with its permission bits."""
    with zipfile.ZipFile(wheel) as archive:
        return {info.filename: info.external_attr >> 16 for info in archive.infolist()}


def modes(folder: Path) -> Callable[[str], int]:
    return lambda path: (folder / path).stat().st_mode if (folder / path).exists() else 0


def assert_complete(mode: Callable[[str], int | None], inside: str, data: str) -> None:
    """`mode` gives a path's permission bits, if it exists; `inside` and `data` lead to ours."""
    wanted = [f"{inside}robostack/{path}" for path in INSIDE]
    wanted += [f"{inside}robostack/{WEIGHTS}"]
    wanted += [f"{data}share/robostack/{path}" for path in SHARED]
    wanted += [f"{data}share/ament_index/resource_index/packages/robostack"]
    assert not [path for path in wanted if not mode(path)]
    nodes = [f"{data}lib/robostack/{node}" for node in NODES]
    assert not [path for path in nodes if not (mode(path) or 0) & 0o100], "not executable"


def assert_imports_from(folder: Path, python: tuple[str, ...], **environment: str) -> None:
    tell = "import robostack, robostack.core.catalog as c; print(robostack.__file__, *c.robots())"
    where, *robots = run(*python, "-c", tell, cwd=folder, **environment).split()
    assert Path(where).is_relative_to(folder)
    assert robots == sorted(path.parent.name for path in (ROOT / "robots").glob("*/__init__.py"))


def test_links_stay_relative_so_that_a_clone_works_anywhere():
    for name in ("robots", "tasks", "calibration"):
        assert os.readlink(ROOT / "robostack" / name) == f"../{name}"


def test_package_xml_has_the_version_of_the_code():
    assert ElementTree.parse(ROOT / "package.xml").findtext("version") == robostack.__version__


def test_wheel_has_robots_tasks_nodes_and_launch_files(wheel):
    assert {"guard", "mirror"} <= set(NODES)
    data = f"robostack-{robostack.__version__}.data/data/"
    assert_complete(contents(wheel).get, inside="", data=data)


def test_source_archive_makes_the_same_wheel(wheel, tmp_path):
    sdist = "import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])"
    run(sys.executable, "-c", sdist, tmp_path, cwd=copy_of_the_sources(tmp_path / "src"))
    (archive,) = tmp_path.glob("*.tar.gz")
    again = build_wheel(archive, tmp_path)
    assert contents(again).keys() == contents(wheel).keys()


def test_installed_wheel_finds_its_robots_and_serves_ros2_run(wheel, tmp_path):
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile")
    # Without --ignore-installed pip would take the developer's own install away.
    run(*pip, "--ignore-installed", "--prefix", tmp_path, wheel, cwd=tmp_path)
    assert_complete(modes(tmp_path), inside=SITE, data="")
    here = {"PYTHONPATH": str(tmp_path / SITE)}
    assert_imports_from(tmp_path, (sys.executable,), **here)
    version = run(tmp_path / "bin/robostack", "--version", cwd=tmp_path, **here)
    assert version.strip() == robostack.__version__


def test_checkout_runs_without_an_install():
    version = run(sys.executable, "-m", "robostack", "--version", cwd=ROOT)
    assert version.strip() == robostack.__version__


@pytest.mark.colcon
@pytest.mark.skipif(COLCON is None, reason="no colcon: pip install 'robostack[dev]'")
@pytest.mark.parametrize(
    ("options", "inside"),
    [((), f"install/robostack/{SITE}"), (("--symlink-install",), "build/robostack/")],
    ids=["copied", "linked"],
)
def test_colcon_builds_a_workspace(tmp_path, options, inside):
    copy_of_the_sources(tmp_path / "src")
    run(COLCON, "build", *options, cwd=tmp_path, COLCON_HOME=str(tmp_path / "home"))
    assert_complete(modes(tmp_path), inside, data="install/robostack/")
    assert os.access(tmp_path / "install/robostack/lib/robostack/robostack", os.X_OK)
    sourced = 'set -e; . install/local_setup.sh; exec "$@"'
    assert_imports_from(tmp_path, ("sh", "-c", sourced, "sh", sys.executable))


def test_make_says_which_python_it_needs(tmp_path):
    command = ["make", "-f", str(ROOT / "Makefile"), "setup", "PYTHON=no-such-python"]
    fresh = copy_of_the_sources(tmp_path)
    done = subprocess.run(command, cwd=fresh, capture_output=True, text=True)
    assert done.returncode
    assert "robostack needs Python 3.11, 3.12 or 3.13" in done.stderr
    assert "tried: no-such-python" in done.stderr
