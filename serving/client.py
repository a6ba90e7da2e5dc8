"""Calls a served style-transfer model: one client over interchangeable transports."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from model.errors import InvalidInput
from model.settings import MAX_STEPS, MAX_STYLES, StyleSettings
from serving.contract import MODEL_NAME
from serving.pictures import prepare
from serving.progress import Progress
from serving.transports import Transport, connect

TIMEOUT_S = 300.0  # of one call; a step of the largest picture takes a minute on a small machine
STRETCH_S = 2.0  # of work that a call asks for; each call costs a third of a second on top (tests/benchmarks/notes.md)
GROWTH = 4  # at most, from one stretch to the next


class StyleTransferClient:
    """A served style-transfer model.

    ```
    with StyleTransferClient("grpc://127.0.0.1:8500") as client:
        for progress in client.run(content, [style], StyleSettings(size=512)):
            print(progress.step, progress.steps)
        Path("out.png").write_bytes(progress.image)
    ```
    """

    def __init__(self, server: str | Transport, *, model_name: str = MODEL_NAME, timeout_s: float = TIMEOUT_S) -> None:
        """Takes `grpc://HOST:PORT`, `http(s)://HOST:PORT`, the path of a SavedModel, or a transport.

        Args:
          server: where the model is.
          model_name: the servable's name.
          timeout_s: longest time for one call; a run makes many.
        """
        self._transport = connect(server, model_name) if isinstance(server, str) else server
        self._timeout_s = timeout_s

    def __enter__(self) -> StyleTransferClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    def describe(self, settings: StyleSettings | None = None, *, timeout_s: float = 10.0) -> dict[str, Any]:
        """Returns what the model says of itself, and the settings as it reads them."""
        text = str(settings or StyleSettings())
        outputs = self._transport.predict("describe", {"settings": [text]}, timeout_s=timeout_s)
        description: dict[str, Any] = json.loads(outputs["description"][0])
        return description

    def run(
        self,
        content: bytes,
        styles: Sequence[bytes],
        settings: StyleSettings,
        *,
        state: bytes = b"",
        cancelled: threading.Event | None = None,
    ) -> Iterator[Progress]:
        """Stylises a picture stretch by stretch; the last record has the result in `image`.

        Args:
          content: an encoded picture.
          styles: 1 to MAX_STYLES encoded pictures.
          settings: all that can be set.
          state: an earlier record's `state`, to go on from there.
          cancelled: once set, the run ends after the stretch under way, with the picture as it stands.

        Yields:
          A record for each stretch.

        Raises:
          StyleTransferError: see model/errors.py.
        """
        if not 1 <= len(styles) <= MAX_STYLES:
            raise InvalidInput(f"`styles` must be 1 to {MAX_STYLES} pictures. Received: {len(styles)}")
        style_px = math.ceil(settings.size * max(1.0, settings.style_scale))
        inputs = {
            "content_bytes": [prepare(content, "content", longest_px=settings.size)],
            "style_bytes": [[prepare(style, "style", longest_px=style_px) for style in styles]],
            "settings": [str(settings)],
        }
        started, clock = time.monotonic(), _Clock()
        take = 1
        while True:
            begun = time.monotonic()
            stopping = cancelled is not None and cancelled.is_set()
            outputs = self._transport.predict(
                "advance",
                inputs | {"state_bytes": [state], "take_steps": [0 if stopping else take]},
                timeout_s=self._timeout_s,
            )
            now = time.monotonic()
            state = outputs["state_bytes"][0]
            share = float(outputs["progress"][0])
            losses = outputs["losses"][0]
            losses = losses[~np.isnan(losses).all(-1)]  # a call that reaches the end takes fewer steps than asked
            clock.note(now - begun, len(losses), share)
            yield Progress(
                step=int(outputs["step"][0]),
                steps=int(outputs["steps"][0]),
                share=share,
                losses=losses,
                preview=outputs["preview_bytes"][0],
                image=outputs["image_bytes"][0],
                state=state,
                seconds=now - started,
                steps_per_s=clock.steps_per_s,
                seconds_left=clock.seconds_left(share),
            )
            if outputs["image_bytes"][0]:
                return
            wanted = round(take * STRETCH_S / max(now - begun, 1e-3))
            take = max(1, min(wanted, GROWTH * take, MAX_STEPS))


class _Clock:
    """Speed and time left, from what each stretch took."""

    _SMOOTHING = 0.7  # weight of the past

    def __init__(self) -> None:
        self.steps_per_s = 0.0
        self._share: float | None = None
        self._share_per_s: float | None = None

    def note(self, seconds: float, steps: int, share: float) -> None:
        if steps:
            self.steps_per_s = steps / max(seconds, 1e-6)
        # The first call also loads and warms what the later ones find ready, so it says nothing of their speed.
        if self._share is not None and share > self._share:
            speed = (share - self._share) / max(seconds, 1e-6)
            past = self._share_per_s
            self._share_per_s = speed if past is None else self._SMOOTHING * past + (1 - self._SMOOTHING) * speed
        self._share = share

    def seconds_left(self, share: float) -> float | None:
        if share >= 1:
            return 0.0
        return (1 - share) / self._share_per_s if self._share_per_s else None
