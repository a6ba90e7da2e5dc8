"""What the operating systems do differently."""

import ctypes
import socket
import sys


def trim_heap() -> None:
    """Returns freed memory to the system, with glibc only: loading a model leaves 0.1 GB of it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def allow_open_files(count: int) -> None:
    """Raises the limit of files and sockets that the process may have open, as far as the system allows.

    By default it is often 256 or 1024. Windows has no such limit.
    """
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def hold_alone(opened: socket.socket) -> None:
    """Makes a port usable by one program alone, and at once after a restart."""
    if sys.platform == "win32":  # where SO_REUSEADDR lets another program take the port over
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    else:  # do not wait until the connections of the last process have timed out
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
