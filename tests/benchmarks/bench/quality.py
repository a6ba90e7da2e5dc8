"""Targets 5 and 6: what half precision loses, and how soon a good picture is there."""

import time

import tensorflow as tf

from model.objective import Measured
from model.parsing import ParsedSettings
from model.sizes import plan_sizes
from tests.benchmarks.bench.loops import ONE_SIZE, Model
from tests.benchmarks.bench.records import Record
from tests.conftest import decoded
from tests.model.inputs import pictures
from ui.samples import CONTENTS, STYLES

PAIRS = list(zip(CONTENTS[:2], STYLES[:2], strict=True))
LOST = 1.02
TIME_TO_QUALITY = 0.2
SLOW_STEPS = 300
MOST_STEPS, CHUNK_STEPS = 300, 25  # of the run whose time to quality is taken, and between two looks at its loss
NEAR = 1.005  # bfloat16's rounding alone is worth a quarter of a per cent there


class Judge:
    """The default recipe's loss of a picture at one size, in float32."""

    def __init__(self, model: Model, size: int, pair: tuple[bytes, bytes]) -> None:
        self._objective = model.served.stylizer.objective
        self._settings: ParsedSettings = model.served.parse(tf.constant(f"size={size}"))
        inputs = pictures(*map(decoded, pair))
        sizes = plan_sizes(inputs.content, self._settings)
        last = sizes.heights[-1], sizes.widths[-1]
        self._targets = self._objective.targets(inputs, self._settings, *last, Measured.nothing())

    def loss(self, png: bytes) -> float:
        """Returns the weighted sum of the three terms for an encoded picture."""
        picture = tf.constant(decoded(png), tf.float32)
        return float(self._objective.losses_and_gradient(picture, self._targets, self._settings)[0][0])


def half_against_full(full: Model, half: Model, size: int, steps: int) -> list[Record]:
    """Compares the ends of equal runs in float32 and in bfloat16."""
    records = []
    for content, style in PAIRS:
        pair = content.path.read_bytes(), style.path.read_bytes()
        judge = Judge(full, size, pair)
        ends = [judge.loss(_run(model, f"size={size},steps={steps}", pair)) for model in (half, full)]
        detail = f"{ends[0]:.2f} and {ends[1]:.2f} after {steps} steps at {size} pixels"
        name = f"loss of bfloat16 over float32, {content.path.stem} + {style.path.stem}"
        records.append(Record(5, name, ends[0] / ends[1], LOST, "x", detail))
    return records


def time_to_quality(full: Model, ours: Model, size: int) -> Record:
    """Compares the seconds until the loss is near to what L-BFGS in float32 at full size makes of it in 300 steps.

    At one size here too: from coarse to fine a run ends in another picture, whose loss at the last size is higher.
    """
    encoded = PAIRS[0][0].path.read_bytes(), PAIRS[0][1].path.read_bytes()
    judge = Judge(full, size, encoded)
    slow = f"size={size},steps={SLOW_STEPS},optimizer=lbfgs,{ONE_SIZE}"
    _run(full, f"{slow},steps=1", encoded)  # the first run of a size also pays for memory and kernels
    begin = time.perf_counter()
    png = _run(full, slow, encoded)
    slow_seconds, wanted = time.perf_counter() - begin, judge.loss(png)
    steps, seconds, loss = _until(NEAR * wanted, ours, judge, f"size={size},steps=1000,{ONE_SIZE}", encoded)
    reached = loss <= NEAR * wanted
    ending = f"{loss:.2f} after {steps} steps in {seconds:.1f} s"
    detail = f"loss {wanted:.2f} after {SLOW_STEPS} steps in {slow_seconds:.1f} s, {ending}"
    ratio = seconds / slow_seconds if reached else float("inf")
    return Record(6, f"time to {NEAR} of the loss, {size} pixels", ratio, TIME_TO_QUALITY, "x", detail)


def _until(wanted: float, model: Model, judge: Judge, text: str, pair: tuple[bytes, bytes]) -> tuple[int, float, float]:
    """Carries a run on until its loss is as low as wanted, or MOST_STEPS; returns its steps, seconds and loss."""

    def chunk(take: int, state: bytes) -> tuple[bytes, bytes]:
        answer = model.advance(text, take, state, content_bytes=[pair[0]], style_bytes=[[pair[1]]])
        return answer["state_bytes"].numpy()[0], answer["image_bytes"].numpy()[0]

    chunk(1, b"")
    state, steps, seconds, loss = b"", 0, 0.0, float("inf")
    while loss > wanted and steps < MOST_STEPS:
        begin = time.perf_counter()
        state, _ = chunk(CHUNK_STEPS, state)
        seconds += time.perf_counter() - begin
        steps += CHUNK_STEPS
        loss = judge.loss(chunk(0, state)[1])
    return steps, seconds, loss


def _run(model: Model, text: str, pair: tuple[bytes, bytes]) -> bytes:
    inputs = [tf.constant([pair[0]]), tf.constant([[pair[1]]]), tf.constant([text])]
    png: bytes = model.served.functions["stylize"](*inputs)["image_bytes"].numpy()[0]
    return png
