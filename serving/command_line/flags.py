"""The flags shared by single runs and batches: the server, the output of results, and the settings."""

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence

from model.settings import PRESET, SETTINGS, StyleSettings, format_value
from serving.client import TIMEOUT_S, StyleTransferClient
from serving.contract import DEFAULT_SERVER, MODEL_NAME, SERVER_VARIABLE
from serving.endpoints import RetryPolicy, split_servers
from serving.errors import InvalidInput, StyleTransferError
from serving.pictures import BACKGROUND
from serving.responses import Description

MAX_SECONDS = 1e9


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the shared flags to a parser."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--server",
        action="append",
        metavar="URL",
        help="grpc://HOST:PORT or http://HOST:PORT, or with TLS grpcs or https; give several, separated by commas or "
        "by repeating the flag, and a failed call goes to the next "
        f"(default: {SERVER_VARIABLE}, or {DEFAULT_SERVER})",
    )
    where.add_argument(
        "--local", metavar="PATH", help="run the SavedModel at this path in this process, without a server"
    )
    parser.add_argument("--model-name", default=MODEL_NAME, help="the servable's name (default: %(default)s)")
    for flag, default, meaning in (
        ("--timeout", TIMEOUT_S, "longest time for one call; a run makes many"),
        ("--patience", RetryPolicy().max_elapsed_s, "how long to retry while no server answers"),
    ):
        parser.add_argument(
            flag, type=_seconds, default=default, metavar="SECONDS", help=f"{meaning} (default: %(default)g)"
        )
    parser.add_argument(
        "--background",
        default=BACKGROUND,
        metavar="COLOUR",
        help="colour behind transparent pixels, by name or as #RRGGBB (default: %(default)s)",
    )
    parser.add_argument(
        "--no-metadata", action="store_true", help="do not write settings and model into the result's metadata"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    group = parser.add_argument_group("settings")
    for setting in (PRESET, *SETTINGS.values()):
        unit = f", {setting.unit}" if setting.unit else ""
        meaning = f"{setting.help} ({setting.expected}{unit}; default: {format_value(setting.default)})"
        group.add_argument(
            f"--{setting.name.replace('_', '-')}",
            metavar=setting.kind.upper() if not setting.choices else "|".join(setting.choices),
            help=meaning.replace("%", "%%"),
        )


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= MAX_SECONDS:
            return float(text)
    raise argparse.ArgumentTypeError(f"must be a number from 0 to {MAX_SECONDS:.0e}. Received: {text}")


def servers_of(options: argparse.Namespace) -> list[str]:
    """Returns the servers' addresses, or the path of the SavedModel with --local."""
    if options.local:
        return [options.local]
    given = options.server or [os.environ.get(SERVER_VARIABLE) or DEFAULT_SERVER]
    return [server for text in given for server in split_servers(text)]


def open_client(servers: Sequence[str], options: argparse.Namespace) -> StyleTransferClient:
    """Returns a client of these servers, configured by the other flags."""
    policy = RetryPolicy(max_elapsed_s=options.patience)
    return StyleTransferClient(servers, model_name=options.model_name, timeout_s=options.timeout, retry_policy=policy)


def common_model(
    clients: Sequence[StyleTransferClient], settings: StyleSettings, options: argparse.Namespace
) -> Description:
    """Returns the description of the model that the clients' servers have in common, and prints its notice, if any.

    Raises StyleTransferError if the models differ or no server answers. If only some fail, their errors are printed.
    """
    models: dict[str, Description] = {}
    problems = []
    for client in clients:
        try:
            model = client.describe(settings, timeout_s=options.timeout)
            models[model.digest] = model
        except StyleTransferError as error:
            problems.append(error)
    if not models:
        raise problems[0]
    if len(models) > 1:
        raise InvalidInput(f"all servers must serve the same model. Received: {', '.join(sorted(models))}")
    for remark in (*problems, model.weights.notice):
        if remark:
            print(remark, file=sys.stderr)
    return model


def given_settings(options: argparse.Namespace) -> dict[str, str]:
    """Returns the settings given as flags, by name, as text."""
    texts = {name: getattr(options, name) for name in (PRESET.name, *SETTINGS)}
    return {name: text for name, text in texts.items() if text is not None}
