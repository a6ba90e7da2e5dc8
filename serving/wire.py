"""What goes over gRPC to TensorFlow Serving, without TensorFlow: the method, and the messages of model/protos.py."""

from __future__ import annotations

from model.protos import DATA_TYPES, PredictRequest, PredictResponse, Tensor

__all__ = ["DATA_TYPES", "PREDICT", "PredictRequest", "PredictResponse", "Tensor"]

PREDICT = "/tensorflow.serving.PredictionService/Predict"
