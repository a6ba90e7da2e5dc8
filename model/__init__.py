"""All that becomes graph, and the settings that describe it.

Importing this package imports no TensorFlow: clients and the page need the settings and the errors only.
"""
