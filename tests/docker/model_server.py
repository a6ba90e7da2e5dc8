"""What the real tensorflow_model_server, 2.19.1, takes and shows; the embedded server has only a part of it."""

from __future__ import annotations

from collections.abc import Sequence

# tensorflow_serving/model_servers/main.cc: those that a deployment is likely to set.
FLAGS = {
    *("port", "rest_api_port", "rest_api_timeout_in_ms", "rest_api_num_threads", "rest_api_enable_cors_support"),
    *("model_name", "model_base_path", "model_config_file", "model_config_file_poll_wait_seconds"),
    *("allow_version_labels_for_unavailable_models", "file_system_poll_wait_seconds", "max_num_load_retries"),
    *("load_retry_interval_micros", "saved_model_tags", "enable_model_warmup", "num_request_iterations_for_warmup"),
    *("monitoring_config_file", "enable_grpc_healthcheck_service", "enable_signature_method_name_check"),
    *("enable_serialization_as_tensor_content", "grpc_channel_arguments", "grpc_max_threads", "ssl_config_file"),
    *("tensorflow_session_parallelism", "tensorflow_session_config_file", "per_process_gpu_memory_fraction"),
    *("tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism", "enable_batching"),
    *("xla_cpu_compilation_enabled", "xla_gpu_compilation_enabled"),
}

METRICS_PATH = "/monitoring/prometheus/metrics"  # unless the monitoring file says otherwise
RUNTIME_LATENCY = ":tensorflow:serving:runtime_latency"

# Metric: labels; tensorflow_serving/servables/tensorflow/util.cc and model_servers/server_core.cc.
_HISTOGRAMS = {
    ":tensorflow:serving:request_latency": {"model_name", "API", "entrypoint"},
    RUNTIME_LATENCY: {"model_name", "API", "runtime"},
}
METRICS = {
    ":tensorflow:serving:request_count": {"model_name", "status"},
    **{f"{name}_{part}": labels for name, labels in _HISTOGRAMS.items() for part in ("bucket", "sum", "count")},
}


def options_of(arguments: Sequence[str]) -> dict[str, str]:
    """Returns the values of flags by name; the last counts, as in the server.

    Raises:
      ValueError: the server knows no such flag.
    """
    pairs = [argument.removeprefix("--").split("=", 1) for argument in arguments]
    unknown = {name for name, _ in pairs} - FLAGS
    if unknown:
        raise ValueError(f"tensorflow_model_server has no {unknown}")
    return dict(pairs)
