"""A sweep: the same pictures at several style weights and scales, small and quick, as one contact sheet."""

from __future__ import annotations

import dataclasses
import io
import threading
from collections.abc import Callable, Sequence

from PIL import Image, ImageDraw, ImageFont

from model.settings import SETTINGS, StyleSettings, format_value
from serving.client import StyleTransferClient
from serving.errors import StyleTransferError
from serving.request import Request
from ui.jobs import Job, Status
from ui.line import Line

ROWS, COLUMNS = "style_weight", "style_scale"
"""The settings that change from row to row and from column to column."""

FACTORS = {ROWS: (0.2, 1.0, 5.0), COLUMNS: (0.6, 1.0, 1.6)}
"""What each multiplies the setting's value by."""

SIZE_PX = 192
STEPS = 40

MARGIN_PX, LINE_PX = 14, 30  # of the contact sheet
INK, PAPER = "#2a2530", "#fcfaf6"


def grid(settings: StyleSettings) -> list[list[StyleSettings]]:
    """Returns the settings of a sweep around given ones, row by row; values stay within their ranges."""
    small = {"size": min(SIZE_PX, settings.size), "steps": min(STEPS, settings.steps)}
    return [
        [settings.replace(**small, **{ROWS: weight, COLUMNS: scale}) for scale in _around(settings, COLUMNS)]
        for weight in _around(settings, ROWS)
    ]


def _around(settings: StyleSettings, name: str) -> list[float]:
    setting, value = SETTINGS[name], float(getattr(settings, name))
    least, most = float(setting.low or 0), float(setting.high or 0)
    return [float(f"{min(max(factor * value, least), most):.3g}") for factor in FACTORS[name]]


def label(settings: StyleSettings, name: str) -> str:
    """Says what one of the two settings is."""
    return f"{SETTINGS[name].label} {format_value(getattr(settings, name))}"


class Sweep:
    """The runs of a sweep, one after another. All methods may be called from any thread.

    Attributes:
      request: what they are made around.
      rows: the jobs, as `grid` lays them out.
    """

    def __init__(
        self,
        client: StyleTransferClient,
        request: Request,
        line: Line | None = None,
        unattended: Callable[[], bool] | None = None,
    ) -> None:
        """Takes what a `Job` takes."""
        self.request = request
        self.rows = [
            [Job(client, dataclasses.replace(request, settings=settings), line, unattended) for settings in row]
            for row in grid(request.settings)
        ]
        self._cancelled = threading.Event()
        self._worker = threading.Thread(target=self._work, name="sweep", daemon=True)

    @property
    def jobs(self) -> list[Job]:
        return [job for row in self.rows for job in row]

    @property
    def active(self) -> bool:
        return self._worker.is_alive()

    @property
    def fraction_done(self) -> float:
        """The fraction of the work that is done, 0 to 1."""
        return sum(job.snapshot().fraction_done for job in self.jobs) / len(self.jobs)

    @property
    def problem(self) -> StyleTransferError | None:
        """Why it ended early, if it failed; as long as it is active, why the server does not answer just now."""
        return next((now.problem for job in self.jobs if (now := job.snapshot()).problem), None)

    def start(self) -> None:
        self._worker.start()

    def stop(self) -> None:
        """Asks it to end after the chunk under way; the pictures that are there stay."""
        self._cancelled.set()
        for job in self.jobs:
            job.stop()

    def wait(self, timeout_s: float | None = None) -> None:
        """Waits until it has ended."""
        self._worker.join(timeout_s)

    def _work(self) -> None:
        for job in self.jobs:
            if self._cancelled.is_set():
                return
            job.start()
            if self._cancelled.is_set():
                job.stop()  # the order to stop came before there was anything to stop
            job.wait()
            if job.snapshot().status is Status.FAILED:
                return


def contact_sheet(rows: Sequence[Sequence[tuple[StyleSettings, bytes]]]) -> bytes:
    """Returns pictures in rows, with what they were made with beside and above them, as PNG.

    Args:
      rows: settings and encoded picture of each cell, equally many in every row; an empty picture: an empty cell.
    """
    pictures = [[Image.open(io.BytesIO(data)).convert("RGB") if data else None for _, data in row] for row in rows]
    there = [picture for row in pictures for picture in row if picture]
    width = max((picture.width for picture in there), default=SIZE_PX)
    height = max((picture.height for picture in there), default=SIZE_PX)
    font = ImageFont.load_default(15)
    names = [label(row[0][0], ROWS) for row in rows]
    left = round(max(font.getlength(name) for name in names)) + 2 * MARGIN_PX
    columns = len(rows[0])
    sheet = Image.new(
        "RGB",
        (left + columns * (width + MARGIN_PX), LINE_PX + MARGIN_PX + len(rows) * (height + MARGIN_PX)),
        PAPER,
    )
    draw = ImageDraw.Draw(sheet)
    for column, (settings, _) in enumerate(rows[0]):
        middle = left + column * (width + MARGIN_PX) + width / 2
        draw.text((middle, MARGIN_PX + LINE_PX / 2), label(settings, COLUMNS), INK, font, anchor="mm")
    for row, name in enumerate(names):
        top = LINE_PX + MARGIN_PX + row * (height + MARGIN_PX)
        draw.text((left - MARGIN_PX, top + height / 2), name, INK, font, anchor="rm")
        for column, picture in enumerate(pictures[row]):
            if picture:
                sheet.paste(picture, (left + column * (width + MARGIN_PX), top))
    out = io.BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()
