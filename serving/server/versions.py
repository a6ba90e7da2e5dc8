"""Version directories: DIR/<integer>/saved_model.pb, the largest number is the newest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from model.errors import ModelNotFound

MAX_VERSION = 2**63 - 1  # a version is an int64 in TensorFlow Serving's protos


@dataclass(frozen=True)
class VersionPath:
    """One version directory."""

    number: int
    path: Path


def find_latest(base_path: str | Path) -> VersionPath:
    """Returns the version directory with the largest number; `00000123` counts as 123.

    Raises:
      ModelNotFound: the base path is no directory, or holds no version directory.
    """
    base = Path(base_path)
    if not base.is_dir():
        raise ModelNotFound(f"`--model_base_path` must be a directory. Received: {base}, which is none.")
    found = [
        VersionPath(int(entry.name), entry)
        for entry in base.iterdir()
        if re.fullmatch(r"[0-9]{1,30}", entry.name) and int(entry.name) <= MAX_VERSION and entry.is_dir()
    ]
    if not found:
        raise ModelNotFound(
            f"`--model_base_path` must hold a version directory named by an integer, such as {base / '1'}. "
            "Received: a directory without one."
        )
    # The name breaks a tie of 7 and 007, so that the choice does not hang on the order of the file system.
    return max(found, key=lambda version: (version.number, version.path.name))
