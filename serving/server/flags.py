"""The server's command line: flags of tensorflow_model_server, with their names and defaults, and two more."""

import argparse
from collections.abc import Callable, Sequence

from serving import contract

OWN = "not a flag of tensorflow_model_server"
OVERLOADED = "RESOURCE_EXHAUSTED (HTTP 429)"

# Name, default, highest value, help.
NUMBERS = (
    ("port", contract.GRPC_PORT, 65535, "TCP port for gRPC; 0: no gRPC"),
    ("rest_api_port", 0, 65535, f"TCP port for REST, commonly {contract.REST_PORT}; 0: no REST"),
    ("rest_api_timeout_in_ms", 30000, 2**31 - 1, "how long a REST call may take, in milliseconds; 0: no limit"),
    ("max_num_load_retries", 5, 1000, "how often loading a version is retried, once a minute"),
    ("tensorflow_intra_op_parallelism", 0, 1024, "threads that share one operation; 0: all cores"),
    ("tensorflow_inter_op_parallelism", 0, 1024, "operations that run at once; 0: all cores"),
    ("max_queued_runs", 16, 1024, f"calls that may wait while one runs; further calls get {OVERLOADED}; {OWN}"),
)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parses a command line. A wrong flag ends the process with exit code 2 and an error that names it."""
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
        epilog="SIGTERM or Ctrl-C: the running call has a minute to finish, others get UNAVAILABLE, exit code 0. "
        "A second signal ends the process at once.",
        allow_abbrev=False,  # tensorflow_model_server takes no abbreviated flags
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    base_path = "holds one integer-named directory per version"
    parser.add_argument("--model_base_path", metavar="DIR", required=True, default=argparse.SUPPRESS, help=base_path)
    parser.add_argument("--model_name", default="default", help="the model's name in calls")
    parser.add_argument(
        "--host", default="127.0.0.1", help=f"address to bind; tensorflow_model_server binds all; {OWN}"
    )
    for name, default, highest, text in NUMBERS:
        parser.add_argument(f"--{name}", metavar="N", type=_number(highest), default=default, help=text)
    # As in tensorflow_model_server: `--flag`, `--flag=true` or `--flag=false`.
    parser.add_argument(
        "--enable_model_warmup",
        metavar="true|false",
        type=_boolean,
        nargs="?",
        const=True,
        default=True,
        help="replay VERSION/assets.extra/tf_serving_warmup_requests before a version serves",
    )
    return parser


def _number(highest: int) -> Callable[[str], int]:
    def parse_number(text: str) -> int:
        if not text.isdecimal() or int(text) > highest:
            raise argparse.ArgumentTypeError(f"expected a number from 0 to {highest}, received {text!r}")
        return int(text)

    return parse_number


def _boolean(text: str) -> bool:
    values = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"expected true or false, received {text!r}")
    return values[text.lower()]
