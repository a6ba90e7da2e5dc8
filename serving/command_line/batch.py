"""Many pictures: `python -m serving batch CONTENTS/ STYLES/ -o OUT/`."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from model.settings import StyleSettings
from serving.batch import Batch, Ending, Outcome, pictures_in, plan
from serving.client import StyleTransferClient
from serving.command_line import flags
from serving.errors import InvalidInput, StyleTransferError
from serving.results import SUFFIXES, resolve_settings
from serving.signals import EXIT_STOPPED, stopped_by_ctrl_c

REFRESH_S = 0.2  # of the progress bar
MAX_AT_ONCE = 256


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser."""
    parser = argparse.ArgumentParser(
        prog="python -m serving batch",
        description="Paints every content in every style. What is done already is skipped, so the same command goes "
        "on with a batch that was stopped; Ctrl-C stops it.",
    )
    parser.add_argument("contents", type=Path, metavar="CONTENTS", help="a directory of pictures to paint, or one file")
    parser.add_argument("styles", type=Path, metavar="STYLES", help="a directory of pictures, or one file")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="a directory for the results")
    parser.add_argument(
        "--format",
        default="png",
        choices=[suffix[1:] for suffix in SUFFIXES],
        help="of the results (default: %(default)s)",
    )
    parser.add_argument(
        "--at-once", type=_count, metavar="N", help="how many to work on at once (default: one for each server)"
    )
    flags.add_servers(parser)
    flags.add_result(parser)
    flags.add_settings(parser)
    return parser


def _count(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= MAX_AT_ONCE):
        raise argparse.ArgumentTypeError(f"must be an integer from 1 to {MAX_AT_ONCE}. Received: {text}")
    return int(text)


def run(arguments: list[str]) -> int:
    """Runs the command line; returns the exit status: 0 all done, 1 some failed, 130 stopped.

    Raises:
      StyleTransferError: nothing could be begun.
    """
    options = build_parser().parse_args(arguments)
    settings = flags.settings_from(options)
    contents, styles = pictures_in(options.contents, "CONTENTS"), pictures_in(options.styles, "STYLES")
    tasks = plan(contents, styles, options.output, f".{options.format}")
    with contextlib.ExitStack() as stack:
        servers = flags.servers_of(options)
        clients = [
            # Each begins at another server, and has the others to turn to.
            stack.enter_context(StyleTransferClient(_turned(servers, turn), **flags.client_options(options)))
            for turn in range(min(options.at_once or len(servers), len(tasks)))
        ]
        if len(servers) == 1:
            model = clients[0].describe(settings, timeout_s=options.timeout)
        else:
            model = _common_model(servers, settings, options)
        if model["weights"].get("notice"):
            print(model["weights"]["notice"], file=sys.stderr)
        cancelled = stack.enter_context(stopped_by_ctrl_c())
        batch = Batch(
            tasks,
            clients,
            resolve_settings(settings, model),
            model,
            background=options.background,
            metadata=not options.no_metadata,
            cancelled=cancelled,
        )
        batch.start()
        return _summary(_watch(batch, len(tasks), options.quiet), options.output)


def _turned(servers: Sequence[str], turn: int) -> list[str]:
    return list(itertools.islice(itertools.cycle(servers), turn % len(servers), turn % len(servers) + len(servers)))


def _common_model(servers: Sequence[str], settings: StyleSettings, options: argparse.Namespace) -> dict[str, Any]:
    """Returns the description of the model that all servers serve; one that does not answer may come later."""
    models: dict[str, dict[str, Any]] = {}
    problem: StyleTransferError | None = None
    for server in servers:
        try:
            with StyleTransferClient(server, **flags.client_options(options)) as client:
                models[server] = client.describe(settings, timeout_s=options.timeout)
        except StyleTransferError as error:
            problem = error
            print(error, file=sys.stderr)
    if problem and not models:
        raise problem
    digests = {str(model["digest"]) for model in models.values()}
    if len(digests) > 1:
        raise InvalidInput(f"all servers must serve the same model. Received: {', '.join(sorted(digests))}")
    return next(iter(models.values()))


def _watch(batch: Batch, count: int, quiet: bool) -> list[Outcome]:
    outcomes: list[Outcome] = []
    bar = tqdm(total=count, disable=quiet, dynamic_ncols=True, bar_format="{percentage:3.0f}%|{bar}| {desc} {elapsed}")
    with bar, logging_redirect_tqdm():
        for outcome in batch.outcomes(REFRESH_S):
            if outcome is not None:
                outcomes.append(outcome)
                if outcome.problem:
                    bar.write(f"{outcome.task.output.name}: {outcome.problem}", file=sys.stderr)
            at_work = batch.under_way()
            bar.n = min(count, len(outcomes) + sum(at_work.values()))
            names = ", ".join(f"{task.output.stem} {done:.0%}" for task, done in at_work.items())
            bar.set_description_str(f"{len(outcomes)}/{count} {names}".rstrip())
    return outcomes


def _summary(outcomes: Sequence[Outcome], output: Path) -> int:
    counts = Counter(outcome.ending for outcome in outcomes)
    print(f"{output}: " + ", ".join(f"{counts[ending]} {ending.value}" for ending in Ending if counts[ending]))
    if counts[Ending.FAILED]:
        return 1
    return EXIT_STOPPED if counts[Ending.STOPPED] else 0
