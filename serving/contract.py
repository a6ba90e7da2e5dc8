"""The names under which the model is served: what server, clients and page agree on beside its signatures.

The signatures themselves, with dtypes and shapes, are in model/contract.py.
"""

from __future__ import annotations

MODEL_NAME = "style_transfer"
GRPC_PORT = 8500  # tensorflow_model_server's own
REST_PORT = 8501

SERVER_VARIABLE = "NST_SERVING_URL"
"""Environment variable: the server that command line and page call."""
DEFAULT_SERVER = f"grpc://127.0.0.1:{GRPC_PORT}"

GRPC_OPTIONS = (
    # Clients take 4 MiB by default; a large picture and its state need more. -1 is gRPC's word for "no limit".
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)
