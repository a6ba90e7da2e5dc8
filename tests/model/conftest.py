"""Functions in the tests' own process run as they are written.

TensorFlow's rewriting of them takes most of a first call. What it makes of the graph is seen by the tests that run a
server (tests/serving).
"""

import tensorflow as tf

tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
