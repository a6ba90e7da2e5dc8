"""Calls a served style-transfer model: one client over one or several servers, by interchangeable transports."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from model.limits import MAX_STEPS
from model.settings import StyleSettings
from serving.contract import MODEL_NAME
from serving.endpoints import Endpoints, RetryPolicy, split_servers
from serving.errors import InvalidInput, StyleTransferError
from serving.request import Request
from serving.responses import check_chunk, read_description
from serving.transports import Transport, connect

TIMEOUT_S = 300.0  # of one call; a step of the largest picture takes a minute on a small machine
CHUNK_S = 2.0  # of work that a call asks for; each call costs a third of a second on top (tests/benchmarks/notes.md)
GROWTH = 4  # at most, from one chunk to the next


@dataclass(frozen=True)
class Progress:
    """Where a run stands after a chunk of its steps.

    Attributes:
      step: steps taken since the start of the run.
      steps: steps of the whole run.
      fraction_done: of the whole run's work, 0 to 1 (steps on small pictures weigh less).
      losses: float32 [N, 4], a row for each step of this chunk: total, content, style, total_variation.
      preview: the picture as it stands, JPEG, at most 512 pixels long.
      image: the result as PNG, in the last record of a run; else empty.
      state: what a run goes on from; opaque.
      seconds: since this run was started or resumed.
      steps_per_s: at the size that is being worked on.
      seconds_left: estimate; None until there is ground for one.
      stopped: why the run is over before its last step, `converged` or `not_finite`; "" if it is not.
    """

    step: int
    steps: int
    fraction_done: float
    losses: npt.NDArray[np.float32]
    preview: bytes
    image: bytes
    state: bytes
    seconds: float
    steps_per_s: float
    seconds_left: float | None
    stopped: str = ""

    @property
    def complete(self) -> bool:
        """Whether the run has come to its end, rather than been cancelled on the way."""
        return self.step >= self.steps or bool(self.stopped)


class StyleTransferClient:
    """A served style-transfer model.

    ```
    with StyleTransferClient("grpc://127.0.0.1:8500") as client:
        for progress in client.run(Request(content, [style], StyleSettings(size=512))):
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
        retry_policy: RetryPolicy | None = None,
    ) -> None:
        """Takes where the model is: one server, or several that serve the same model.

        Args:
          server: `grpc://HOST:PORT`, `http(s)://HOST:PORT`, the path of a SavedModel, or a transport; or several, in
            a sequence or joined by commas. A run stays with one as long as it answers, then goes on at the next.
          model_name: the servable's name.
          timeout_s: longest time for one call; a run makes many.
          retry_policy: how long a failing call is repeated. None: 30 s.

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
        self._transport = Endpoints(transports, retry_policy or RetryPolicy())
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
        in its turn, so one that is busy with a large picture takes as long as a chunk of it.
        """
        inputs = {"settings": [str(settings or StyleSettings())]}
        once = RetryPolicy(0)
        response = self._transport.predict(
            "describe", inputs, timeout_s=timeout_s, check=read_description, retry_policy=once
        )
        return read_description(response)

    def run(
        self,
        request: Request,
        *,
        state: bytes = b"",
        cancelled: threading.Event | None = None,
        on_retry: Callable[[StyleTransferError], object] | None = None,
    ) -> Iterator[Progress]:
        """Stylises a picture, a chunk of steps in each call; the last record has the result in `image`.

        Args:
          request: what the run is made from.
          state: an earlier record's `state`, to go on from there.
          cancelled: once set, the run ends after the chunk under way, with the picture as it stands.
          on_retry: is told why no server gave an answer, each time before all are asked again; the next record means
            that one did.

        Yields:
          A record for each chunk.

        Raises:
          StyleTransferError: see serving/errors.py. What failed at one server was tried at the others, and again for as
            long as the retry policy says. The run can go on from the last record's `state`.
        """
        signature, inputs = _call_with(request.prepared())
        started, clock = time.monotonic(), _Clock()
        take, step = 1, None if state else 0  # None: nobody knows where a state from elsewhere stands
        while True:
            begun = time.monotonic()
            asked = 0 if cancelled is not None and cancelled.is_set() else take
            outputs = self._transport.predict(
                signature,
                {**inputs, "state_bytes": [state], "take_steps": [asked]},
                timeout_s=self._timeout_s,
                check=partial(check_chunk, signature, before=step, take=asked),
                cancelled=cancelled,
                on_retry=on_retry,
            )
            now = time.monotonic()
            state, step = outputs["state_bytes"][0], int(outputs["step"][0])
            done = float(outputs["progress"][0])
            losses = outputs["losses"][0]
            losses = losses[~np.isnan(losses).all(-1)]  # a call that reaches the end takes fewer steps than asked
            clock.add(now - begun, len(losses), done)
            yield Progress(
                step=step,
                steps=int(outputs["steps"][0]),
                fraction_done=done,
                losses=losses,
                preview=outputs["preview_bytes"][0],
                image=outputs["image_bytes"][0],
                state=state,
                seconds=now - started,
                steps_per_s=clock.steps_per_s,
                seconds_left=clock.seconds_left(done),
                stopped=outputs["stopped"][0].decode(),
            )
            if outputs["image_bytes"][0]:
                return
            wanted = round(take * CHUNK_S / max(now - begun, 1e-3))
            take = max(1, min(wanted, GROWTH * take, MAX_STEPS))


def _call_with(request: Request) -> tuple[str, dict[str, Any]]:
    """Returns the signature that takes a request, and its inputs as far as they stay the same all the run."""
    pictures = request.pictures
    content, styles = list(pictures.pop("content")), list(pictures.pop("styles"))
    inputs = {"content_bytes": content, "style_bytes": [styles], "settings": [str(request.settings)]}
    if not pictures:
        return "advance", inputs
    no_masks = [b""] * len(styles)
    return "advance_guided", inputs | {
        "content_mask_bytes": [list(pictures.get("content_masks", no_masks))],
        "style_mask_bytes": [list(pictures.get("style_masks", no_masks))],
        "initial_bytes": [request.initial],
    }


class _Clock:
    """Speed and time left, from what each chunk took."""

    _SMOOTHING = 0.7  # weight of the past

    def __init__(self) -> None:
        self.steps_per_s = 0.0
        self._done: float | None = None
        self._done_per_s: float | None = None

    def add(self, seconds: float, steps: int, done: float) -> None:
        if steps:
            self.steps_per_s = steps / max(seconds, 1e-6)
        # The first call also loads and warms what the later ones find ready, so it says nothing of their speed.
        if self._done is not None and done > self._done:
            speed = (done - self._done) / max(seconds, 1e-6)
            past = self._done_per_s
            self._done_per_s = speed if past is None else self._SMOOTHING * past + (1 - self._SMOOTHING) * speed
        self._done = done

    def seconds_left(self, done: float) -> float | None:
        if done >= 1:
            return 0.0
        return (1 - done) / self._done_per_s if self._done_per_s else None
