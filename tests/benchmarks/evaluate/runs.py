"""Candidates and their runs, and results that another program made."""

import io
import json
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tensorflow as tf
from PIL import Image

from model.settings import StyleSettings
from model.signatures import ServedModel
from serving.errors import InvalidInput, clean

COSTS = "cost.json"
LAYER_SETTINGS = ("style_layers", "content_layers")


@dataclass
class Candidate:
    """A recipe to be compared.

    Attributes:
      label: what the tables call it.
      text: its settings, with the size that all share; "": the results come from elsewhere.
      asked: layers that the recipe names, and `used`: those of them that the model has, by setting.
      settings: all settings in full, as the model understands them.
    """

    label: str
    text: str = ""
    asked: dict[str, list[str]] = field(default_factory=dict)
    used: dict[str, list[str]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def fallback(self) -> str:
        """What the model lacks of the recipe's layers and takes instead, or ""."""
        lacking = [name for name, layers in self.asked.items() if set(layers) - set(self.used[name])]
        return "; ".join(f"{name} {', '.join(self.asked[name])} -> {', '.join(self.used[name])}" for name in lacking)


@dataclass(frozen=True)
class Run:
    """One result.

    Attributes:
      picture: the result.
      steps: how many its recipe asks for; None: not known, and so with the seconds.
      seconds: what it took by the wall's clock.
      cpu_seconds: what this process computed for it on all cores together: it hardly sees what others do.
      stopped: why it ended early; "": it did not.
    """

    picture: Image.Image
    steps: int | None
    seconds: float | None
    cpu_seconds: float | None
    stopped: str = ""


def labelled(argument: str, ones: Sequence[str], value: str) -> list[tuple[str, str]]:
    """Returns label and value of each of an argument's `LABEL=...`."""
    pairs = [one.partition("=") for one in ones]
    for label, equals, rest in pairs:
        if not (label and equals and rest):
            raise InvalidInput(f"`{argument}` must be LABEL={value}. Received: {label}{equals}{rest}")
    return [(label, rest) for label, _, rest in pairs]


def candidates(model: ServedModel, size: int, named: Sequence[tuple[str, str]]) -> list[Candidate]:
    """Returns the recipes (label and settings) to compare; those that come to the same at the size are merged."""
    found: dict[str, Candidate] = {}
    for label, text in named:
        text = f"{text},size={size}"  # of a name given twice the last counts
        parsed, described = StyleSettings.parse(text), _described(model, text)
        key = json.dumps(described, sort_keys=True)
        if key in found:
            found[key].label += f" = {label}"
            continue
        asked = {setting: [layer.name for layer in getattr(parsed, setting)] for setting in LAYER_SETTINGS}
        used = {setting: re.findall(r"(block\w+)", described[setting]) for setting in LAYER_SETTINGS}
        found[key] = Candidate(label, text, asked, used, described)
    return list(found.values())


def _described(model: ServedModel, text: str) -> dict[str, Any]:
    """Returns all settings as the model understands a recipe."""
    try:
        answer = model.functions["describe"](tf.constant([text]))
    except tf.errors.InvalidArgumentError as error:
        raise InvalidInput(clean(error.message)) from None
    return dict(json.loads(answer["description"].numpy()[0])["settings"])


def run(model: ServedModel, candidate: Candidate, pair: tuple[bytes, bytes]) -> Run:
    """Stylises one pair (encoded content and style) by a candidate's recipe."""
    inputs = [pair[0]], [[pair[1]]], [candidate.text]
    begin, cpu_begin = time.perf_counter(), time.process_time()
    answer = model.functions["stylize"](*map(tf.constant, inputs))
    png = answer["image_bytes"].numpy()[0]  # waits for the device
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu_begin
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    return Run(picture, candidate.settings["steps"], seconds, cpu_seconds, answer["stopped"].numpy()[0].decode())


def pictures_of(folder: Path, names: Iterable[str]) -> dict[str, Run]:
    """Returns by pair what another program made of it: `PAIR.png`, and what it took by cost.json, if there.

    That file is {PAIR: {"steps": n, "seconds": s}}, seconds of computing; both may be left out.
    """
    found, costs = {}, _costs(folder)
    for name in names:
        path, cost = folder / f"{name}.png", costs.get(name, {})
        if not path.is_file():
            raise InvalidInput(f"`results` must hold a picture of every pair. Received: no {path}")
        found[name] = Run(Image.open(path).convert("RGB"), cost.get("steps"), None, cost.get("seconds"))
    return found


def keep(result: Run, name: str, folder: Path) -> None:
    """Adds a result to a folder that `pictures_of` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    result.picture.save(folder / f"{name}.png")
    costs = _costs(folder) | {name: {"steps": result.steps, "seconds": result.cpu_seconds}}
    (folder / COSTS).write_text(json.dumps(costs, indent=1), encoding="utf-8")


def _costs(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / COSTS
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
