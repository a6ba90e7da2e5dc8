"""Stylises from the command line: `python -m serving CONTENT STYLE [STYLE...] -o OUT`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from tqdm import tqdm

from model.errors import InvalidInput, StyleTransferError
from model.settings import PRESET, SETTINGS, Setting, StyleSettings, format_value
from serving.client import StyleTransferClient
from serving.contract import DEFAULT_SERVER, MODEL_NAME, SERVER_VARIABLE
from serving.progress import Progress


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser; the flags of the settings come from `StyleSettings`."""
    parser = argparse.ArgumentParser(
        prog="python -m serving",
        description="Paints one picture in the style of others. Ctrl-C keeps the picture as it stands.",
    )
    parser.add_argument("content", type=Path, metavar="CONTENT", help="the picture to paint")
    parser.add_argument("styles", type=Path, nargs="+", metavar="STYLE", help="the pictures whose style it takes")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="the result, a .png file")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--server",
        default=os.environ.get(SERVER_VARIABLE, DEFAULT_SERVER),
        metavar="URL",
        help=f"grpc://HOST:PORT or http://HOST:PORT (default: {SERVER_VARIABLE}, or {DEFAULT_SERVER})",
    )
    where.add_argument(
        "--local", metavar="PATH", help="run the SavedModel at this path in the process, without a server"
    )
    parser.add_argument("--model-name", default=MODEL_NAME, help="the servable's name (default: %(default)s)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    group = parser.add_argument_group("settings")
    for setting in (PRESET, *SETTINGS.values()):
        _add_flag(group, setting)
    return parser


def _add_flag(group: Any, setting: Setting) -> None:
    unit = f", {setting.unit}" if setting.unit else ""
    group.add_argument(
        f"--{setting.name.replace('_', '-')}",
        dest=setting.name,
        metavar=setting.kind.upper() if not setting.choices else "|".join(setting.choices),
        help=f"{setting.help} ({setting.expected}{unit}; default: {format_value(setting.default)})".replace("%", "%%"),
    )


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0 done, 1 failed, 130 stopped by Ctrl-C with the picture kept."""
    options = build_parser().parse_args(arguments)
    try:
        settings = _settings(options)
        if options.output.suffix.lower() != ".png":
            raise InvalidInput(f"`output` must end in .png. Received: {options.output}")
        if not options.output.absolute().parent.is_dir():
            raise InvalidInput(f"`output` must be in a directory that exists. Received: {options.output}")
        content, *styles = [_read(path) for path in (options.content, *options.styles)]
        with StyleTransferClient(options.local or options.server, model_name=options.model_name) as client:
            return _run(client, content, styles, settings, options)
    except StyleTransferError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _settings(options: argparse.Namespace) -> StyleSettings:
    given = {name: getattr(options, name) for name in SETTINGS if getattr(options, name) is not None}
    values = {name: SETTINGS[name].parse(text) for name, text in given.items()}
    return StyleSettings.of(PRESET.parse(options.preset or PRESET.default), **values)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"a picture must be a readable file. Received: {path} ({error.strerror})") from error


def _run(
    client: StyleTransferClient,
    content: bytes,
    styles: list[bytes],
    settings: StyleSettings,
    options: argparse.Namespace,
) -> int:
    model = client.describe(settings)
    if model["weights"]["notice"]:
        print(model["weights"]["notice"], file=sys.stderr)
    cancelled = threading.Event()
    earlier = signal.signal(signal.SIGINT, lambda *_: _stop(cancelled))
    last: Progress | None = None
    try:
        with tqdm(
            total=1.0, disable=options.quiet, dynamic_ncols=True, bar_format="{percentage:3.0f}%|{bar}| {desc}"
        ) as bar:
            for last in client.run(content, styles, settings, cancelled=cancelled):
                bar.n = last.share
                bar.set_description_str(_text(last))
    finally:
        signal.signal(signal.SIGINT, earlier)
    if last is None:
        return 1
    draft = options.output.with_name(f".{options.output.name}.part")
    draft.write_bytes(last.image)
    draft.replace(options.output)
    stopped = last.step < last.steps
    print(f"{options.output}: {'stopped at ' if stopped else ''}step {last.step}/{last.steps}, {last.seconds:.1f} s")
    return 130 if stopped else 0


def _stop(cancelled: threading.Event) -> None:
    if cancelled.is_set():
        raise KeyboardInterrupt  # asked twice: give up the picture too
    cancelled.set()


def _text(progress: Progress) -> str:
    left = "" if progress.seconds_left is None else f", {progress.seconds_left:.0f} s left"
    return f"{progress.step}/{progress.steps} steps, {progress.steps_per_s:.1f} steps/s{left}"


if __name__ == "__main__":
    sys.exit(main())
