"""Names, ports and message limits shared by server, clients and page.

The signatures themselves, with dtypes and shapes, are in model/contract.py.
"""

MODEL_NAME = "style_transfer"
GRPC_PORT = 8500  # tensorflow_model_server's own
REST_PORT = 8501

SERVER_VARIABLE = "NST_SERVING_URL"
"""Environment variable: the server that command line and page call."""
CA_VARIABLE, TOKEN_VARIABLE, HEADERS_VARIABLE = "NST_SERVING_CA", "NST_SERVING_TOKEN", "NST_SERVING_HEADERS"
"""Environment variables: the defaults of `ca`, `token` and `headers`, see serving/network.py."""
DEFAULT_SERVER = f"grpc://127.0.0.1:{GRPC_PORT}"

UNLIMITED = -1  # for gRPC; protobuf's own limit is 2 GiB
GRPC_OPTIONS = (
    # By default clients accept 4 MiB; a large picture and its state need more.
    ("grpc.max_receive_message_length", UNLIMITED),
    ("grpc.max_send_message_length", UNLIMITED),
)
