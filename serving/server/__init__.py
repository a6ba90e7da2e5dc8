"""The embedded server: serves a SavedModel over gRPC and REST, for one machine without Docker.

It speaks the part of TensorFlow Serving that this project's model needs (Predict, metadata, status, health), with the
routes, formats, codes and errors of tensorflow_model_server. Other requests get an error that names
tensorflow_model_server, which production uses on the same SavedModel directory.

    python -m serving.server --model_base_path=DIR --model_name=NAME --port=8500 --rest_api_port=8501

Importing this package does not import TensorFlow: a wrong flag or a taken port is reported at once.
"""
