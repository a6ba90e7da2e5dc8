"""From files to a run and from a run to a file: what one picture and a batch of them have in common."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from model.settings import StyleSettings
from serving.client import StyleTransferClient
from serving.pictures import BACKGROUND, prepare_all
from serving.progress import Progress
from serving.results import Origin, encode_result, model_facts, sha256
from serving.run_file import SavedRun


def new_run(
    content: bytes,
    styles: Sequence[bytes],
    settings: StyleSettings,
    *,
    model_digest: str = "",
    background: str = BACKGROUND,
) -> SavedRun:
    """Returns a run before its first stretch, with its pictures as they travel.

    Raises:
      InvalidInput: a picture is none, or there are too few or too many styles.
    """
    ready, ready_styles = prepare_all(content, styles, settings, background)
    return SavedRun(
        settings=settings,
        model_digest=model_digest,
        pictures={"content": (ready,), "styles": tuple(ready_styles)},
        sha256={"content": (sha256(content),), "styles": tuple(map(sha256, styles))},
    )


def go_on(client: StyleTransferClient, run: SavedRun, cancelled: threading.Event | None = None) -> Iterator[Progress]:
    """Runs from where it stands to its end; see `StyleTransferClient.run`."""
    (content,) = run.pictures["content"]
    return client.run(content, run.pictures["styles"], run.settings, state=run.state, cancelled=cancelled)


def result_file(run: SavedRun, image: bytes, suffix: str, model: Mapping[str, Any], *, metadata: bool = True) -> bytes:
    """Returns the result of a run as a file.

    Args:
      run: where it ended.
      image: the result as PNG.
      suffix: of the file, one of SUFFIXES.
      model: its description.
      metadata: whether to write into it what made it.
    """
    origin = Origin(
        settings=run.settings,
        model=model_facts(model),
        content_sha256=run.sha256["content"][0],
        styles_sha256=run.sha256["styles"],
        step=run.step,
        steps=run.steps,
    )
    return encode_result(image, suffix, origin if metadata else None)
