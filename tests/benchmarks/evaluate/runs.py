"""Candidates, and the steps that a budget of seconds buys each of them."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf
from PIL import Image

from model.errors import InvalidInput, clean
from model.limits import MAX_STEPS
from model.settings import StyleSettings
from model.signatures import ServedModel

Clock = Callable[[], float]
CLOCKS: Mapping[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}
"""`cpu` counts the seconds of all cores that this process itself computed, so it hardly sees what others do."""

PROBE_STEPS = (8, 24)  # two short runs over the whole plan: their difference is the price of a step
PROBES = 2  # of each length; the quickest counts, which is the one that was disturbed least


@dataclass
class Candidate:
    """A recipe to be compared.

    Attributes:
      label: what the tables call it.
      text: its settings; `size` and `steps` are put in from outside.
      asked: layers that the recipe names, and `used`: those of them that the model has, by setting.
      settings: all settings in full, as the model understands them.
    """

    label: str
    text: str
    asked: dict[str, list[str]] = field(default_factory=dict)
    used: dict[str, list[str]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def fallback(self) -> str:
        """What the model lacks of the recipe's layers and takes instead, or ""."""
        lacking = [
            f"{setting} {', '.join(names)} -> {', '.join(self.used[setting])}"
            for setting, names in self.asked.items()
            if set(names) - set(self.used[setting])
        ]
        return "; ".join(lacking)


@dataclass(frozen=True)
class Cost:
    """Seconds that a run takes: `fixed` + `per_step` times its steps, for a content picture of some shape."""

    fixed: float
    per_step: float

    def scaled(self, factor: float) -> Cost:
        """Returns the cost at so many times the pixels."""
        return Cost(self.fixed * factor, self.per_step * factor)

    def steps(self, seconds: float) -> int:
        """Returns how many steps fit into a budget."""
        return min(max(round((seconds - self.fixed) / self.per_step), 1), MAX_STEPS)


@dataclass(frozen=True)
class Run:
    """One result: its picture, the steps of its plan, what they took, and why it ended early ("": it did not)."""

    picture: Image.Image
    steps: int
    seconds: float
    stopped: str


def candidates(model: ServedModel, presets: Sequence[str], settings: Sequence[str]) -> list[Candidate]:
    """Returns the presets and free recipes (`LABEL=TEXT`) to compare; those that come to the same are merged."""
    found: dict[str, Candidate] = {}
    named = [(name, f"preset={name}") for name in presets]
    for one in settings:
        label, equals, text = one.partition("=")
        if not equals:
            raise InvalidInput(f"`settings` must be LABEL=TEXT. Received: {one}")
        named.append((label, text))
    for label, text in named:
        parsed = StyleSettings.parse(text)
        described = _described(model, text)
        candidate = Candidate(label, text, settings=described)
        for setting in ("style_layers", "content_layers"):
            candidate.asked[setting] = [name for name, _ in getattr(parsed, setting)]
            candidate.used[setting] = [item.partition(":")[0] for item in described[setting].split("/")]
        same = found.setdefault(json.dumps(described, sort_keys=True), candidate)
        if same is not candidate:
            same.label += f" = {label}"
    return list(found.values())


def _described(model: ServedModel, text: str) -> dict[str, Any]:
    """Returns all settings as the model understands a recipe; size and steps are the same for every one."""
    try:
        answer = model.functions["describe"](tf.constant([_with(text, 512, 1)]))
    except tf.errors.InvalidArgumentError as error:
        raise InvalidInput(clean(error.message)) from None
    settings: dict[str, Any] = json.loads(answer["description"].numpy()[0])["settings"]
    return settings


def measure(model: ServedModel, candidate: Candidate, size: int, pair: tuple[bytes, bytes], clock: Clock) -> Cost:
    """Times short runs of a candidate over its whole plan of sizes."""
    few, more = PROBE_STEPS
    run(model, candidate, size, 1, pair, clock)  # the first call of a kind also pays for memory and kernels
    seconds = {
        steps: min(run(model, candidate, size, steps, pair, clock).seconds for _ in range(PROBES))
        for steps in (few, more)
    }
    per_step = max((seconds[more] - seconds[few]) / (more - few), 1e-6)
    return Cost(max(seconds[few] - few * per_step, 0.0), per_step)


def run(
    model: ServedModel, candidate: Candidate, size: int, steps: int, pair: tuple[bytes, bytes], clock: Clock
) -> Run:
    """Stylises one pair (encoded content and style) by a candidate's recipe."""
    content, style = pair
    inputs = [tf.constant([content]), tf.constant([[style]]), tf.constant([_with(candidate.text, size, steps)])]
    begin = clock()
    answer = model.functions["stylize"](*inputs)
    png = answer["image_bytes"].numpy()[0]  # waits for the device
    seconds = clock() - begin
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    return Run(picture, steps, seconds, answer["stopped"].numpy()[0].decode())


def _with(text: str, size: int, steps: int) -> str:
    # Of a name given twice the last counts.
    return ",".join(filter(None, (text, f"size={size},steps={steps}")))
