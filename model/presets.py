"""The presets: the values of each that differ from the defaults of `StyleSettings`. Imports no TensorFlow.

`quick`, `balanced` and `fine` are our own recipe. The others reproduce the loss of well-known systems; a test compares
each with that system's formula. All presets use pixels of 0 to 255, the Keras (Caffe) weights of VGG19, images clipped
to 0 to 255 after each step, and style pictures resized to the long side of the result. The original systems may differ
in these.

Conversion of the style weights: at a layer with C channels and N positions let dG be the difference of the raw Gram
matrices F'F, and U = sum(dG^2) / (N^2 C^2), our mean((G - G*)^2) with `normalisation=none`. Our style term is the mean
of U over the layers, weighted by the layers' weights. So a system with the weight w_l on U at layer l becomes
`style_weight` = sum(w_l), with w_l as the layers' weights.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from model.layers import BLOCK_STARTS, LAYERS, WIDTHS, Layer
from model.limits import MAX_SIZE_PX


def _gram(weights: Sequence[float] = (1.0,) * 5, *, scale: float, **values: Any) -> Mapping[str, Any]:
    """Returns the preset of a system with one size, Gram matrices, zero padding and, by default, Adam.

    The system's weight on U is `scale` times `weights`, at the five style layers of Gatys, Ecker and Bethge, which
    nearly all later systems use.
    """
    return {
        "smallest_size": MAX_SIZE_PX,  # so `size` is the only size
        "statistics": "gram",
        "normalisation": "none",
        "style_layers": tuple(map(Layer, BLOCK_STARTS, weights)),
        "style_weight": scale * sum(weights),
        "content_layers": (Layer("block4_conv2"),),
        "padding": "zero",
        "optimizer": "adam",
        "history": 10,
        **values,
    }


_PER_CHANNELS = tuple(1 / c**2 for c in WIDTHS)

# fmt: off
PRESETS: Mapping[str, Mapping[str, Any]] = {
    # A good picture within seconds to a minute.
    "quick": {"size": 384, "steps": 72},
    "balanced": {},
    # The same recipe at twice the size.
    "fine": {"size": 1024, "steps": 300},
    # Style 1e6, content 1, total variation 1e2, 2000 steps of Adam from the content.
    #
    # These weights are in the units of PyTorch's tutorial: G = F'F / (N C), the style term of a layer is
    # mean((G - G*)^2), five layers count a fifth each, the content term is mean((F - F*)^2), total variation is the
    # mean of squared differences of pixels of 0 to 1. With `normalisation=target` mean(F*^2) is 1 at the content layer
    # and mean(G*^2) is 1 / C^2 at a style layer, roughly as in that tutorial's network. Without it, features under the
    # Keras weights go into the hundreds, and a style weight of 1e6 would leave nothing of the content.
    "classic": _gram(
        _PER_CHANNELS, scale=1e6 / 5, normalisation="target", content_weight=1.0, total_variation_weight=1e2 / 255**2,
        steps=2000, learning_rate=10.0),
    # Gatys, Ecker and Bethge, CVPR 2016: alpha / beta = 1e-3, L-BFGS from white noise, average pooling.
    #
    # Loss: 1 * (1/2) sum((F - P)^2) at block4_conv2 + 1e3 * sum over five layers of (1/5) sum(dG^2) / (4 N^2 C^2).
    # The paper's network was rescaled to a mean activation of 1 for every filter. With other weights style and content
    # balance differently.
    "gatys2016": _gram(
        scale=1e3 / 5 / 4, content_weight=0.5, content_loss="sum", total_variation_weight=0.0, pooling="average",
        start="noise", steps=500, optimizer="lbfgs"),
    # jcjohnson/neural-style with its defaults (and ProGamerGov/neural-style-pt, except its L1 total variation).
    #
    # Loss: 5 mean((F - F*)^2) at block4_conv2 + 100 sum over five layers of mean(((F'F - F*'F*) / (N C))^2) + total
    # variation 0.5e-3 sum(d^2), whose gradient is 1e-3 times the sum of differences. It starts from invisible noise on
    # the mean colour: `start=grey`.
    "neural-style": _gram(
        _PER_CHANNELS, scale=100.0, content_weight=5.0, total_variation="squared_sum", total_variation_weight=0.5e-3,
        start="grey", steps=1000, optimizer="lbfgs"),
    # The style transfer example of keras.io.
    #
    # Loss: 2.5e-8 sum((F - F*)^2) at block5_conv2 + 1e-6 / 5 sum over five layers of sum(dG^2) / (4 * 3^2 * size^2),
    # where size is the number of pixels, the same at every layer, + 1e-6 sum((dx^2 + dy^2)^1.25). If the sides are
    # multiples of 16, a layer of block b has size / 4^(b-1) positions, so its weight on U is
    # 1e-6 / 180 C^2 / 16^(b-1). Gradient descent; the rate starts at 100 and is multiplied by 0.96 every 100 steps.
    # There the height is 400 pixels, here the long side.
    "keras-io": _gram(
        [c**2 / 16**block for block, c in enumerate(WIDTHS)], scale=1e-6 / 180,
        content_layers=(Layer("block5_conv2"),), content_weight=2.5e-8, content_loss="sum",
        total_variation="power_sum", total_variation_weight=1e-6,
        size=400, steps=4000, optimizer="sgd", learning_rate=100.0, learning_rate_decay=0.96),
    # The style transfer tutorial of tensorflow.org.
    #
    # Loss: 1e-2 mean over five layers of mean((G - G*)^2), G = F'F / N, + 1e4 mean((F - F*)^2) at block5_conv2 + 30
    # tf.image.total_variation of pixels of 0 to 1. Our pixels are of 0 to 255, hence the 255 in the total variation
    # weight, the learning rate and epsilon. Keras adds epsilon before the bias correction, we after it.
    "tensorflow-tutorial": _gram(
        scale=1e-2 / 5, content_layers=(Layer("block5_conv2"),), content_weight=1e4,
        total_variation="absolute_sum", total_variation_weight=30 / 255,
        steps=1000, learning_rate=0.02 * 255, beta_1=0.99, beta_2=0.999, epsilon=0.1 / 255),
    # crowsonkb/style-transfer-pytorch: coarse to fine, averaged iterates, Wasserstein-2 distance of the features.
    #
    # Loss: sum over five layers, weighted 256:64:16:4:1 over their sum, of mean((mu - mu*)^2) + mean(diag(S + S* -
    # 2 (S*^1/2 S S*^1/2)^1/2)), + 0.015 mean((F - F*)^2) at block4_conv2 + 2 times the nine-point total variation of
    # pixels of 0 to 1. It was tuned on torchvision's weights, whose features have another scale than Keras's. Both
    # distances grow with the square of the scale, so only the balance with total variation differs. It takes 1000
    # steps at 128 pixels and 500 at each later size; here the steps are divided as for our own presets.
    "crowsonkb": {
        "normalisation": "none", "style_layers": tuple(map(Layer, BLOCK_STARTS, (256.0, 64.0, 16.0, 4.0, 1.0))),
        "style_weight": 1.0, "content_layers": (Layer("block4_conv2"),), "content_weight": 0.015,
        "total_variation": "nine_point", "total_variation_weight": 2 / 255**2,
        "steps": 3000, "optimizer": "adam", "learning_rate": 0.02 * 255, "result": "average", "averaging": 0.99},
}
# fmt: on

DEEPEST_LAYER = max(
    (layer.name for values in PRESETS.values() for layer in values.get("content_layers", ())), key=LAYERS.index
)
"""The deepest layer that a preset uses; an exported network ends there."""

OUR_OWN = ("quick", "balanced", "fine")
"""The presets that do not reproduce another system."""
