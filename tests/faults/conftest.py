"""A run at the cell, and where its episodes go at the learner."""

import pytest

from tests.store.link.rig import make_run


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "cell")


@pytest.fixture
def there(tmp_path):
    return tmp_path / "runs" / "run" / "episodes"
