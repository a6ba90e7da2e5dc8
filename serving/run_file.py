"""A run as a file (a checkpoint), from which it can be resumed on this machine or another.

The file is a zip archive of uncompressed members. `run.json` describes the run, `state` is its state, and the prepared
pictures are in `pictures/ARGUMENT/INDEX`. It contains no code; zip's checksums show damage.
"""

import io
import json
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from model.settings import StyleSettings
from serving.client import Progress
from serving.errors import InvalidInput
from serving.files import atomic_write, read_file
from serving.request import Request
from serving.results import full_text

FORMAT = "style-transfer-run"
VERSION = 1

_ABOUT, _STATE, _PICTURES = "run.json", "state", "pictures"
_MOMENT = (1980, 1, 1, 0, 0, 0)  # date of every member: the same run gives the same file


@dataclass(frozen=True)
class SavedRun:
    """A run between two chunks; `step` and `steps` are as in `Progress`."""

    request: Request  # prepared
    model_digest: str = ""  # of the model's description; only this model can resume the run
    state: bytes = b""  # as in `Progress`; empty before the first chunk
    step: int = 0
    steps: int = 0

    def at(self, progress: Progress) -> Self:
        """Returns the run as it is after a record of its progress."""
        return replace(self, state=progress.state, step=progress.step, steps=progress.steps)


def save_run(path: Path, run: SavedRun) -> None:
    """Writes a run as `atomic_write` does: after a crash the file is either the old run or this one."""
    atomic_write(path, encode_run(run))


def encode_run(run: SavedRun) -> bytes:
    """Returns the file of a run."""
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
    return output.getvalue()


def load_run(path: Path) -> SavedRun:
    """Reads a run that `save_run` wrote; raises InvalidInput if the file cannot be read, or as `decode_run`."""
    return decode_run(read_file(path, "`resume`"), str(path))


def decode_run(data: bytes, name: str) -> SavedRun:
    """Reads the file of a run; `name` stands for it in an error.

    Raises InvalidInput if it is damaged, not a run file, or of another version.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _read(archive)
    except Exception as error:  # on a damaged archive zipfile and json raise almost anything
        expected, reason = f"an undamaged run file of version {VERSION}", str(error) or type(error).__name__
        raise InvalidInput(f"`resume` must be {expected}. Received: {name} ({reason})") from error


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
    # A compressed member could expand to any size.
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    return archive.read(name)
