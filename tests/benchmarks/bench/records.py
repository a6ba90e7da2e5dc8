"""What a benchmark found, and how it is told."""

import os
import platform
import re
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
    facts = dict(re.findall(r"(?m)^(model name|flags)\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8")))
    flags = facts.get("flags", "").split()
    return {
        "processor": facts.get("model name", platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "units": ", ".join(unit for unit in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if unit in flags),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
        "devices": ", ".join(device.name for device in tf.config.list_physical_devices()),
        "tensorflow": tf.__version__,
        "python": platform.python_version(),
    }


def markdown(records: Sequence[Record], facts: dict[str, Any]) -> str:
    """Returns the table that a person reads."""
    lines = ["# Benchmarks", "", ", ".join(f"{name} {value}" for name, value in facts.items() if value) + ".", ""]
    lines += ["| target | measured | figure | at most | holds | from |", "|---|---|---|---|---|---|"]
    for one in sorted(records, key=lambda record: record.target):
        figure, limit = (f"{x:.4g}" if one.unit == "x" else f"{x:.3g} {one.unit}" for x in (one.figure, one.limit))
        cells = (one.target, one.name, figure, limit, "yes" if one.holds else "**no**", one.detail)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"
