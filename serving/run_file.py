"""A run as a file: all that it takes to go on with it, on this machine or another.

A zip archive of uncompressed members, which any tool opens: `run.json` says what the run is, `state` is where it
stands, and the pictures are in `pictures/ARGUMENT/INDEX`, prepared as sent. Nothing in it is code, and zip's checksums
show damage.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

from model.settings import StyleSettings
from serving.client import Progress
from serving.errors import InvalidInput
from serving.files import atomic_write, read_file
from serving.request import Request
from serving.results import full_text

FORMAT = "style-transfer-run"
VERSION = 1

_ABOUT, _STATE, _PICTURES = "run.json", "state", "pictures"
_MOMENT = (1980, 1, 1, 0, 0, 0)  # of every member, so that the same run gives the same file


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
        """Returns the run at the point that a record of it gives."""
        return replace(self, state=progress.state, step=progress.step, steps=progress.steps)


def save_run(path: Path, run: SavedRun) -> None:
    """Writes a run; whatever happens meanwhile, the file is the earlier run or this one.

    Raises:
      InvalidInput: the file cannot be written there.
    """
    about = {
        "format": FORMAT,
        "version": VERSION,
        "settings": full_text(run.request.settings),
        "model_digest": run.model_digest,
        "step": run.step,
        "steps": run.steps,
        "pictures": {argument: run.request.sha256[argument] for argument in run.request.pictures},
    }
    members = {_ABOUT: json.dumps(about, indent=1).encode(), _STATE: run.state}
    for argument, pictures in run.request.pictures.items():
        members |= {f"{_PICTURES}/{argument}/{index}": data for index, data in enumerate(pictures)}
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, _MOMENT), data)
    atomic_write(path, output.getvalue())


def load_run(path: Path) -> SavedRun:
    """Reads what `save_run` wrote.

    Raises:
      InvalidInput: there is no such file, or it is damaged, no run file, or of a newer version.
    """
    data = read_file(path, "`resume`")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _read(archive)
    except Exception as error:  # zipfile and json raise almost anything on damaged archives
        raise InvalidInput(
            f"`resume` must be an undamaged run file of version {VERSION}. "
            f"Received: {path} ({str(error) or type(error).__name__})"
        ) from error


def _read(archive: zipfile.ZipFile) -> SavedRun:
    about = json.loads(_member(archive, _ABOUT))
    if (about["format"], about["version"]) != (FORMAT, VERSION):
        raise ValueError(f"{about['format']} of version {about['version']}")
    digests = {str(argument): tuple(map(str, texts)) for argument, texts in about["pictures"].items()}
    pictures = {
        argument: tuple(_member(archive, f"{_PICTURES}/{argument}/{index}") for index in range(len(texts)))
        for argument, texts in digests.items()
    }
    return SavedRun(
        Request.from_pictures(pictures, StyleSettings.parse(about["settings"]), digests),
        model_digest=str(about["model_digest"]),
        state=_member(archive, _STATE),
        step=int(about["step"]),
        steps=int(about["steps"]),
    )


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    # An uncompressed member cannot be larger than the file.
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    return archive.read(name)
