"""Which version the server serves: the newest."""

from __future__ import annotations

from pathlib import Path

from model.errors import ModelNotFound
from model.versions import VersionPath, find_versions


def find_latest(base_path: str | Path) -> VersionPath:
    """Returns the version directory with the largest number.

    Raises:
      ModelNotFound: the base path is no directory, or holds no version directory.
    """
    base = Path(base_path)
    if not base.is_dir():
        raise ModelNotFound(f"`--model_base_path` must be a directory. Received: {base}, which is none.")
    found = find_versions(base)
    if not found:
        raise ModelNotFound(
            f"`--model_base_path` must hold a version directory named by an integer, such as {base / '1'}. "
            "Received: a directory without one."
        )
    return found[-1]
