"""Every operation of a step has a kernel for a GPU: one without goes through the host, and waits for it, at every step.

TensorFlow's wheel registers its kernels for GPUs on machines without one too.
"""

import functools
from collections.abc import Iterator

from tensorflow.core.framework.kernel_def_pb2 import KernelDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import kernels, op_def_registry

LOOPS = ("While", "StatelessWhile")


@functools.cache
def gpu_kernels(op: str) -> list[KernelDef]:
    """The kernels for GPUs, or for any device."""
    found = kernels.get_registered_kernels_for_op(op).kernel
    return [kernel for kernel in found if kernel.device_type in ("GPU", "DEFAULT")]


def has_gpu_kernel(node: NodeDef) -> bool:
    """Whether a kernel for GPUs takes the node's types."""
    types = {attr.name: attr.default_value.type for attr in op_def_registry.get(node.op).attr}
    types |= {name: value.type for name, value in node.attr.items()}
    return any(
        all(types[constraint.name] in constraint.allowed_values.list.type for constraint in kernel.constraint)
        for kernel in gpu_kernels(node.op)
    )


def called_by(node: NodeDef) -> Iterator[str]:
    for attr in node.attr.values():
        yield from [attr.func.name] if attr.HasField("func") else [function.name for function in attr.list.func]


def test_every_operation_of_a_step_runs_on_a_gpu(small_model):
    """The step is the loop within the loop over sizes, with all that it calls and branches to."""
    model = saved_model_pb2.SavedModel.FromString((small_model / "1" / "saved_model.pb").read_bytes())
    functions = {one.signature.name: one.node_def for one in model.meta_graphs[0].graph_def.library.function}

    def loop_in(name: str) -> NodeDef:
        (loop,) = [node for node in functions[name] if node.op in LOOPS]
        return loop

    (run,) = [name for name in functions if "_advance_one" in name]
    step = loop_in(loop_in(run).attr["body"].func.name)
    reached, waiting = set(), set(called_by(step))
    while waiting:
        name = waiting.pop()
        reached.add(name)
        waiting |= {inner for node in functions[name] for inner in called_by(node)} - reached
    operations = [node for name in reached for node in functions[name]]
    assert {"Conv2DBackpropInput", "SelfAdjointEigV2", "MatrixTriangularSolve"} <= {node.op for node in operations}
    without = sorted({f"{node.op} {node.name}" for node in operations if not has_gpu_kernel(node)})
    assert not without
