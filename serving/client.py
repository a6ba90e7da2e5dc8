"""Calls a served style-transfer model: one client over one or several servers, by interchangeable transports."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from model.limits import MAX_STEPS
from model.settings import StyleSettings
from serving.answers import check_answer, check_stretch
from serving.contract import MODEL_NAME
from serving.endpoints import Endpoints, Patience, split_servers
from serving.errors import InvalidAnswer, InvalidInput, StyleTransferError
from serving.pictures import BACKGROUND, prepare_all
from serving.progress import Progress
from serving.transports import Arrays, Transport, connect

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

    def __init__(
        self,
        server: str | Transport | Sequence[str | Transport],
        *,
        model_name: str = MODEL_NAME,
        timeout_s: float = TIMEOUT_S,
        patience: Patience | None = None,
    ) -> None:
        """Takes where the model is: one server, or several that serve the same model.

        Args:
          server: `grpc://HOST:PORT`, `http(s)://HOST:PORT`, the path of a SavedModel, or a transport; or several, in
            a sequence or joined by commas. A run stays with one as long as it answers, then goes on at the next.
          model_name: the servable's name.
          timeout_s: longest time for one call; a run makes many.
          patience: how long a failing call is repeated. None: 30 s.

        Raises:
          InvalidInput: an address is of no known kind, there is no SavedModel at a path, or the timeout is none.
        """
        if not timeout_s > 0:
            raise InvalidInput(f"`timeout_s` must be above 0 seconds. Received: {timeout_s}")
        servers = [server] if isinstance(server, str) or not isinstance(server, Sequence) else list(server)
        transports: list[Transport] = []
        for one in servers:
            if isinstance(one, str):
                transports += [connect(address, model_name) for address in split_servers(one)]
            else:
                transports.append(one)
        if not transports:
            raise InvalidInput("`server` must name at least one server. Received: none")
        self._transport = Endpoints(transports, patience or Patience())
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
        """Returns what the model says of itself, and the settings as it reads them.

        It asks every server once and does not wait for one: who asks wants to know how things stand. A server answers
        in its turn, so one that is busy with a large picture takes as long as a stretch of it.
        """
        text = str(settings or StyleSettings())
        outputs = self._transport.predict(
            "describe", {"settings": [text]}, timeout_s=timeout_s, check=_read_description, patience=Patience(0)
        )
        return _read_description(outputs)

    def run(
        self,
        content: bytes,
        styles: Sequence[bytes],
        settings: StyleSettings,
        *,
        content_masks: Sequence[bytes] = (),
        style_masks: Sequence[bytes] = (),
        initial: bytes = b"",
        state: bytes = b"",
        background: str = BACKGROUND,
        cancelled: threading.Event | None = None,
        on_retry: Callable[[StyleTransferError], object] | None = None,
    ) -> Iterator[Progress]:
        """Stylises a picture stretch by stretch; the last record has the result in `image`.

        Args:
          content: an encoded picture.
          styles: 1 to MAX_STYLES encoded pictures.
          settings: all that can be set.
          content_masks: for each style an encoded picture that is white where that style paints; an empty one stands
            for what the others leave. None at all: the styles blend everywhere.
          style_masks: for each style an encoded picture that is white where it counts; empty: all of it.
          initial: an encoded picture to start from; empty: as the settings' `start` says.
          state: an earlier record's `state`, to go on from there.
          background: colour that shows where a picture is transparent; a mask is black there.
          cancelled: once set, the run ends after the stretch under way, with the picture as it stands.
          on_retry: is told why no server gave an answer, each time before all are asked again; the next record means
            that one did.

        Yields:
          A record for each stretch.

        Raises:
          StyleTransferError: see serving/errors.py. What failed at one server was tried at the others, and again for as
            long as there is patience. The run can go on from the last record's `state`.
        """
        pictures = prepare_all(
            content,
            styles,
            settings,
            content_masks=content_masks,
            style_masks=style_masks,
            initial=initial,
            background=background,
        )
        signature, inputs = _call_with(pictures, settings)
        started, clock = time.monotonic(), _Clock()
        take, step = 1, None if state else 0
        while True:
            begun = time.monotonic()
            stopping = cancelled is not None and cancelled.is_set()
            outputs = self._advance(signature, inputs, state, step, 0 if stopping else take, cancelled, on_retry)
            now = time.monotonic()
            state, step = outputs["state_bytes"][0], int(outputs["step"][0])
            share = float(outputs["progress"][0])
            losses = outputs["losses"][0]
            losses = losses[~np.isnan(losses).all(-1)]  # a call that reaches the end takes fewer steps than asked
            clock.note(now - begun, len(losses), share)
            yield Progress(
                step=step,
                steps=int(outputs["steps"][0]),
                share=share,
                losses=losses,
                preview=outputs["preview_bytes"][0],
                image=outputs["image_bytes"][0],
                state=state,
                seconds=now - started,
                steps_per_s=clock.steps_per_s,
                seconds_left=clock.seconds_left(share),
                stopped=outputs["stopped"][0].decode(),
            )
            if outputs["image_bytes"][0]:
                return
            wanted = round(take * STRETCH_S / max(now - begun, 1e-3))
            take = max(1, min(wanted, GROWTH * take, MAX_STEPS))

    def _advance(
        self,
        signature: str,
        inputs: Mapping[str, Any],
        state: bytes,
        step: int | None,
        take: int,
        cancelled: threading.Event | None,
        on_retry: Callable[[StyleTransferError], object] | None,
    ) -> Arrays:
        """Takes the next stretch from a state, at a step that is None where nobody knows it."""
        return self._transport.predict(
            signature,
            {**inputs, "state_bytes": [state], "take_steps": [take]},
            timeout_s=self._timeout_s,
            check=lambda answer: check_stretch(signature, answer, before=step, take=take),
            cancelled=cancelled,
            on_retry=on_retry,
        )


def _call_with(pictures: Mapping[str, Sequence[bytes]], settings: StyleSettings) -> tuple[str, dict[str, Any]]:
    """Returns the signature that takes these pictures, and its inputs as far as they stay the same all the run."""
    styles = list(pictures["styles"])
    inputs = {"content_bytes": list(pictures["content"]), "style_bytes": [styles], "settings": [str(settings)]}
    if set(pictures) == {"content", "styles"}:
        return "advance", inputs
    no_masks = [b""] * len(styles)
    return "advance_guided", inputs | {
        "content_mask_bytes": [list(pictures.get("content_masks", no_masks))],
        "style_mask_bytes": [list(pictures.get("style_masks", no_masks))],
        "initial_bytes": list(pictures.get("initial", [b""])),
    }


def _read_description(outputs: Arrays) -> dict[str, Any]:
    check_answer("describe", outputs)
    try:
        description = json.loads(outputs["description"][0])
    except (ValueError, RecursionError) as error:
        raise InvalidAnswer("The server's answer is none of `describe`: no JSON.") from error
    if not (isinstance(description, dict) and isinstance(description.get("weights"), dict)):
        raise InvalidAnswer("The server's answer is none of `describe`: it says nothing of the weights.")
    return description


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
