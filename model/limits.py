"""The limits of what a model accepts, and how a run shares out its steps. Imports no TensorFlow."""

MAX_SIZE_PX = 4096  # long side of a result
SHORT_SIDE_PX = 16  # the smallest side that survives four 2x2 poolings
MAX_RATIO = MAX_SIZE_PX // SHORT_SIDE_PX  # of the long side to the short one
MAX_STEPS = 10_000  # of a whole run
MAX_STYLES = 8  # style pictures for one content picture
MAX_INPUT_PX = 64_000_000  # width times height of a picture that is sent; 192 MB decoded to uint8
STEPS_RATIO = 0.7  # steps at a size of a run over steps at the next smaller one, where a step costs half as much
