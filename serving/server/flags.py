"""The server's command line: tensorflow_model_server's flag names and defaults, in one dataclass."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NoReturn

from model.errors import InvalidInput
from serving import contract

MAX_PORT = 65535


def _flag(text: str, **default: Any) -> Any:
    return field(metadata={"help": text}, **default)


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """All that can be set from outside. Each field is a flag of the same name.

    Raises:
      InvalidInput: a value is out of its range; the text names the flag.
    """

    model_base_path: str = _flag("directory that holds one integer-named directory per version; the largest is served")
    model_name: str = _flag("name that clients call the model by", default="default")
    port: int = _flag("TCP port for gRPC; 0: no gRPC", default=contract.GRPC_PORT)
    rest_api_port: int = _flag(
        f"TCP port for REST, commonly {contract.REST_PORT}; 0: no REST. Must differ from --port", default=0
    )
    rest_api_timeout_in_ms: int = _flag("how long a REST call may run, in milliseconds; 0: no limit", default=30000)
    enable_model_warmup: bool = _flag(
        "replay VERSION/assets.extra/tf_serving_warmup_requests before serving", default=True
    )
    host: str = _flag(
        "address to bind. Not a flag of tensorflow_model_server, which binds every address", default="127.0.0.1"
    )
    max_concurrent_runs: int = _flag("how many calls run at once. Not a flag of tensorflow_model_server", default=1)
    max_queued_runs: int = _flag(
        "how many calls may wait for a run; more are refused with RESOURCE_EXHAUSTED (HTTP 429). "
        "Not a flag of tensorflow_model_server",
        default=16,
    )

    def __post_init__(self) -> None:
        for name in ("model_base_path", "model_name", "host"):
            if not getattr(self, name):
                raise InvalidInput(f"`--{name}` must not be empty.")
        for name in ("port", "rest_api_port"):
            _check_range(name, getattr(self, name), 0, MAX_PORT)
        if self.port == self.rest_api_port:
            expected = "at least one port must be open" if self.port == 0 else "they must differ"
            raise InvalidInput(f"`--port` and `--rest_api_port`: {expected}. Received: {self.port} for both.")
        _check_range("rest_api_timeout_in_ms", self.rest_api_timeout_in_ms, 0, 2**31 - 1)
        _check_range("max_concurrent_runs", self.max_concurrent_runs, 1, 64)
        _check_range("max_queued_runs", self.max_queued_runs, 0, 1024)


def parse(argv: Sequence[str]) -> ServerOptions:
    """Parses a command line. A wrong one ends the process with exit code 2 and a sentence that names the flag.

    Args:
      argv: the arguments, without the program's name.
    """
    parser = _build_parser()
    values = vars(parser.parse_args(argv))
    try:
        return ServerOptions(**values)
    except InvalidInput as error:
        _fail(parser, str(error))


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving.server",
        description="Serves the newest version of a SavedModel over gRPC and REST, as tensorflow_model_server does. "
        "For one machine; production is the real tensorflow_model_server.",
        epilog="SIGTERM or Ctrl-C: running calls end, waiting and new ones get UNAVAILABLE, exit code 0. "
        "A second signal ends the process at once.",
        allow_abbrev=False,  # a shortened flag works here and fails on tensorflow_model_server
    )
    for option in fields(ServerOptions):
        flag, text = f"--{option.name}", option.metadata["help"]
        if option.name == "model_base_path":
            parser.add_argument(flag, required=True, metavar="DIR", help=text)
        elif isinstance(option.default, bool):
            # As tensorflow_model_server: `--flag`, `--flag=true` and `--flag=false` are all right.
            parser.add_argument(
                flag,
                type=_boolean,
                nargs="?",
                const=True,
                default=option.default,
                metavar="true|false",
                help=f"{text} (default {str(option.default).lower()})",
            )
        else:
            kind, metavar = (int, "N") if isinstance(option.default, int) else (str, option.name.upper())
            parser.add_argument(
                flag, type=kind, default=option.default, metavar=metavar, help=f"{text} (default {option.default})"
            )
    return parser


def _boolean(text: str) -> bool:
    values = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"expected true or false, received {text!r}")
    return values[text.lower()]


def _check_range(name: str, value: int, lowest: int, highest: int) -> None:
    if not lowest <= value <= highest:
        raise InvalidInput(f"`--{name}` must be from {lowest} to {highest}. Received: {value}.")


def _fail(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    parser.error(message)
