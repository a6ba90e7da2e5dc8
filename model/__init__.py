"""Code traced into the SavedModel, and its settings.

Importing this package does not import TensorFlow: clients and the page need only the settings and the errors.
"""
