"""Calls a served style-transfer model on one server, or on several that replace each other when one fails."""

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self, Unpack

import numpy as np
import numpy.typing as npt

from model.limits import MAX_STEPS
from model.settings import LOSS_TERMS, StyleSettings
from serving.contract import MODEL_NAME
from serving.endpoints import Endpoints, RetryPolicy, split_servers
from serving.errors import InvalidInput, StyleTransferError
from serving.network import Access
from serving.request import Picture, Request
from serving.responses import Description, check_chunk, read_description
from serving.results import Origin, Result
from serving.transports import Pin, Transport, connect

TIMEOUT_S = 300.0  # of one call; a step of the largest picture takes a minute on a small machine
CHUNK_S = 2.0  # time of the steps in a call, short for frequent previews
OVERHEAD = 0.2  # largest fraction of a call's time that is not steps: on a slow connection chunks are longer
GROWTH = 4  # largest ratio of a chunk's steps to those of the last one
SMOOTHING = 0.7  # weight of earlier chunks in the estimate of the speed


@dataclass(frozen=True)
class Progress:
    """The record of a run after a chunk of steps.

    Attributes:
      step: steps taken since the start of the run.
      steps: steps of the whole run.
      fraction_done: of the whole run's work, 0 to 1 (steps at small sizes weigh less).
      losses: float32 [N, 4], a row for each step of this chunk: total, content, style, total_variation.
      preview: the picture as it stands, JPEG, at most 512 pixels long.
      image: the result as PNG in the last record of a run, else empty.
      state: the state from which the run can be resumed; opaque.
      seconds: since this run was started or resumed.
      steps_per_s: in the latest chunk.
      seconds_left: estimate; None while unknown.
      stopped: why the run ended before its last step, `converged` or `not_finite`; else "".
    """

    step: int = 0
    steps: int = 0
    fraction_done: float = 0.0
    losses: npt.NDArray[np.float32] = field(
        default_factory=lambda: np.empty((0, len(LOSS_TERMS)), np.float32), repr=False
    )
    preview: bytes = field(default=b"", repr=False)
    image: bytes = field(default=b"", repr=False)
    state: bytes = field(default=b"", repr=False)
    seconds: float = 0.0
    steps_per_s: float = 0.0
    seconds_left: float | None = None
    stopped: str = ""

    @property
    def complete(self) -> bool:
        """Whether the run has ended by itself, without being cancelled."""
        return self.step >= self.steps or bool(self.stopped)

    def _repr_jpeg_(self) -> bytes:  # a notebook shows the preview
        return self.preview


class StyleTransferClient:
    """A served style-transfer model. Threads may share it.

    >>> with StyleTransferClient(["grpc://localhost:8500", "http://localhost:8501"]) as client:
    ...     client.stylize("photo.jpg", "painting.jpg", size=512).save("out.png")
    """

    def __init__(
        self,
        server: str | Transport | Sequence[str | Transport],
        *,
        model_name: str = MODEL_NAME,
        timeout_s: float = TIMEOUT_S,
        retry_policy: RetryPolicy | None = None,
        **access: Unpack[Access],
    ) -> None:
        """Creates a client of one server, or of several that serve the same model.

        Args:
          server: `grpc(s)://HOST:PORT`, `http(s)://HOST:PORT`, the path of a SavedModel, or a transport; or several of
            these, in a sequence or joined by commas. A run stays with one as long as it answers, then uses the next.
          model_name: the servable's name.
          timeout_s: longest time for one call; a run makes many.
          retry_policy: how long a failed call is retried. None: 30 s.
          access: `ca`, `token` and `headers` of serving/network.py, for all servers.

        Raises:
          InvalidInput: an argument is wrong, or there is no SavedModel at a path; the text says what.
        """
        if not 0 < timeout_s < math.inf:
            raise InvalidInput(f"`timeout_s` must be a number of seconds above 0. Received: {timeout_s}")
        given = [server] if isinstance(server, str) or not isinstance(server, Sequence) else server
        servers = [part for one in given for part in (split_servers(one) if isinstance(one, str) else [one])]
        transports = [connect(one, model_name, **access) if isinstance(one, str) else one for one in servers]
        if not transports:
            raise InvalidInput("`server` must name at least one server. Received: none")
        self._transport = Endpoints(transports, retry_policy or RetryPolicy())
        self._timeout_s = timeout_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    def describe(self, settings: StyleSettings | None = None, *, timeout_s: float = 10.0) -> Description:
        """Returns the model's description, with the settings as the model reads them.

        Every server is asked at most once, without retries. One that runs a single call at a time and is busy answers
        after its current chunk.
        """
        return self._describe(settings or StyleSettings(), timeout_s=timeout_s, retry_policy=RetryPolicy(0))

    def _describe(self, settings: StyleSettings, **options: Any) -> Description:
        read = partial(read_description, settings=settings)
        return self._transport.predict("describe", {"settings": [str(settings)]}, read=read, **options)

    def stylize(
        self,
        content: Picture,
        styles: Picture | Sequence[Picture],
        *,
        on_progress: Callable[[Progress], object] | None = None,
        cancelled: threading.Event | None = None,
        **options: Any,
    ) -> Result:
        """Paints a picture in the style of others.

        >>> result = client.stylize("photo.jpg", ["painting.jpg", "second.jpg"], size=512, steps=60)
        >>> result.save("out.png")
        >>> result.losses.shape
        (60, 4)

        Args:
          content: the picture to paint: the path of a file, the bytes of one, or a PIL image. A text is always a path.
          styles: the picture whose style it takes, or several.
          on_progress: called with a record after each chunk of about two seconds.
          cancelled: once set, the run ends after the current chunk, with the picture as it stands.
          **options: settings by name, or all as `settings`; `content_masks`, `style_masks`, `initial` and `background`,
            as `Request.read` takes them.

        Raises:
          InvalidInput: an argument is wrong; the text names it.
          StyleTransferError: as `run`, which can be resumed; this cannot.
        """
        request = Request.read(content, styles, **options).prepared()
        model = self._describe(request.settings, timeout_s=self._timeout_s, cancelled=cancelled)
        losses = []
        for last in self.run(request, cancelled=cancelled):
            losses.append(last.losses)
            if on_progress is not None:
                on_progress(last)
        origin = Origin.of(request, model, step=last.step, steps=last.steps)
        return Result(last.image, origin, np.concatenate(losses), last.stopped)

    def run(
        self,
        request: Request,
        *,
        state: bytes = b"",
        cancelled: threading.Event | None = None,
        on_retry: Callable[[StyleTransferError], object] | None = None,
    ) -> Iterator[Progress]:
        """Stylises a picture, a chunk of steps per call. The last record has the result as `image`.

        >>> request = Request.read("photo.jpg", "painting.jpg", size=512, steps=60)
        >>> for progress in client.run(request):
        ...     print(f"{progress.step} of {progress.steps}")
        1 of 60
        ...
        60 of 60

        Args:
          request: pictures and settings of the run.
          state: `state` of an earlier record, to resume from there.
          cancelled: once set, the run ends after the current chunk, with the picture as it stands.
          on_retry: called with the last failure before each retry of all servers; the next record means that one
            answered.

        Yields:
          A record for each chunk.

        Raises:
          StyleTransferError: see serving/errors.py; for most errors, only after all servers failed for as long as the
            retry policy allows. The run can be resumed from the last record's `state`.
        """
        request = request.prepared()
        signature, inputs = _call_with(request)
        started = time.monotonic()
        take, step = 1, None if state else 0  # None: the step of a given state is unknown
        pace = _Pace(longest_s=self._timeout_s / 2)
        image, done, pin = b"", math.nan, Pin()
        steps_per_s, done_per_s = 0.0, math.nan
        while not image:
            begun = time.monotonic()
            asked = 0 if cancelled is not None and cancelled.is_set() else take
            outputs = self._transport.predict(
                signature,
                {**inputs, "state_bytes": [state], "take_steps": [asked]},
                timeout_s=self._timeout_s,
                read=partial(check_chunk, signature, before=step, take=asked),
                pin=pin,
                cancelled=cancelled,
                on_retry=on_retry,
            )
            now = time.monotonic()
            elapsed_s = max(now - begun, 1e-3)
            size = len(request.content) + sum(map(len, request.styles)) + len(state) + len(outputs["state_bytes"][0])
            state, image, step = outputs["state_bytes"][0], outputs["image_bytes"][0], int(outputs["step"][0])
            done_before, done = done, float(outputs["progress"][0])
            losses = outputs["losses"][0]
            losses = losses[~np.isnan(losses).all(-1)]  # a call that reaches the end takes fewer steps than asked
            steps_per_s = len(losses) / elapsed_s if len(losses) else steps_per_s
            # Not from the first call, which includes loading and warming up.
            if done > done_before:
                latest = (done - done_before) / elapsed_s
                past = latest if math.isnan(done_per_s) else done_per_s
                done_per_s = SMOOTHING * past + (1 - SMOOTHING) * latest
            yield Progress(
                step=step,
                steps=int(outputs["steps"][0]),
                fraction_done=done,
                losses=losses,
                preview=outputs["preview_bytes"][0],
                image=image,
                state=state,
                seconds=now - started,
                steps_per_s=steps_per_s,
                seconds_left=0.0 if done >= 1 else None if math.isnan(done_per_s) else (1 - done) / done_per_s,
                stopped=outputs["stopped"][0].decode(),
            )
            take = pace.steps_after(size, len(losses), done - done_before, elapsed_s)


class _Pace:
    """Chooses the number of steps in the next call of a run.

    The seconds of a call are a * bytes + b * work, fitted by least squares to the last calls. If these are all alike, a
    and b cannot be separated: then a keeps its last value, which at first makes up half of the call.
    """

    _FITTED_CALLS = 6
    _INERTIA = 0.1  # weight of the last estimate, where each call has the weight 1

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._calls: list[tuple[float, float, float]] = []
        self._seconds_a_byte = math.nan

    def steps_after(self, size: int, steps: int, work: float, seconds: float) -> int:
        """Returns the steps of the next call, given bytes, steps, fraction of the run's work and seconds of the last.

        After the first call `work` is NaN: that call includes loading and is not fitted.
        """
        most = min(GROWTH * steps, MAX_STEPS)
        if not work > 0:
            return max(1, min(round(steps * CHUNK_S / seconds), most))
        self._calls = [*self._calls[1 - self._FITTED_CALLS :], (size, work, seconds)]
        known = self._seconds_a_byte * size if self._seconds_a_byte >= 0 else seconds / 2
        calls = [(b / size, w / work, s) for b, w, s in self._calls]
        rows = np.array([*calls, (self._INERTIA, 0.0, self._INERTIA * known)])
        overhead_s, steps_s = np.linalg.lstsq(rows[:, :2], rows[:, 2])[0]  # for a call like the last one
        overhead_s, steps_s = max(overhead_s, 0.0), max(steps_s, 0.01 * seconds)  # noise may fit less
        self._seconds_a_byte = overhead_s / size
        wanted_s = min(max(CHUNK_S, overhead_s * (1 / OVERHEAD - 1)), self._longest_s - overhead_s)
        return max(1, min(round(steps * wanted_s / steps_s), most))


def _call_with(request: Request) -> tuple[str, dict[str, Any]]:
    """Returns the signature for a request, and the inputs that stay the same in all calls of the run."""
    inputs = {
        "content_bytes": [request.content],
        "style_bytes": [list(request.styles)],
        "settings": [str(request.settings)],
    }
    if request.pictures.keys() == {"content", "styles"}:
        return "advance", inputs
    no_masks = [b""] * len(request.styles)
    return "advance_guided", inputs | {
        "content_mask_bytes": [list(request.content_masks or no_masks)],
        "style_mask_bytes": [list(request.style_masks or no_masks)],
        "initial_bytes": [request.initial],
    }
