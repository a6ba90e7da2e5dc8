"""Flags that one picture and a batch share: where the model is, how a result is written, and the settings."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import Any

from model.settings import PRESET, SETTINGS, Setting, StyleSettings, format_value
from serving.client import TIMEOUT_S
from serving.contract import DEFAULT_SERVER, MODEL_NAME, SERVER_VARIABLE
from serving.endpoints import RetryPolicy, split_servers
from serving.errors import InvalidInput
from serving.pictures import BACKGROUND

MAX_SECONDS = 1e9


def add_servers(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that say where the model is; `servers_of` and `client_options` read them."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--server",
        action="append",
        metavar="URL",
        help="grpc://HOST:PORT or http://HOST:PORT; several, separated by commas or by repeating the flag, stand in "
        f"for one another (default: {SERVER_VARIABLE}, or {DEFAULT_SERVER})",
    )
    where.add_argument(
        "--local", metavar="PATH", help="run the SavedModel at this path in the process, without a server"
    )
    parser.add_argument("--model-name", default=MODEL_NAME, help="the servable's name (default: %(default)s)")
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=TIMEOUT_S,
        metavar="SECONDS",
        help="longest time for one call; a run makes many (default: %(default)g)",
    )
    parser.add_argument(
        "--patience",
        type=_seconds,
        default=RetryPolicy().max_elapsed_s,
        metavar="SECONDS",
        help="how long to go on trying when no server answers (default: %(default)g)",
    )


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to {MAX_SECONDS:.0e}. Received: {text}")
    return value


def servers_of(options: argparse.Namespace) -> list[str]:
    """Returns the addresses, or the path of the SavedModel."""
    if options.local:
        return [options.local]
    given = options.server or [os.environ.get(SERVER_VARIABLE) or DEFAULT_SERVER]
    return [server for text in given for server in split_servers(text)]


def client_options(options: argparse.Namespace) -> dict[str, Any]:
    """Returns what a client takes beside its servers."""
    return {
        "model_name": options.model_name,
        "timeout_s": options.timeout,
        "retry_policy": RetryPolicy(max_elapsed_s=options.patience),
    }


def add_result(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that say how pictures are read and results are written."""
    parser.add_argument(
        "--background",
        default=BACKGROUND,
        metavar="COLOUR",
        help="what shows where a picture is transparent, by name or as #RRGGBB (default: %(default)s)",
    )
    parser.add_argument(
        "--no-metadata", action="store_true", help="do not write the settings and the model's name into the result"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Adds a flag for every setting; `settings_from` reads them."""
    group = parser.add_argument_group("settings")
    for setting in (PRESET, *SETTINGS.values()):
        _add_setting(group, setting)


def _add_setting(group: Any, setting: Setting) -> None:
    unit = f", {setting.unit}" if setting.unit else ""
    group.add_argument(
        f"--{setting.name.replace('_', '-')}",
        dest=setting.name,
        metavar=setting.kind.upper() if not setting.choices else "|".join(setting.choices),
        help=f"{setting.help} ({setting.expected}{unit}; default: {format_value(setting.default)})".replace("%", "%%"),
    )


def given_settings(options: argparse.Namespace) -> Mapping[str, str]:
    """Returns the settings that were given, as text."""
    texts = {name: getattr(options, name) for name in (PRESET.name, *SETTINGS)}
    return {name: text for name, text in texts.items() if text is not None}


def settings_from(options: argparse.Namespace) -> StyleSettings:
    """Returns the settings that the flags stand for.

    Raises:
      InvalidInput: a value is wrong.
    """
    given = dict(given_settings(options))
    preset = PRESET.parse(given.pop(PRESET.name, PRESET.default))
    return StyleSettings(preset, **{name: SETTINGS[name].parse(text) for name, text in given.items()})


def refuse(condition: bool, sentence: str) -> None:
    """Raises InvalidInput with the sentence if the condition holds."""
    if condition:
        raise InvalidInput(sentence)
