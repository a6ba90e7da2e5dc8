"""The embedded server: SavedModels over gRPC and REST, spoken as tensorflow_model_server speaks them.

For one machine without Docker; production is the real tensorflow_model_server, on the same SavedModel directory:

    python -m serving.server --model_base_path=DIR --model_name=NAME --port=8500 --rest_api_port=8501

Dependencies point one way, adapters to core, so that a rule of TensorFlow Serving is written once for both:

    __main__       flags, signals, exit codes
    app            what runs in one process: ports, the thread that loads, clean stop
    rest           HTTP routes over the core             json_tensor    predict bodies <-> named arrays
                                                         json_values    JSON values <-> arrays
                                                         examples_json  classify and regress bodies <-> tf.Examples
                                                         http_body      length limit, gzip
    grpc_service   gRPC services over the core           tensor_proto   TensorProto <-> arrays
    health         gRPC's health protocol
    ports          opens both                            messages       status and metadata documents of both
    core           transport-free: status, find, predict, classify, regress, reload
    run_queue      admission: how many runs at once, how many may wait
    metrics        counts and latencies in Prometheus' format
    manager        models and versions: loads, drains, unloads, tries again
    servable       one loaded version: a v1 session      signature_rules  which inputs and outputs a call may name
                                                         examples         the rules of classify and regress
    warmup         replays the recorded warm-up requests
    versions       which version directories to serve    config_files     the text files that name models
    states         the words for versions that all share
    flags          the command line, one dataclass

Importing this package imports no TensorFlow: a wrong flag or a taken port is reported at once.
"""
