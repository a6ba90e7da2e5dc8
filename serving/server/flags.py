"""The server's command line: tensorflow_model_server's flag names and defaults, in one dataclass."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NoReturn

from serving import contract
from serving.errors import InvalidInput

MAX_MESSAGE_BYTES = 2**31 - 1  # what gRPC can carry; tensorflow_model_server sets no smaller limit

_DAY_S = 24 * 3600
_RANGES = {
    "port": (0, 65535),
    "rest_api_port": (0, 65535),
    "rest_api_timeout_in_ms": (0, 2**31 - 1),
    "model_config_file_poll_wait_seconds": (0, _DAY_S),
    "file_system_poll_wait_seconds": (0, _DAY_S),
    "max_num_load_retries": (0, 1000),
    "load_retry_interval_micros": (0, _DAY_S * 1_000_000),
    "num_request_iterations_for_warmup": (1, 1000),
    "tensorflow_intra_op_parallelism": (0, 1024),
    "tensorflow_inter_op_parallelism": (0, 1024),
    "max_concurrent_runs": (1, 64),
    "max_queued_runs": (0, 1024),
    "max_request_bytes": (1024, MAX_MESSAGE_BYTES),
}


def _flag(text: str, *, ours: bool = False, **default: Any) -> Any:
    """Describes a flag; `ours`: tensorflow_model_server has none of that name."""
    return field(metadata={"help": text, "ours": ours}, **default)


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """All that can be set from outside. Each field is a flag of the same name; the README's table is made from them.

    Raises:
      InvalidInput: a value is out of its range; the text names the flag.
    """

    model_base_path: str = _flag("directory that holds one integer-named directory per version", default="")
    model_name: str = _flag("name that clients call the model by", default="default")
    model_config_file: str = _flag(
        "ModelServerConfig in protobuf's text format: several models, version policies, labels. "
        "The two flags above are then ignored",
        default="",
    )
    model_config_file_poll_wait_seconds: int = _flag("how often to read that file anew; 0: never", default=0)
    allow_version_labels_for_unavailable_models: bool = _flag(
        "let a new label name a version that is not loaded yet; needed for labels in a file that is read at the start",
        default=False,
    )
    file_system_poll_wait_seconds: int = _flag("how often to look for new versions; 0: only at the start", default=1)
    max_num_load_retries: int = _flag("how often a version that could not be loaded is tried again", default=5)
    load_retry_interval_micros: int = _flag(
        "how long to wait before each of these, in microseconds", default=60_000_000
    )
    enable_model_warmup: bool = _flag(
        "replay VERSION/assets.extra/tf_serving_warmup_requests before serving a version", default=True
    )
    num_request_iterations_for_warmup: int = _flag("how often to replay each of these requests", default=1)
    port: int = _flag("TCP port for gRPC; 0: no gRPC", default=contract.GRPC_PORT)
    rest_api_port: int = _flag(
        f"TCP port for REST, commonly {contract.REST_PORT}; 0: no REST. Must differ from --port", default=0
    )
    rest_api_timeout_in_ms: int = _flag("how long a REST call may run, in milliseconds; 0: no limit", default=30000)
    rest_api_enable_cors_support: bool = _flag("let web pages of other origins call the REST API", default=False)
    enable_grpc_healthcheck_service: bool = _flag("answer gRPC's health protocol, grpc.health.v1.Health", default=False)
    monitoring_config_file: str = _flag(
        "MonitoringConfig in protobuf's text format: whether the REST port serves Prometheus metrics, and where",
        default="",
    )
    enable_serialization_as_tensor_content: bool = _flag(
        "send numbers over gRPC as raw bytes in place of typed fields", default=False
    )
    enable_signature_method_name_check: bool = _flag(
        "call only signatures whose method_name is of the method that is called", default=False
    )
    saved_model_tags: str = _flag("tags of the graph to load, comma separated", default="serve")
    tensorflow_intra_op_parallelism: int = _flag("threads that share one operation; 0: all cores", default=0)
    tensorflow_inter_op_parallelism: int = _flag("operations that run at once; 0: all cores", default=0)
    host: str = _flag("address to bind; tensorflow_model_server binds every address", ours=True, default="127.0.0.1")
    max_concurrent_runs: int = _flag("how many calls run at once", ours=True, default=1)
    max_queued_runs: int = _flag(
        "how many calls may wait for a run; more are refused with RESOURCE_EXHAUSTED (HTTP 429)",
        ours=True,
        default=16,
    )
    max_request_bytes: int = _flag(
        "how long a request may be; a longer one is refused (HTTP 413, RESOURCE_EXHAUSTED)",
        ours=True,
        default=MAX_MESSAGE_BYTES,
    )

    def __post_init__(self) -> None:
        if not self.model_base_path and not self.model_config_file:
            raise InvalidInput("`--model_base_path` or `--model_config_file` must be given.")
        for name in ("model_name", "host", "saved_model_tags"):
            if not getattr(self, name):
                raise InvalidInput(f"`--{name}` must not be empty.")
        if self.port == self.rest_api_port:
            expected = "at least one port must be open" if self.port == 0 else "they must differ"
            raise InvalidInput(f"`--port` and `--rest_api_port`: {expected}. Received: {self.port} for both.")
        for name, (lowest, highest) in _RANGES.items():
            if not lowest <= getattr(self, name) <= highest:
                raise InvalidInput(f"`--{name}` must be from {lowest} to {highest}. Received: {getattr(self, name)}.")


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


def table() -> str:
    """Returns all flags as the README's table."""
    rows = ["| flag | default | meaning |", "|---|---|---|"]
    for option in fields(ServerOptions):
        default = str(option.default).lower() if isinstance(option.default, bool) else option.default
        own = "; *not a flag of tensorflow_model_server*" if option.metadata["ours"] else ""
        rows.append(f"| `--{option.name}` | {default} | {option.metadata['help']}{own} |")
    return "\n".join(rows)


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving.server",
        description="Serves SavedModels over gRPC and REST, as tensorflow_model_server does. "
        "For one machine; production is the real tensorflow_model_server.",
        epilog="SIGTERM or Ctrl-C: running calls end, waiting and new ones get UNAVAILABLE, exit code 0. "
        "A second signal ends the process at once.",
        allow_abbrev=False,  # a shortened flag works here and fails on tensorflow_model_server
    )
    for option in fields(ServerOptions):
        flag, text = f"--{option.name}", option.metadata["help"]
        if option.metadata["ours"]:
            text += ". Not a flag of tensorflow_model_server"
        if isinstance(option.default, bool):
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
            shown = f" (default {option.default})" if option.default != "" else ""
            parser.add_argument(flag, type=kind, default=option.default, metavar=metavar, help=text + shown)
    return parser


def _boolean(text: str) -> bool:
    values = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"expected true or false, received {text!r}")
    return values[text.lower()]


def _fail(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    parser.error(message)
