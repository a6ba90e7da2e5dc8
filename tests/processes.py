"""What the operating system knows of a process: memory, threads, files."""

import re
from pathlib import Path


def memory_mb(pid: int | str, peak: bool = False) -> float:
    """Returns the resident memory of a process, or its peak since `forget_peak`, in megabytes."""
    return _kibibytes(f"/proc/{pid}/status", "VmHWM" if peak else "VmRSS") * 1024 / 1e6


def forget_peak(pid: int) -> None:
    """Makes the peak start anew from what the process holds now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def free_memory_mb() -> float:
    """Returns how much memory new work may take, in megabytes."""
    return _kibibytes("/proc/meminfo", "MemAvailable") * 1024 / 1e6


def _kibibytes(file: str, field: str) -> int:
    return int(re.findall(rf"{field}:\s+(\d+) kB", Path(file).read_text())[0])


def threads(pid: int) -> int:
    """Returns how many threads a process has."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def open_files(pid: int) -> int:
    """Returns how many files and sockets a process holds open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
