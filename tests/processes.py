"""What the operating system knows of a process: memory, threads, files."""

from __future__ import annotations

import re
from pathlib import Path


def memory_mb(pid: int, peak: bool = False) -> float:
    """Returns the resident memory of a process, or its peak since `forget_peak`, in megabytes."""
    field = "VmHWM" if peak else "VmRSS"
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1000


def forget_peak(pid: int) -> None:
    """Makes the peak start anew from what the process holds now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def free_memory_mb() -> float:
    """Returns how much memory new work may take, in megabytes."""
    found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    assert found
    return int(found[1]) / 1000


def threads(pid: int) -> int:
    """Returns how many threads a process has."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def open_files(pid: int) -> int:
    """Returns how many files and sockets a process holds open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
