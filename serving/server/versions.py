"""Which version directories of a model are to be served: the newest, all, or those that the configuration names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model.versions import VersionPath, find_versions
from serving.errors import ModelNotFound


@dataclass(frozen=True)
class VersionPolicy:
    """TensorFlow Serving's `model_version_policy`.

    Attributes:
      newest: how many of the newest versions; None: all.
      numbers: just these, where they exist. None: by `newest`.
    """

    newest: int | None = 1
    numbers: frozenset[int] | None = None

    def choose(self, found: Sequence[VersionPath]) -> list[VersionPath]:
        """Returns the versions to serve, oldest first, one for each number.

        Args:
          found: all version directories, oldest first.
        """
        unique = list({version.number: version for version in found}.values())  # 7 and 007 are one version
        if self.numbers is not None:
            return [version for version in unique if version.number in self.numbers]
        return unique if self.newest is None else unique[-self.newest :]


def find_wanted(base: Path, policy: VersionPolicy, what: str) -> list[VersionPath]:
    """Returns the versions to serve, at least one, oldest first.

    Args:
      base: holds one integer-named directory per version.
      policy: which of them.
      what: what set the base path, for the error's text.

    Raises:
      ModelNotFound: the base path is no directory, or holds no version directory that the policy takes.
    """
    if not base.is_dir():
        raise ModelNotFound(f"{what} must be a directory. Received: {base}, which is none.")
    wanted = policy.choose(find_versions(base))
    if not wanted and policy.numbers is not None:
        named = ", ".join(map(str, sorted(policy.numbers)))
        raise ModelNotFound(
            f"{what} must hold one of the versions {named}. Received: {base}, which holds none of them."
        )
    if not wanted:
        raise ModelNotFound(
            f"{what} must hold a version directory named by an integer, such as {base / '1'}. "
            "Received: a directory without one."
        )
    return wanted
