"""From files to a run and from a run to a file: what one picture and a batch of them have in common."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from model.settings import SETTINGS, StyleSettings
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
    content_masks: Sequence[bytes] = (),
    style_masks: Sequence[bytes] = (),
    initial: bytes = b"",
    model_digest: str = "",
    background: str = BACKGROUND,
) -> SavedRun:
    """Returns a run before its first stretch, with its pictures as they travel; see `StyleTransferClient.run`.

    Raises:
      InvalidInput: a picture is none, or there are too few or too many styles.
    """
    guides = {"content_masks": content_masks, "style_masks": style_masks}
    ready = prepare_all(content, styles, settings, **guides, initial=initial, background=background)
    brought = {"content": [content], "styles": styles, **guides, "initial": [initial]}
    return SavedRun(
        settings=settings,
        model_digest=model_digest,
        pictures=ready,
        sha256={name: tuple(map(sha256, brought[name])) for name in ready},
    )


def go_on(client: StyleTransferClient, run: SavedRun, cancelled: threading.Event | None = None) -> Iterator[Progress]:
    """Runs from where it stands to its end; see `StyleTransferClient.run`."""
    pictures = run.pictures
    return client.run(
        pictures["content"][0],
        pictures["styles"],
        run.settings,
        content_masks=pictures.get("content_masks", ()),
        style_masks=pictures.get("style_masks", ()),
        initial=pictures.get("initial", (b"",))[0],
        state=run.state,
        cancelled=cancelled,
    )


def as_read(settings: StyleSettings, model: Mapping[str, Any]) -> StyleSettings:
    """Returns the settings as the model reads them: its presets may differ with its weights and layers.

    Args:
      settings: what was asked for.
      model: its description, as `StyleTransferClient.describe` returned it for these settings.
    """
    read = {name: SETTINGS[name].parse(str(value)) for name, value in model.get("settings", {}).items()}
    return settings.replace(**read)


def result_file(run: SavedRun, image: bytes, suffix: str, model: Mapping[str, Any], *, metadata: bool = True) -> bytes:
    """Returns the result of a run as a file.

    Args:
      run: where it ended.
      image: the result as PNG.
      suffix: of the file, one of SUFFIXES.
      model: its description.
      metadata: whether to write into it what made it.
    """
    origin = Origin.of(run.settings, run.sha256, model_facts(model), step=run.step, steps=run.steps)
    return encode_result(image, suffix, origin if metadata else None)
