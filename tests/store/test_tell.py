"""What is told to the outside: the newest, whole, and without a wait."""

import json
import os
import time

import pytest

from robostack.core.errors import Unavailable
from robostack.store.tell import Teller


def test_newest_value_is_what_stays(tmp_path):
    teller = Teller(tmp_path / "told.json")
    for i in range(200):
        teller.tell({"i": i})
    teller.close()
    teller.close()
    assert json.loads((tmp_path / "told.json").read_text()) == {"i": 199}


def test_telling_does_not_wait_for_the_disk(tmp_path, monkeypatch):
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda *names: [time.sleep(0.3), replace(*names)])
    teller = Teller(tmp_path / "told.json")
    slowest = 0.0
    for i in range(20):
        start = time.perf_counter()
        teller.tell({"i": i})
        slowest = max(slowest, time.perf_counter() - start)
        time.sleep(0.005)
    teller.close()
    assert slowest < 0.15
    assert json.loads((tmp_path / "told.json").read_text()) == {"i": 19}


def test_what_must_be_there_is_there_and_nothing_older_comes_after(tmp_path):
    teller = Teller(tmp_path / "told.json")
    for i in range(50):
        teller.tell({"i": -1})
        teller.tell_now({"i": i})
        assert json.loads((tmp_path / "told.json").read_text()) == {"i": i}
    teller.close()
    assert json.loads((tmp_path / "told.json").read_text()) == {"i": 49}


def test_a_disk_that_refuses_is_told_by_the_next_call(tmp_path):
    teller = Teller(tmp_path / "no" / "folder" / "told.json")
    deadline = time.monotonic() + 5.0
    with pytest.raises(Unavailable, match="cannot write"):
        while time.monotonic() < deadline:
            teller.tell({})
            time.sleep(0.01)
    teller.close()
