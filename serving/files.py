"""Files that are whole or not there: written beside their place and renamed into it."""

import contextlib
import errno
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

from serving.errors import InvalidInput


def atomic_write(path: Path, data: bytes) -> None:
    """Writes a file so that a reader, or a crash at any moment, finds the old one or the new one.

    Raises InvalidInput if it cannot be written; the text names a temporary file that has the data.
    """
    try:
        with _draft(path, data) as draft:
            draft.replace(path)
    except OSError as error:
        problem = _problem(path, error)
        with contextlib.suppress(OSError):
            kept = Path(tempfile.mkdtemp(prefix="style_transfer_"), f"kept{path.suffix}")
            kept.write_bytes(data)
            problem += f"; it is kept as {kept}"
        raise InvalidInput(problem) from error


def check_writable(path: Path) -> None:
    """Raises InvalidInput if `atomic_write` cannot write a file there; leaves everything as it is."""
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with _draft(path, b""):
            pass
    except OSError as error:
        raise InvalidInput(_problem(path, error)) from error


@contextlib.contextmanager
def _draft(path: Path, data: bytes) -> Iterator[Path]:
    """Yields a file with the data, beside the place of another; afterwards it is no longer there."""
    # By a name of its own: two batches of one directory may write the same file.
    draft = path.parent / f".{path.name}.{secrets.token_hex(3)}.part"
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


def _problem(path: Path, error: OSError) -> str:
    return f"a file must be writable. Received: {path} ({error.strerror})"


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
