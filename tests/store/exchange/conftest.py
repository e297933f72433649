"""A dataset to read and to spoil."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from robostack.store.exchange import lerobot_export
from tests.store.exchange.made import SIZES, record, with_pictures


@pytest.fixture
def dataset(tmp_path, spec, make_episode) -> Callable[..., Path]:
    """Three episodes of 5, 6 and 7 rows as a dataset; `theirs`: without what we lay beside it."""

    def make(is_film: bool = False, is_theirs: bool = True, cameras: Any = SIZES) -> Path:
        ends = ("terminated", "truncated", "terminated")
        made = [make_episode(i, 5 + i, "demonstration", (0,), ends[i]) for i in range(3)]
        made[2] = replace(made[2], header=replace(made[2].header, task="other"))
        paths = record(tmp_path / "episodes", spec, *(with_pictures(e, cameras) for e in made))
        lerobot_export.export(paths, tmp_path / "dataset", is_film)
        if is_theirs:
            shutil.rmtree(tmp_path / "dataset/meta/robostack")
        return tmp_path / "dataset"

    return make
