"""A folder that is there whole or not at all."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from robostack.core.errors import Unavailable
from robostack.store.exchange.folder import whole_folder


def test_it_appears_at_the_end(tmp_path):
    with whole_folder(tmp_path / "a/new") as draft:
        (draft / "in").mkdir()
        (draft / "in/file").write_text("x")
        assert not (tmp_path / "a/new").exists()
    assert (tmp_path / "a/new/in/file").read_text() == "x"
    assert os.listdir(tmp_path / "a") == ["new"]


def test_an_empty_folder_of_that_name_gives_way(tmp_path):
    (tmp_path / "new").mkdir()
    with whole_folder(tmp_path / "new") as draft:
        (draft / "file").touch()
    assert (tmp_path / "new/file").exists()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_there_stays(tmp_path, kind):
    there = tmp_path / "new" if kind == "file" else tmp_path / "new/file"
    there.parent.mkdir(exist_ok=True)
    there.write_text("mine")
    with pytest.raises(Unavailable, match="nothing is overwritten"), whole_folder(tmp_path / "new"):
        pass
    assert there.read_text() == "mine"


def test_an_error_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), whole_folder(tmp_path / "new") as draft:
        (draft / "file").touch()
        raise KeyError
    assert os.listdir(tmp_path) == []


def test_a_killed_writer_leaves_nothing_of_that_name(tmp_path):
    program = (
        "import os, sys; from pathlib import Path; "
        "from robostack.store.exchange.folder import whole_folder\n"
        "with whole_folder(Path(sys.argv[1])) as draft:\n"
        "    (draft / 'file').touch(); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "new")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "new").exists()
    with whole_folder(tmp_path / "new") as draft:  # and is in nobody's way
        Path(draft / "file").touch()
    assert (tmp_path / "new/file").exists()
