"""One picture: `python -m serving CONTENT STYLE [STYLE...] -o OUT`, or `--resume FILE -o OUT`."""

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path
from threading import Event

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from model.contract import CONVERGED, NOT_FINITE
from model.settings import StyleSettings
from serving.client import StyleTransferClient
from serving.command_line import flags
from serving.errors import InvalidInput, StyleTransferError
from serving.files import atomic_write, check_writable
from serving.request import Request
from serving.responses import Description
from serving.results import PROGRAM, Origin, check_suffix, encode_result
from serving.run_file import SavedRun, load_run, save_run
from serving.signals import EXIT_STOPPED, stopped_by_ctrl_c

log = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser; the flags of the settings come from `StyleSettings`."""
    parser = argparse.ArgumentParser(
        prog="python -m serving",
        description="Paints one picture in the style of others. Ctrl-C keeps the picture as it stands.",
        epilog="Many pictures: python -m serving batch --help",
    )
    parser.add_argument("content", type=Path, nargs="?", metavar="CONTENT", help="the picture to paint")
    parser.add_argument("styles", type=Path, nargs="*", metavar="STYLE", help="the pictures whose style it takes")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="the result, a .png, .jpg or .webp file"
    )
    for flag, meaning in (
        ("--checkpoint", "save the run to this file after every chunk of steps"),
        ("--resume", "go on with a saved run; the file holds its pictures and settings, and is kept up to date"),
    ):
        parser.add_argument(flag, type=Path, metavar="FILE", help=meaning)
    for flag, meaning in (
        ("--content-mask", "a picture that is white where a style paints, - for what the others leave"),
        ("--style-mask", "a picture that is white where a style picture counts, - for all of it"),
    ):
        parser.add_argument(
            flag, action="append", default=[], metavar="FILE", help=f"{meaning}; once for each STYLE, in their order"
        )
    parser.add_argument("--version", action="version", version=PROGRAM, help="print the version and exit")
    parser.add_argument("--initial", metavar="FILE", help="a picture to start from, instead of what --start says")
    flags.add_flags(parser)
    return parser


def run(arguments: list[str]) -> int:
    """Runs the command line; returns the exit status, or raises a StyleTransferError for the caller to show."""
    options = build_parser().parse_args(arguments)
    check_suffix(options.output, "output")
    guides = (*options.content_mask, *options.style_mask, options.initial)
    pictures = [str(path) for path in (options.content, *options.styles, *guides) if path]
    checkpoint = options.checkpoint or options.resume
    files = [options.output, checkpoint] if checkpoint else [options.output]
    places = [Path(path).resolve() for path in (*files, *set(pictures))]
    for path in files:
        if places.count(path.resolve()) > 1:
            raise InvalidInput(f"a file that is written must be none of the others. Received: {path}")
        check_writable(path)
    run = _resumed(options, pictures) if options.resume else _begun(options)
    with flags.open_client(flags.servers_of(options), options) as client:
        model = flags.common_model([client], run.request.settings, options)
        if options.resume and model.digest != run.model_digest:
            expected = f"a run of the model that is served ({model.digest})"
            raise InvalidInput(f"`resume` must be {expected}. Received: a run of another one ({run.model_digest})")
        request = replace(run.request, settings=model.settings)
        run = replace(run, request=request, model_digest=model.digest)
        with stopped_by_ctrl_c() as cancelled:  # until the picture is written
            return _stylise(client, run, model, options, cancelled)


def _begun(options: argparse.Namespace) -> SavedRun:
    settings = StyleSettings(**flags.given_settings(options))
    if not options.styles:
        raise InvalidInput("`CONTENT` and at least one `STYLE` must be given, or `--resume` with a saved run")
    request = Request.read(
        options.content,
        options.styles,
        settings,
        content_masks=_masks(options.content_mask),
        style_masks=_masks(options.style_mask),
        initial=options.initial or b"",
        background=options.background,
    )
    return SavedRun(request.prepared())


def _masks(names: list[str]) -> list[str | bytes]:
    return [b"" if name == "-" else name for name in names]


def _resumed(options: argparse.Namespace, pictures: list[str]) -> SavedRun:
    if given := [*(f"--{name.replace('_', '-')}" for name in flags.given_settings(options)), *pictures]:
        beside = " ".join(given)
        raise InvalidInput(f"`--resume` takes pictures and settings from the file. Received beside it: {beside}")
    return load_run(options.resume)


def _stylise(
    client: StyleTransferClient, run: SavedRun, model: Description, options: argparse.Namespace, cancelled: Event
) -> int:
    checkpoint = options.checkpoint or options.resume
    last = None
    bar = tqdm(total=1.0, disable=options.quiet, dynamic_ncols=True, bar_format="{percentage:3.0f}%|{bar}| {desc}")
    try:
        with bar, logging_redirect_tqdm():
            for last in client.run(run.request, state=run.state, cancelled=cancelled):
                if checkpoint:
                    try:
                        save_run(checkpoint, run.at(last))
                    except InvalidInput as error:
                        log.warning("%s. The run goes on, and is no longer saved.", error)
                        checkpoint = None
                bar.n = last.fraction_done
                left = "" if last.seconds_left is None else f", {last.seconds_left:.0f} s left"
                bar.set_description_str(f"{last.step}/{last.steps} steps, {last.steps_per_s:.1f} steps/s{left}")
    except StyleTransferError:
        if last is not None:
            kept = checkpoint or options.output.with_name(f"{options.output.name}.run")
            save_run(kept, run.at(last))
            told = f"{kept}: the run at step {last.step}/{last.steps}; --resume {kept} goes on with it"
            print(told, file=sys.stderr)
        raise
    if last is None:  # a run has at least one record
        return 1
    origin = None if options.no_metadata else Origin.of(run.request, model, step=last.step, steps=last.steps)
    atomic_write(options.output, encode_result(last.image, options.output.suffix, origin))
    where = f"step {last.step}/{last.steps}, {last.seconds:.1f} s"
    print(f"{options.output}: {'' if last.complete else 'stopped at '}{where}{_ENDINGS[last.stopped]}")
    return 0 if last.complete else EXIT_STOPPED


_ENDINGS = {
    "": "",
    CONVERGED: ", the loss no longer fell",
    NOT_FINITE: ", a loss was not finite: the last picture before that is kept; lower weights or rates may help",
}
