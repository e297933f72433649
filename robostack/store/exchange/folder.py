"""A folder that is there whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from robostack.core.errors import Unavailable
from robostack.store.disk import explained, sync_folder


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A hidden folder beside `path` that takes its name at the end, or goes if something is raised.

    Raises Unavailable when `path` is there already, an empty folder excepted.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise Unavailable(f"{path} is there already; nothing is overwritten, choose another name")
    path = path.absolute()
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with explained("make", path):
        draft.mkdir(parents=True)
    try:
        yield draft
        with explained("make", path):
            for inside in draft.rglob("*"):  # files and folders alike
                sync_folder(inside)
            os.replace(draft, path)  # an empty folder of that name gives way
            sync_folder(path.parent)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
