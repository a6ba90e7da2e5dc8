"""Files that are whole or not there: written beside their place and renamed into it."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from serving.errors import InvalidInput


def atomic_write(path: Path, data: bytes) -> None:
    """Writes a file so that a reader, or a crash at any moment, finds the old one or the new one.

    Raises:
      InvalidInput: the file cannot be written there.
    """
    draft = path.with_name(f".{path.name}.part")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise InvalidInput(f"a file must be writable. Received: {path} ({error.strerror})") from error


def read_file(path: Path, what: str) -> bytes:
    """Returns a file's bytes; `what` names its role in the error.

    Raises:
      InvalidInput: the file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{what} must be a readable file. Received: {path} ({error.strerror})") from error


def sha256(data: bytes) -> str:
    """Returns the digest of a file's bytes, as hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
