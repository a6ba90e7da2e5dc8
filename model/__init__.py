"""Code traced into the SavedModel, and its settings.

Importing this package imports no TensorFlow: clients and the page need the settings and the errors only.
"""
