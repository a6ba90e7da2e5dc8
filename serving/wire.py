"""What goes over gRPC to TensorFlow Serving, without TensorFlow: the method and its messages.

The fields are those of tensorflow/core/framework/{tensor,tensor_shape,types}.proto and
tensorflow_serving/apis/{model,predict}.proto; a test holds them against the official ones.
"""

from __future__ import annotations

from serving.protos import build_messages

PREDICT = "/tensorflow.serving.PredictionService/Predict"
DATA_TYPES = {"float32": 1, "int32": 3, "string": 7}  # DT_FLOAT, DT_INT32, DT_STRING

_MESSAGES = build_messages(
    "style_transfer.predict",
    {
        "Dim": {"size": (1, "INT64")},
        "TensorShape": {"dim": (2, "Dim[]")},
        "Tensor": {
            "dtype": (1, "INT32"),  # an enum on the other side; both travel as a varint
            "tensor_shape": (2, "TensorShape"),
            "tensor_content": (4, "BYTES"),
            "float_val": (5, "FLOAT[]"),
            "int_val": (7, "INT32[]"),
            "string_val": (8, "BYTES[]"),
        },
        "ModelSpec": {"name": (1, "STRING"), "signature_name": (3, "STRING")},
        "PredictRequest": {
            "model_spec": (1, "ModelSpec"),
            "inputs": (2, "Tensor{}"),
            "output_filter": (3, "STRING[]"),
        },
        "PredictResponse": {"outputs": (1, "Tensor{}"), "model_spec": (2, "ModelSpec")},
    },
)
Tensor = _MESSAGES["Tensor"]
PredictRequest, PredictResponse = _MESSAGES["PredictRequest"], _MESSAGES["PredictResponse"]
