"""Memory of the process."""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Returns freed memory to the system where the C library can: loading a model leaves 0.1 GB of it behind."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's own
    if trim is not None:
        trim(0)
