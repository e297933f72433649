# MuJoCo's names come from compiled modules without types: without this file pyright denies that they exist.
from typing import Any

def __getattr__(name: str) -> Any: ...
