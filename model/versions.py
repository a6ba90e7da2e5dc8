"""Version directories: DIR/<integer>/saved_model.pb. The largest number is the newest version."""

import re
from pathlib import Path
from typing import NamedTuple

MAX_VERSION = 2**63 - 1  # a version is an int64 in TensorFlow Serving's protos


class VersionPath(NamedTuple):
    """One version directory."""

    number: int
    path: Path


def find_versions(base: Path) -> list[VersionPath]:
    """Returns the version directories under a base path, oldest first; `00000123` counts as 123."""
    if not base.is_dir():
        return []
    return sorted(  # by number; `7` and `007` by path
        VersionPath(int(entry.name), entry)
        for entry in base.iterdir()
        if re.fullmatch(r"[0-9]{1,30}", entry.name) and int(entry.name) <= MAX_VERSION and entry.is_dir()
    )
