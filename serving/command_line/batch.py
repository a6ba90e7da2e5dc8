"""Many pictures: `python -m serving batch CONTENTS/ STYLES/ -o OUT/`."""

import argparse
import contextlib
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from model.settings import StyleSettings
from serving.batch import Batch, Ending, Outcome, pictures_in, plan
from serving.client import StyleTransferClient
from serving.command_line import flags
from serving.results import SUFFIXES
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
    formats = [suffix[1:] for suffix in SUFFIXES]
    parser.add_argument("--format", default="png", choices=formats, help="of the results (default: %(default)s)")
    parser.add_argument(
        "--at-once", type=_count, metavar="N", help="how many to work on at once (default: one for each server)"
    )
    flags.add_flags(parser)
    return parser


def _count(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= MAX_AT_ONCE):
        raise argparse.ArgumentTypeError(f"must be an integer from 1 to {MAX_AT_ONCE}. Received: {text}")
    return int(text)


def run(arguments: list[str]) -> int:
    """Runs a batch, or raises StyleTransferError if none can begin; returns 0 all done, 1 some failed, 130 stopped."""
    options = build_parser().parse_args(arguments)
    settings = StyleSettings(**flags.given_settings(options))
    contents = pictures_in(options.contents, "CONTENTS", options.output)
    styles = pictures_in(options.styles, "STYLES", options.output)
    tasks = plan(contents, styles, options.output, f".{options.format}")
    servers = flags.servers_of(options)
    with contextlib.ExitStack() as stack:

        def clients_of(groups: Iterable[Sequence[str]]) -> list[StyleTransferClient]:
            return [stack.enter_context(flags.open_client(group, options)) for group in groups]

        # Each begins at another server, and has the others to turn to.
        turns = [turn % len(servers) for turn in range(min(options.at_once or len(servers), len(tasks)))]
        clients = clients_of([*servers[turn:], *servers[:turn]] for turn in turns)
        alone = clients_of([server] for server in servers) if len(servers) > 1 else clients[:1]
        model = flags.common_model(alone, settings, options)
        cancelled = stack.enter_context(stopped_by_ctrl_c())
        batch = Batch(tasks, clients, model, options.background, not options.no_metadata, cancelled)
        outcomes = _watch(batch, len(tasks), options.quiet)
    counts = Counter(outcome.ending for outcome in outcomes)
    print(f"{options.output}: " + ", ".join(f"{counts[ending]} {ending.value}" for ending in Ending if counts[ending]))
    if counts[Ending.FAILED]:
        return 1
    return EXIT_STOPPED if counts[Ending.STOPPED] else 0


def _watch(batch: Batch, count: int, quiet: bool) -> list[Outcome]:
    outcomes: list[Outcome] = []
    bar = tqdm(total=count, disable=quiet, dynamic_ncols=True, bar_format="{percentage:3.0f}%|{bar}| {desc} {elapsed}")
    with bar, logging_redirect_tqdm():
        for outcome in batch.outcomes(REFRESH_S):
            if outcome is not None:
                outcomes.append(outcome)
                if outcome.problem:
                    bar.write(f"{outcome.task.output.name}: {outcome.problem}", file=sys.stderr)
            under_way = dict(batch.fractions)
            bar.n = min(count, len(outcomes) + sum(under_way.values()))
            names = ", ".join(f"{task.output.stem} {done:.0%}" for task, done in under_way.items())
            bar.set_description_str(f"{len(outcomes)}/{count} {names}".rstrip())
    return outcomes
