"""The server's command line: names and defaults of tensorflow_model_server's flags, and two of its own."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from serving import contract

OWN = "not a flag of tensorflow_model_server"


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parses a command line. A wrong one ends the process with exit code 2 and a sentence that names the flag.

    Args:
      argv: the arguments, without the program's name.
    """
    parser = build_parser()
    options = parser.parse_args(argv)
    for name in ("model_base_path", "model_name", "host"):
        if not getattr(options, name):
            parser.error(f"`--{name}` must not be empty.")
    if options.port == options.rest_api_port:
        expected = "at least one port must be open" if options.port == 0 else "they must differ"
        parser.error(f"`--port` and `--rest_api_port`: {expected}. Received: {options.port} for both.")
    return options


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser; the table in serving/README.md is made from it."""
    parser = argparse.ArgumentParser(
        prog="python -m serving.server",
        description="Serves a SavedModel over gRPC and REST, as tensorflow_model_server does. "
        "For one machine; production is the real tensorflow_model_server.",
        epilog="SIGTERM or Ctrl-C: the running call ends, waiting and new ones get UNAVAILABLE, exit code 0. "
        "A second signal ends the process at once.",
        allow_abbrev=False,  # a shortened flag would work here and fail on tensorflow_model_server
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add, port = parser.add_argument, _number(0, 65535)
    add(
        "--model_base_path",
        metavar="DIR",
        required=True,
        default=argparse.SUPPRESS,
        help="holds one integer-named directory per version",
    )
    add("--model_name", metavar="NAME", default="default", help="the name that clients call the model by")
    add("--port", metavar="N", type=port, default=contract.GRPC_PORT, help="TCP port for gRPC; 0: no gRPC")
    add(
        "--rest_api_port",
        metavar="N",
        type=port,
        default=0,
        help=f"TCP port for REST, commonly {contract.REST_PORT}; 0: no REST. Must differ from --port",
    )
    add(
        "--rest_api_timeout_in_ms",
        metavar="N",
        type=_number(0, 2**31 - 1),
        default=30000,
        help="how long a REST call may take, in milliseconds; 0: no limit",
    )
    add(
        "--max_num_load_retries",
        metavar="N",
        type=_number(0, 1000),
        default=5,
        help="how often a version that could not be loaded is tried again, once a minute",
    )
    # As tensorflow_model_server: `--flag`, `--flag=true` and `--flag=false` are all right.
    add(
        "--enable_model_warmup",
        metavar="true|false",
        type=_boolean,
        nargs="?",
        const=True,
        default=True,
        help="replay VERSION/assets.extra/tf_serving_warmup_requests before a version serves",
    )
    for kind, what in (("intra", "threads that share one operation"), ("inter", "operations that run at once")):
        add(
            f"--tensorflow_{kind}_op_parallelism",
            metavar="N",
            type=_number(0, 1024),
            default=0,
            help=f"{what}; 0: all cores",
        )
    add("--host", default="127.0.0.1", help=f"address to bind; tensorflow_model_server binds every address; {OWN}")
    add(
        "--max_queued_runs",
        metavar="N",
        type=_number(0, 1024),
        default=16,
        help="how many calls may wait for the one that runs; more are refused with RESOURCE_EXHAUSTED "
        f"(HTTP 429); {OWN}",
    )
    return parser


def _number(lowest: int, highest: int) -> Callable[[str], int]:
    def parse_number(text: str) -> int:
        if not text.isdecimal() or not lowest <= int(text) <= highest:
            raise argparse.ArgumentTypeError(f"expected a number from {lowest} to {highest}, received {text!r}")
        return int(text)

    return parse_number


def _boolean(text: str) -> bool:
    values = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"expected true or false, received {text!r}")
    return values[text.lower()]
