"""The command line: names and defaults of tensorflow_model_server, and what is said of a wrong one."""

from __future__ import annotations

import pytest

from serving.server import flags

# tensorflow_serving/model_servers/{main.cc,server.h}: flag, default. The last two are ours.
DEFAULTS = {
    "model_base_path": "/m",
    "model_name": "default",
    "port": 8500,
    "rest_api_port": 0,
    "rest_api_timeout_in_ms": 30000,
    "max_num_load_retries": 5,
    "enable_model_warmup": True,
    "tensorflow_intra_op_parallelism": 0,
    "tensorflow_inter_op_parallelism": 0,
    "host": "127.0.0.1",
    "max_queued_runs": 16,
}


def test_flags_have_the_names_and_defaults_of_tensorflow_serving() -> None:
    assert vars(flags.parse(["--model_base_path=/m"])) == DEFAULTS
    ours = {action.dest for action in flags.build_parser()._actions if flags.OWN in (action.help or "")}
    assert ours == {"host", "max_queued_runs"}


def test_values_are_taken_in_each_form() -> None:
    options = flags.parse(["--model_base_path", "/m", "--rest_api_port=8501", "--enable_model_warmup=false"])
    assert (options.rest_api_port, options.enable_model_warmup) == (8501, False)
    assert flags.parse(["--model_base_path=/m", "--enable_model_warmup"]).enable_model_warmup


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        ([], "--model_base_path"),
        (["--no_such_flag=1"], "--no_such_flag"),
        (["--model_config_file=/m"], "--model_config_file"),
        (["--model_nam=x"], "--model_nam"),
        (["--port=x"], "--port: expected a number from 0 to 65535, received 'x'"),
        (["--port=70000"], "--port: expected a number from 0 to 65535, received '70000'"),
        (["--max_num_load_retries=-1"], "--max_num_load_retries"),
        (["--port=1", "--rest_api_port=1"], "they must differ. Received: 1 for both."),
        (["--port=0"], "at least one port must be open"),
        (["--model_name="], "`--model_name` must not be empty."),
        (["--enable_model_warmup=perhaps"], "--enable_model_warmup: expected true or false, received 'perhaps'"),
    ],
)
def test_wrong_flag_is_named(argv: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        flags.parse(["--model_base_path=/m", *argv] if argv else [])
    assert ended.value.code == 2
    assert named in capsys.readouterr().err
