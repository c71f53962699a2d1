"""Small ONNX files for the tests, and what the reference implementation says of them."""

import numpy as np
import pytest
import torch

onnx = pytest.importorskip("onnx")

make_node = onnx.helper.make_node


def constant(name, array, dtype=np.float32):
    return onnx.numpy_helper.from_array(np.asarray(array, dtype=dtype), name)


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def model(nodes, shape, constants=(), opset=13, listed=False, name="x"):
    """A file with one input `x` and one output `y`; `listed` names the constants as inputs too."""
    helper = onnx.helper
    inputs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)]
    if listed:
        inputs = [
            helper.make_tensor_value_info(each.name, each.data_type, list(each.dims))
            for each in constants
        ] + inputs
    output = onnx.ValueInfoProto(name="y")
    graph = helper.make_graph(list(nodes), "net", inputs, [output], list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def saved(proto, folder, name="net.onnx"):
    path = folder / name
    path.write_bytes(proto.SerializeToString())
    return path


def reference(proto, x):
    """The value for each example of x (B, *shape in the file), flattened."""
    from onnx.reference import ReferenceEvaluator

    session = ReferenceEvaluator(proto)
    values = [session.run(None, {"x": row.numpy()})[0] for row in x]
    return torch.from_numpy(np.stack(values)).reshape(len(x), -1)
