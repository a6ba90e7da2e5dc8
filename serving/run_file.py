"""A run as a file: all that it takes to go on with it, on this machine or another.

A zip archive of stored members, which any tool opens: `run.json` says what the run is and gives every other member's
SHA-256; `state` is where it stands; the pictures are in `pictures/ARGUMENT/INDEX`, prepared as sent. Nothing in it
is code, and nothing is taken for whole that does not match its checksum.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from model.settings import StyleSettings
from serving.client import Progress
from serving.errors import InvalidInput
from serving.files import atomic_write, read_file, sha256
from serving.request import Request
from serving.results import full_text

FORMAT = "style-transfer-run"
VERSION = 1

_ABOUT, _STATE, _PICTURES = "run.json", "state", "pictures"
_MOMENT = (1980, 1, 1, 0, 0, 0)  # of every member, so that the same run gives the same file
# Whatever zipfile and json raise on damaged archives.
_DAMAGE = (
    zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, EOFError,
    OSError, struct.error, OverflowError,
)  # fmt: skip


@dataclass(frozen=True)
class SavedRun:
    """A run between two chunks.

    Attributes:
      request: what it is made from, prepared.
      model_digest: `digest` of the model's description; only that model can go on.
      state: as in `Progress.state`; empty before the first chunk.
      step, steps: where it stands.
    """

    request: Request
    model_digest: str = ""
    state: bytes = b""
    step: int = 0
    steps: int = 0

    def at(self, progress: Progress) -> SavedRun:
        """Returns the same run where a record says that it stands."""
        return replace(self, state=progress.state, step=progress.step, steps=progress.steps)

    def same_run(self, other: SavedRun) -> bool:
        """Whether both are the same run, wherever each of them stands."""
        return (self.request, self.model_digest) == (other.request, other.model_digest)

    def check_model(self, digest: str) -> None:
        """Raises InvalidInput unless the model is the one that the run was begun with."""
        if digest != self.model_digest:
            raise InvalidInput(
                f"`resume` must be a run of the model that is served ({digest}). "
                f"Received: a run of another one ({self.model_digest})"
            )


def save_run(path: Path, run: SavedRun) -> None:
    """Writes a run; whatever happens meanwhile, the file is the earlier run or this one.

    Raises:
      InvalidInput: the file cannot be written there.
    """
    atomic_write(path, pack_run(run))


def load_run(path: Path) -> SavedRun:
    """Reads what `save_run` wrote.

    Raises:
      InvalidInput: there is no such file, or it is damaged, none of ours, or of a newer version.
    """
    return unpack_run(read_file(path, "`resume`"), str(path))


def pack_run(run: SavedRun) -> bytes:
    """Returns a run as the bytes of its file."""
    members = {_STATE: run.state}
    pictures = run.request.pictures
    for argument, encoded in pictures.items():
        members |= {f"{_PICTURES}/{argument}/{index}": data for index, data in enumerate(encoded)}
    about = {
        "format": FORMAT,
        "version": VERSION,
        "settings": full_text(run.request.settings),
        "model_digest": run.model_digest,
        "step": run.step,
        "steps": run.steps,
        "pictures": {argument: list(run.request.sha256[argument]) for argument in pictures},
        "members": {name: sha256(data) for name, data in members.items()},
    }
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(_ABOUT, _MOMENT), json.dumps(about, indent=1))
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, _MOMENT), data)
    return output.getvalue()


def unpack_run(data: bytes, name: str = "a file") -> SavedRun:
    """Reads what `pack_run` returned; `name` says in an error where it is from.

    Raises:
      InvalidInput: as `load_run`.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            about = json.loads(_member(archive, _ABOUT))
            if about["format"] != FORMAT:
                raise ValueError(about["format"])
            if about["version"] == VERSION:
                return _unpack(archive, about)
            version = int(about["version"])
    except _DAMAGE as error:
        raise InvalidInput(
            f"`resume` must be an undamaged file that a run was saved to. Received: {name} ({_reason(error)})"
        ) from error
    raise InvalidInput(f"`resume` must be a run file of version {VERSION}. Received: {name}, of version {version}")


def _unpack(archive: zipfile.ZipFile, about: Mapping[str, Any]) -> SavedRun:
    def checked(name: str) -> bytes:
        data = _member(archive, name)
        if sha256(data) != about["members"][name]:
            raise ValueError(f"{name} has another checksum")
        return data

    brought = {str(argument): tuple(map(str, digests)) for argument, digests in about["pictures"].items()}
    pictures = {
        argument: tuple(checked(f"{_PICTURES}/{argument}/{index}") for index in range(len(digests)))
        for argument, digests in brought.items()
    }
    return SavedRun(
        Request.from_pictures(pictures, StyleSettings.parse(about["settings"]), brought),
        model_digest=str(about["model_digest"]),
        state=checked(_STATE),
        step=int(about["step"]),
        steps=int(about["steps"]),
    )


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    # What is stored as it is cannot unpack to more than the file's own size.
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    return archive.read(name)


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
