"""VGG19's convolutional part as two explicit passes: features forwards, gradients backwards.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015. Layer names and the
order of operations are those of Keras (keras.applications.VGG19). By default the padding differs: every convolution
repeats the edge of its input, where Keras pads with zeros. The network sees zeros as an edge, and the optimisation
answers with a strip of odd colour along the border of the picture.

The backward pass is written by hand, without `tf.GradientTape`. So one graph serves every choice of layers, and layers
that no loss needs are computed neither forwards nor backwards.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from model.layers import BLOCK_STARTS, LAYERS, block_of

IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)  # grey levels; Keras's "caffe" preprocessing

AFTER_POOLING = frozenset(BLOCK_STARTS[1:])
"""Layers that take the pooled output of the layer before."""

FLIPPED_BLOCKS = 2  # the first, whose kernels are small beside the picture

AVERAGE_GAIN = 2.0  # the average of four features is about half their maximum; crowsonkb's value


class NetworkOptions(NamedTuple):
    """Pooling and padding of the network; bool scalar tensors, or bools outside of graphs.

    Attributes:
      average_pooling: pool by AVERAGE_GAIN times the average instead of the maximum.
      zero_padding: pad each convolution's input with zeros instead of its edge.
    """

    average_pooling: tf.Tensor | bool = False
    zero_padding: tf.Tensor | bool = False


_USUAL = NetworkOptions()


def preprocess(image: tf.Tensor) -> tf.Tensor:
    """Turns RGB, 0 to 255, into VGG19's input, BGR minus the ImageNet mean; both are float32 [H, W, 3]."""
    return tf.reverse(image, [-1]) - tf.constant(IMAGENET_MEAN_BGR)


class VGG19(tf.Module):
    """VGG19, down to the last layer with weights.

    Attributes:
      layers: names of the layers, in order.
      channels: the number of channels of each.
      products: multiplications of a forward pass down to each layer, per pixel of the image.
      dtype: type of the convolutions and features; the gradient on the image is float32.
      gradient_dtype: type of the gradients between layers (see the function `gradient_dtype`).
      flips_kernels: how gradients are computed in the first FLIPPED_BLOCKS (see `gradient_at_padded`).
    """

    def __init__(
        self, weights: Mapping[str, npt.NDArray[np.float32]], dtype: tf.DType = tf.float32, flips_kernels: bool = False
    ) -> None:
        """Takes `NAME/kernel` [3, 3, in, out] and `NAME/bias` [out] for the first of LAYERS, without a gap."""
        super().__init__(name="vgg19")
        self.flips_kernels = flips_kernels
        self.dtype, self.gradient_dtype = dtype, gradient_dtype(dtype)
        self.layers = tuple(name for name in LAYERS if f"{name}/kernel" in weights)
        self.channels = tuple(weights[f"{name}/bias"].shape[0] for name in self.layers)
        each = [weights[f"{name}/kernel"].size / 4 ** block_of(name) for name in self.layers]
        self.products = tuple(float(n) for n in np.cumsum(each))
        self._kernels = [self._variable(f"{name}/kernel", weights) for name in self.layers]
        self._biases = [self._variable(f"{name}/bias", weights) for name in self.layers]

    def _variable(self, name: str, weights: Mapping[str, npt.NDArray[np.float32]]) -> tf.Variable:
        return tf.Variable(tf.cast(weights[name], self.dtype), trainable=False, name=name.replace("/", "_"))

    def features(self, image: tf.Tensor, last: tf.Tensor | int, options: NetworkOptions = _USUAL) -> list[tf.Tensor]:
        """Returns the activations of every layer, after ReLU, for an image, float32 [H, W, 3], RGB, 0 to 255.

        They have the type `dtype`, and the shape [1, h, w, C] down to the layer with the index `last`, int32 scalar,
        the deepest that is needed; [1, 0, 0, C] for deeper ones.
        """
        x, activations = tf.cast(preprocess(image)[tf.newaxis], self.dtype), []  # [1, H, W, 3]
        for index in range(len(self.layers)):
            x = tf.cond(
                index <= last,
                lambda index=index, x=x: self._forward(index, x, options),
                lambda index=index: tf.zeros([1, 0, 0, self.channels[index]], self.dtype),
            )
            activations.append(x)
        return activations

    def image_gradient(
        self,
        image: tf.Tensor,
        activations: Sequence[tf.Tensor],
        last: tf.Tensor | int,
        add_loss: Callable[[int, tf.Tensor, tf.Tensor], tf.Tensor],
        options: NetworkOptions = _USUAL,
    ) -> tf.Tensor:
        """Returns the gradient of a loss on the features, with respect to the image, float32 [H, W, 3].

        Args:
          image: float32 [H, W, 3].
          activations: what `features` returned for the same image, `last` and `options`.
          last: int32 scalar, index of the deepest layer that has a loss.
          add_loss: called for each layer, the deepest first, with its index, its features [1, h, w, C] and the gradient
            from deeper layers, `gradient_dtype` [1, h, w, C]. It returns that gradient plus the gradient of the
            layer's own loss.
          options: pooling and padding.
        """
        inputs = [image[tf.newaxis], *activations]
        gradient = tf.zeros_like(activations[-1], self.gradient_dtype)
        for index in reversed(range(len(self.layers))):
            x, y = inputs[index : index + 2]
            gradient = add_loss(index, y, gradient)
            gradient = tf.cond(
                index <= last,
                lambda index=index, x=x, y=y, at_y=gradient: self._backward(index, x, y, at_y, options),
                lambda x=x: tf.zeros_like(x, self.gradient_dtype),
            )
        return tf.reverse(tf.cast(gradient[0], tf.float32), [-1])  # BGR to RGB, the transpose of `preprocess`

    def _forward(self, index: int, x: tf.Tensor, options: NetworkOptions) -> tf.Tensor:
        """Returns a layer's features, given the features of the layer before, or the preprocessed image."""
        if self.layers[index] in AFTER_POOLING:
            x = _pool(x, options)
        x = tf.nn.conv2d(_pad(x, options), self._kernels[index], 1, "VALID")
        return tf.nn.relu(tf.nn.bias_add(x, self._biases[index]))

    def _backward(
        self, index: int, x: tf.Tensor, y: tf.Tensor, gradient: tf.Tensor, options: NetworkOptions
    ) -> tf.Tensor:
        """Returns the gradient at a layer's input `x`, given the gradient at its output `y`."""
        upstream, unit = _in_range(gradient, self.dtype)
        flipped = self.flips_kernels and block_of(self.layers[index]) < FLIPPED_BLOCKS
        at_convolution = tf.raw_ops.ReluGrad(gradients=upstream, features=y)
        at_padded = gradient_at_padded(at_convolution, self._kernels[index], flipped)
        at_inputs = tf.cond(
            options.zero_padding,
            lambda: at_padded[:, 1:-1, 1:-1],
            # Repeating the edge is a symmetric pad by one.
            lambda: tf.raw_ops.MirrorPadGrad(
                input=at_padded, paddings=[[0, 0], [1, 1], [1, 1], [0, 0]], mode="SYMMETRIC"
            ),
        )
        below = _unpooled(x, at_inputs, options) if self.layers[index] in AFTER_POOLING else at_inputs
        return below if unit is None else unit * tf.cast(below, unit.dtype)


def gradient_at_padded(gradient: tf.Tensor, kernel: tf.Tensor, flipped: bool) -> tf.Tensor:
    """Returns the gradient at a convolution's padded input [1, h+2, w+2, in], given that at its output [1, h, w, out].

    If `flipped`, it is a convolution too, with the kernel [3, 3, in, out] flipped and transposed. TensorFlow's own CPU
    kernels then need no copy of the input for each of the kernel's nine places; oneDNN's are faster without.
    """
    if flipped:
        turned = tf.transpose(tf.reverse(kernel, [0, 1]), [0, 1, 3, 2])
        return tf.nn.conv2d(gradient, turned, 1, [[0, 0], [2, 2], [2, 2], [0, 0]])
    batch, height, width, _ = tf.unstack(tf.shape(gradient))
    return tf.raw_ops.Conv2DBackpropInput(
        input_sizes=tf.stack([batch, height + 2, width + 2, kernel.shape[2]]),
        filter=kernel,
        out_backprop=gradient,
        strides=[1, 1, 1, 1],
        padding="VALID",
    )


_LARGEST = 64.0  # largest value of a scaled float16 gradient: sums over 3x3xC products must stay below 65504
_TINY = 1e-30


def gradient_dtype(dtype: tf.DType) -> tf.DType:
    """Returns the type of the gradients with respect to features of a type.

    The gradient of a mean over a large image is below 6e-8, the smallest value of float16.
    """
    return tf.float32 if dtype == tf.float16 else dtype


def _in_range(gradient: tf.Tensor, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Returns a gradient, scaled and cast to a type, and the value of a 1 in it; None: the gradient is not scaled."""
    if gradient.dtype == dtype:
        return gradient, None
    unit = tf.maximum(tf.reduce_max(tf.abs(gradient)), _TINY) / _LARGEST
    return tf.cast(gradient / unit, dtype), unit


def _pool(x: tf.Tensor, options: NetworkOptions) -> tf.Tensor:
    return tf.cond(
        options.average_pooling,
        lambda: AVERAGE_GAIN * tf.nn.avg_pool2d(x, 2, 2, "VALID"),
        lambda: tf.nn.max_pool2d(x, 2, 2, "VALID"),
    )


def _unpooled(x: tf.Tensor, gradient: tf.Tensor, options: NetworkOptions) -> tf.Tensor:
    """Returns the gradient at features `x`, given that at `_pool(x)`."""
    window = {"ksize": [1, 2, 2, 1], "strides": [1, 2, 2, 1], "padding": "VALID"}
    return tf.cond(
        options.average_pooling,
        lambda: tf.raw_ops.AvgPoolGrad(orig_input_shape=tf.shape(x), grad=AVERAGE_GAIN * gradient, **window),
        # Pool again, right here: TensorFlow uses oneDNN's gradient, 15 times faster, only beside its pooling op.
        lambda: tf.raw_ops.MaxPoolGrad(
            orig_input=x, orig_output=tf.nn.max_pool2d(x, 2, 2, "VALID"), grad=gradient, **window
        ),
    )


def _pad(x: tf.Tensor, options: NetworkOptions) -> tf.Tensor:
    """Pads [1, h, w, C] to [1, h+2, w+2, C] by its edge or by zeros.

    On one CPU core concatenation takes a quarter of the time of `tf.pad`. The factor on the edge saves a branch.
    """
    edge = tf.cast(~tf.convert_to_tensor(options.zero_padding), x.dtype)
    x = tf.concat([edge * x[:, :1], x, edge * x[:, -1:]], 1)
    return tf.concat([edge * x[:, :, :1], x, edge * x[:, :, -1:]], 2)
