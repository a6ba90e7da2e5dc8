"""The SavedModel's signatures: batch-major functions of encoded pictures, as in the table of model/contract.py."""

import functools
import json
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from model import images
from model.contract import PREVIEW_SIZE_PX, SIGNATURES
from model.graph import checked, noinline
from model.limits import MAX_SIZE_PX, MAX_STEPS, MAX_STYLES
from model.objective import Measured, Objective, Pictures
from model.parsing import parse_settings, recipe
from model.settings import SETTINGS
from model.sizes import plan_sizes
from model.state import decode_state, encode_state, fingerprint
from model.stylizer import RUNNING, STOPPED, Stylizer, result_image
from model.vgg19 import VGG19

Tensors = dict[str, tf.Tensor]

_ONE_PICTURE = {
    tensor.name: tf.TensorSpec(tensor.shape[1:], tf.as_dtype(tensor.dtype), name=tensor.name)
    for tensor in SIGNATURES["advance_guided"].inputs
}
"""The inputs of `advance_guided` for one element of the batch."""


class ServedModel(tf.Module):
    """The stylizer behind the exported signatures.

    Attributes:
      functions: tf.functions by signature name; each takes and returns tensors by name.
      parse: graph function that parses a settings text, a string scalar (model/parsing.py).
    """

    def __init__(self, network: VGG19, description: dict[str, Any]) -> None:
        """Takes the network and what `describe` is to answer; its `digest` marks every state as this model's."""
        super().__init__(name="served_model")
        self.network = network
        self.stylizer = Stylizer(Objective(network))
        self._description = json.dumps(description, sort_keys=True)
        self._digest = str(description["digest"])
        bodies: dict[str, Callable[[str, Tensors], Tensors]] = {
            "serving_default": self._stylize,
            "stylize": self._stylize,
            "stylize_guided": self._stylize,
            "advance": self._advance,
            "advance_guided": self._advance,
            "describe": self._describe,
        }
        self.parse = noinline(tf.TensorSpec([], tf.string))(lambda text: parse_settings(text, network.layers))
        # All signatures share one trace: tracing takes seconds, and the graph is stored only once.
        self._run = tf.function(self._advance_one, input_signature=[_ONE_PICTURE], autograph=False)
        self.functions = {name: _traced(name, body) for name, body in bodies.items()}

    def _stylize(self, name: str, inputs: Tensors) -> Tensors:
        inputs = _complete(inputs)
        inputs["take_steps"] = tf.map_fn(
            lambda text: self.parse(text)["steps"], inputs["settings"], fn_output_signature=tf.int32
        )
        # Parse once first: of two parallel parses of a bad text, one may be cancelled and hide the other's error.
        with tf.control_dependencies([inputs["take_steps"]]):
            inputs["settings"] = tf.identity(inputs["settings"])
        return self._run_all(name, inputs)

    def _advance(self, name: str, inputs: Tensors) -> Tensors:
        inputs = _complete(inputs)
        take = inputs["take_steps"]
        expected = f"`take_steps` must be from 0 to {MAX_STEPS}. Received: "
        received = tf.strings.reduce_join(tf.strings.as_string(take), separator=", ")
        inputs["take_steps"] = checked(take, tf.reduce_all((take >= 0) & (take <= MAX_STEPS)), expected, received)
        return self._run_all(name, inputs)

    def _run_all(self, name: str, inputs: Tensors) -> Tensors:
        rows = tf.reduce_max(inputs["take_steps"])

        def one(picture: Tensors) -> Tensors:
            outputs = self._run({name: picture[name] for name in _ONE_PICTURE})
            missing = [[0, rows - tf.shape(outputs["losses"])[0]], [0, 0]]  # all elements of a batch have one shape
            outputs["losses"] = tf.pad(outputs["losses"], missing, constant_values=float("nan"))
            return {tensor.name: outputs[tensor.name] for tensor in SIGNATURES[name].outputs}

        return _map(name, one, inputs)

    def _advance_one(self, picture: Tensors) -> Tensors:
        """Takes the next steps of one run; returns the outputs of all signatures by name."""
        settings = self.parse(picture["settings"])
        encoded = [picture[name] for name in sorted(set(_ONE_PICTURE) - {"settings", "state_bytes", "take_steps"})]
        pictures = Pictures(
            content=images.decode(picture["content_bytes"], "content_bytes"),
            styles=picture["style_bytes"],
            content_masks=picture["content_mask_bytes"],
            style_masks=picture["style_mask_bytes"],
            initial=picture["initial_bytes"],
            fingerprint=fingerprint([*encoded, *recipe(settings)]),
        )
        state = tf.cond(
            picture["state_bytes"] == "",
            lambda: self.stylizer.initial_state(pictures, settings),
            lambda: decode_state(picture["state_bytes"], self._digest),
        )
        state, losses = self.stylizer.advance(pictures, settings, state, picture["take_steps"])
        sizes = plan_sizes(pictures.content, settings)
        done = self.stylizer.objective.progress(settings, sizes, state.step)
        image = images.to_uint8(result_image(state, pictures, settings))
        state = state._replace(measured=_worth_sending(state.measured))
        over = (state.step >= settings["steps"]) | (state.stopped != RUNNING)
        asked = (picture["take_steps"] == 0) | over
        return {
            "state_bytes": encode_state(state, self._digest),
            "preview_bytes": images.encode_preview(image, PREVIEW_SIZE_PX),
            "image_bytes": tf.cond(asked, lambda: tf.io.encode_png(image), lambda: tf.constant("")),
            "losses": losses,
            "step": state.step,
            "steps": settings["steps"],
            "progress": tf.where(over, 1.0, done),
            "stopped": tf.constant(STOPPED)[state.stopped],
        }

    def _describe(self, name: str, inputs: Tensors) -> Tensors:
        # Device and settings are known only in the graph: they are appended to the JSON object of the description.
        opening = tf.strings.join([self._description[:-1], ', "device": "', _device(), '", "settings": {'])

        def text_of(setting: str, value: tf.Tensor) -> tf.Tensor:
            as_text = functools.partial(tf.strings.as_string, shortest=value.dtype.is_floating)
            kind = SETTINGS[setting].kind
            if kind == "layers":
                weights, up_to = tf.unstack(value)
                limits = tf.where(up_to < MAX_SIZE_PX, tf.strings.join(["@", as_text(up_to)]), "")
                items = tf.strings.join([self.network.layers, ":", as_text(weights), limits])
                value = tf.strings.reduce_join(tf.boolean_mask(items, weights > 0), separator="/")
            elif kind == "choice":
                value = tf.constant(SETTINGS[setting].choices)[value]
            elif kind == "weights":
                value = tf.strings.reduce_join(as_text(value), separator="/")
            else:
                return tf.strings.join([f'"{setting}": ', as_text(value)])
            return tf.strings.join([f'"{setting}": "', value, '"'])

        def one(picture: Tensors) -> Tensors:
            parsed = self.parse(picture["settings"])
            members = [text_of(setting, parsed[setting]) for setting in SETTINGS]
            return {"description": tf.strings.join([opening, tf.strings.join(members, ", "), "}}"])}

        return _map(name, one, inputs)


def _worth_sending(measured: Measured) -> Measured:
    """Returns the measurements without the content's features where computing them again is faster than sending them.

    At 512 pixels they are 6 MB of the state. Two AVX2 cores compute them in a third of a step, 0.3 s; a GPU in 2 ms.
    """
    content = tf.cond(_device() == "CPU", lambda: measured.content, lambda: Measured.nothing().content)
    return measured._replace(content=content)


def _device() -> tf.Tensor:
    """Returns TensorFlow's name for the type of device that the graph runs on; "" for an unknown one."""
    devices = ["CPU", "GPU", "TPU"]
    # TensorFlow places an op without inputs beside its only consumer, and ops on strings on the CPU. The identity in
    # between is placed like the rest of the graph.
    return tf.constant([*devices, ""])[tf.identity(tf.raw_ops.DeviceIndex(device_names=devices))]


def _traced(name: str, body: Callable[[str, Tensors], Tensors]) -> tf.types.experimental.GenericFunction:
    specs = [tf.TensorSpec(t.shape, tf.as_dtype(t.dtype), name=t.name) for t in SIGNATURES[name].inputs]

    @tf.function(input_signature=specs, autograph=False)  # the code uses tf.cond and tf.while_loop
    def signature(*tensors: tf.Tensor) -> Tensors:
        # TensorFlow Serving does not check the signature's shapes.
        inputs = {spec.name: tf.ensure_shape(tensor, spec.shape) for spec, tensor in zip(specs, tensors, strict=True)}
        return body(name, inputs)

    return signature


def _complete(inputs: Tensors) -> Tensors:
    """Checks that all inputs agree in batch size and number of styles; those that are missing are added empty."""
    batch = tf.shape(inputs["content_bytes"])[0]
    result = {}
    for name, tensor in inputs.items():
        count = tf.shape(tensor)[0]
        expected = f"`{name}` must have as many elements as `content_bytes`, at least 1. Received: "
        result[name] = checked(tensor, (count == batch) & (batch > 0), expected, count, " for ", batch)
    styles = tf.shape(result["style_bytes"])[1]
    expected = f"`style_bytes` must hold 1 to {MAX_STYLES} styles for each content picture. Received: "
    in_range = (styles >= 1) & (styles <= MAX_STYLES)
    result["style_bytes"] = checked(result["style_bytes"], in_range, expected, styles)
    for name in [name for name in result if name.endswith("_mask_bytes")]:
        count = tf.shape(result[name])[1]
        each, received = f"`{name}` must hold one mask for each of the ", " styles, which may be empty. Received: "
        result[name] = checked(result[name], count == styles, each, styles, received, count)
    none = {
        name: tf.fill(tf.shape(result["style_bytes" if name.endswith("_mask_bytes") else "content_bytes"]), "")
        for name in _ONE_PICTURE
    }
    return none | result


def _map(name: str, one: Callable[[Tensors], Tensors], inputs: Tensors) -> Tensors:
    """Runs the elements of a batch one after another: their memory does not add up."""
    specs = {t.name: tf.TensorSpec(t.shape[1:], tf.as_dtype(t.dtype)) for t in SIGNATURES[name].outputs}
    # Over indices: given the inputs themselves, `tf.map_fn` would hold a second copy of each.
    return tf.map_fn(
        lambda index: one({name: tensor[index] for name, tensor in inputs.items()}),
        tf.range(tf.shape(inputs["settings"])[0]),
        fn_output_signature=specs,
        parallel_iterations=1,
    )
