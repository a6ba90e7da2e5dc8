"""Files that are whole or not there: written beside their place and renamed into it."""

import contextlib
import errno
import hashlib
import os
import tempfile
from pathlib import Path

from serving.errors import InvalidInput


def atomic_write(path: Path, data: bytes | None) -> None:
    """Writes a file so that a reader, or a crash at any moment, finds the old one or the new one.

    None only tries whether a file can be written there, and leaves everything as it is. If it cannot be written, the
    text of the InvalidInput that is raised names a temporary file that has the data.
    """
    draft = path.with_name(f".{path.name}.part")
    try:
        with draft.open("wb") as file:
            file.write(data or b"")
            file.flush()
            os.fsync(file.fileno())
        if data is not None:
            draft.replace(path)
        elif path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        else:
            draft.unlink()
    except OSError as error:
        problem = f"a file must be writable. Received: {path} ({error.strerror})"
        with contextlib.suppress(OSError):
            draft.unlink()
        with contextlib.suppress(OSError):
            if data is not None:
                kept = Path(tempfile.mkdtemp(prefix="style_transfer_"), f"kept{path.suffix}")
                kept.write_bytes(data)
                problem += f"; it is kept as {kept}"
        raise InvalidInput(problem) from error


def read_file(path: Path, what: str) -> bytes:
    """Returns a file's bytes, or raises InvalidInput, in which `what` names the file's role."""
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # the latter: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidInput(f"{what} must be a readable file. Received: {path} ({reason})") from error


def sha256(data: bytes) -> str:
    """Returns the digest of a file's bytes, as hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
