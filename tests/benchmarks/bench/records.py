"""What a benchmark found, and how it is told."""

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf


@dataclass(frozen=True)
class Record:
    """One figure beside its target.

    Attributes:
      target: number of the target in tests/benchmarks/notes.md.
      name: what was measured.
      figure: what came out.
      limit: what it may be at most.
      unit: of both; `x` for a ratio.
      detail: what the figure was made from.
    """

    target: int
    name: str
    figure: float
    limit: float
    unit: str
    detail: str = ""

    @property
    def holds(self) -> bool:
        return self.figure <= self.limit

    def as_dict(self) -> dict[str, Any]:
        """Returns the record for a JSON file."""
        return asdict(self) | {"holds": self.holds}


def machine() -> dict[str, Any]:
    """Returns what the figures depend on: processor, cores, memory, versions."""
    facts = _facts(Path("/proc/cpuinfo"))
    flags = set(facts.get("flags", "").split())
    units = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": facts.get("model name", platform.processor() or platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "units": ", ".join(units),
        "memory_gb": round(pages * page_bytes / 1e9, 1),
        "devices": ", ".join(device.name for device in tf.config.list_physical_devices()),
        "tensorflow": tf.__version__,
        "python": platform.python_version(),
    }


def _facts(path: Path) -> dict[str, str]:
    """Returns the `name : value` lines of a file, of each name the first; nothing where there is no such file."""
    facts: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        name, colon, value = line.partition(":")
        if colon:
            facts.setdefault(name.strip(), value.strip())
    return facts


def markdown(records: Sequence[Record], facts: dict[str, Any]) -> str:
    """Returns the table that a person reads."""
    lines = ["# Benchmarks", "", ", ".join(f"{name} {value}" for name, value in facts.items() if value) + ".", ""]
    lines += ["| target | measured | figure | at most | holds | from |", "|---|---|---|---|---|---|"]
    for record in sorted(records, key=lambda record: record.target):
        figure, limit = (_written(value, record.unit) for value in (record.figure, record.limit))
        holds = "yes" if record.holds else "**no**"
        lines.append(f"| {record.target} | {record.name} | {figure} | {limit} | {holds} | {record.detail} |")
    return "\n".join(lines) + "\n"


def _written(value: float, unit: str) -> str:
    return f"{value:.4g}" if unit == "x" else f"{value:.3g} {unit}"
