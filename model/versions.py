"""Version directories: DIR/<integer>/saved_model.pb, the largest number is the newest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

MAX_VERSION = 2**63 - 1  # a version is an int64 in TensorFlow Serving's protos


@dataclass(frozen=True)
class VersionPath:
    """One version directory."""

    number: int
    path: Path


def find_versions(base: Path) -> list[VersionPath]:
    """Returns the version directories under a base path, oldest first; `00000123` counts as 123."""
    if not base.is_dir():
        return []
    found = [
        VersionPath(int(entry.name), entry)
        for entry in base.iterdir()
        if re.fullmatch(r"[0-9]{1,30}", entry.name) and int(entry.name) <= MAX_VERSION and entry.is_dir()
    ]
    # The name breaks a tie of 7 and 007, so that the order does not hang on that of the file system.
    return sorted(found, key=lambda version: (version.number, version.path.name))
