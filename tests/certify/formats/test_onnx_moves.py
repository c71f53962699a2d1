import numpy as np
import pytest
import torch

from certify.onnx_nets import constant, make_node, model, reference, saved
from holdfast.certify.formats.onnx_reader import load_onnx
from holdfast.core.errors import CaptureError

SHAPE = constant("s", [1, 2, 3], "int64")


def whole(name, *numbers):
    return constant(name, list(numbers), "int64")


GRID, BACK = constant("s", [[0, 1], [5, 3]], "int64"), whole("s", *range(39, -1, -1))
NEAREST = {
    "mode": "nearest",
    "coordinate_transformation_mode": "asymmetric",
    "nearest_mode": "floor",
}
FACTORS = constant("s", [1, 1, 2, 3])
CASES = {
    "flatten": ("Flatten", ["x"], {"axis": 2}, [1, 3, 2, 5], []),
    "flatten in front": ("Flatten", ["x"], {"axis": 0}, [1, 3, 2], []),
    "reshape": ("Reshape", ["x", "s"], {}, [1, 3, 2], [constant("s", [0, -1], "int64")]),
    "reshape to a batch of one": ("Reshape", ["x", "s"], {}, [1, 3, 2], [SHAPE]),
    "reshape to a vector": ("Reshape", ["x", "s"], {}, [1, 3, 2], [constant("s", [-1], "int64")]),
    "squeeze": ("Squeeze", ["x", "s"], {}, [1, 3, 1, 2], [constant("s", [0, 2], "int64")]),
    "unsqueeze": ("Unsqueeze", ["x", "s"], {}, [3, 2], [constant("s", [0, -1], "int64")]),
    "transpose": ("Transpose", ["x"], {"perm": [0, 2, 1]}, [1, 3, 2], []),
    "transpose all": ("Transpose", ["x"], {}, [1, 3, 2], []),
    "mean": ("ReduceMean", ["x"], {"axes": [2], "keepdims": 0}, [1, 3, 2], []),
    "mean of all": ("ReduceMean", ["x"], {"axes": [0, 1], "keepdims": 1}, [1, 3], []),
    "concatenate": ("Concat", ["x", "x"], {"axis": 1}, [1, 3, 2], []),
    "concatenate in front": ("Concat", ["x", "x"], {"axis": 0}, [1, 3], []),
    "gather one": ("Gather", ["x", "s"], {"axis": 2}, [1, 3, 5], [constant("s", -1, "int64")]),
    "gather some": ("Gather", ["x", "s"], {"axis": 1}, [1, 6, 2], [whole("s", 4, 5, 0, 2)]),
    "gather a grid": ("Gather", ["x", "s"], {"axis": 1}, [1, 6], [GRID]),
    "gather from the front": ("Gather", ["x", "s"], {}, [3, 2], [whole("s", 2, 0)]),
    "gather in disorder": ("Gather", ["x", "s"], {"axis": 1}, [1, 40, 2], [BACK]),
    "expand": ("Expand", ["x", "s"], {}, [1, 3, 1], [whole("s", 1, 3, 4)]),
    "expand by an axis": ("Expand", ["x", "s"], {}, [3, 1], [whole("s", 2, 3, 4)]),
    "resize": ("Resize", ["x", "", "s"], NEAREST, [1, 2, 3, 2], [FACTORS]),
    "depth to space": ("DepthToSpace", ["x"], {"blocksize": 2}, [1, 8, 2, 3], []),
    "columns first": ("DepthToSpace", ["x"], {"blocksize": 2, "mode": "CRD"}, [1, 8, 2, 3], []),
    "space to depth": ("SpaceToDepth", ["x"], {"blocksize": 2}, [1, 2, 4, 6], []),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_operator_is_that_of_the_reference(name, tmp_path):
    operator, inputs, attributes, shape, constants = CASES[name]
    proto = model([make_node(operator, inputs, ["y"], **attributes)], shape, constants)
    network = load_onnx(saved(proto, tmp_path))
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    found = network(x.reshape(3, *network.input_shape))
    assert torch.allclose(found, reference(proto, x), atol=1e-6)


@pytest.mark.parametrize("sizes", [None, (1, 4, 2)])
def test_all_outputs_of_a_split_are_read(sizes, tmp_path):
    names = ["a", "b", "c"]
    numbers = [] if sizes is None else [whole("n", *sizes)]
    width = 6 if sizes is None else 7
    nodes = [
        make_node("Split", ["x", *(each.name for each in numbers)], names, axis=1),
        make_node("Concat", ["c", "a", "b"], ["y"], axis=1),
    ]
    x = torch.rand(3, width)
    network = load_onnx(saved(model(nodes, [1, width], numbers), tmp_path))
    parts = torch.split(x, list(sizes or (2, 2, 2)), 1)
    assert torch.equal(network(x), torch.cat((parts[2], parts[0], parts[1]), 1))


def test_a_slice_reads_constants_and_negative_ends(tmp_path):
    numbers = {"st": [1, 0], "en": [-1, 9], "ax": [2, 1], "sp": [2, 1]}
    constants = [constant(name, each, "int64") for name, each in numbers.items()]
    proto = model([make_node("Slice", ["x", *numbers], ["y"])], [1, 3, 6], constants)
    x = torch.rand(3, 1, 3, 6)
    network = load_onnx(saved(proto, tmp_path))
    assert torch.equal(network(x[:, 0]), x[:, 0, :, 1:-1:2].flatten(1))


@pytest.mark.parametrize(
    ("operator", "constants", "attributes", "problem"),
    [
        ("Reshape", [whole("s", 4, -1)], {}, "cannot become"),
        ("Reshape", [whole("s", 1, 3, 0)], {}, "lacks"),
        ("Squeeze", [whole("s", 1)], {}, "is not one"),
        ("Squeeze", [whole("s", 5)], {}, "no axis 5 in 2"),
        ("Gather", [whole("s", 7)], {"axis": 1}, "do not fit an axis of 6"),
        ("Transpose", [], {"perm": [0, 0]}, "is no order"),
        ("Upsample", [constant("s", [1.0, 1.5])], {}, "whole factors"),
    ],
)
def test_what_does_not_fit_is_refused(operator, constants, attributes, problem, tmp_path):
    node = make_node(operator, ["x", *(c.name for c in constants)], ["y"], **attributes)
    opset = 9 if operator == "Upsample" else 13
    with pytest.raises(CaptureError, match=f"{operator}.*{problem}"):
        load_onnx(saved(model([node], [1, 6], constants, opset=opset), tmp_path))


def test_shapes_are_computed_while_reading(tmp_path):
    nodes = [
        make_node("Shape", ["x"], ["d"]),
        make_node("Gather", ["d", "zero"], ["b"]),
        make_node("Unsqueeze", ["b", "axes"], ["u"]),
        make_node("Concat", ["u", "rest"], ["s"], axis=0),
        make_node("Reshape", ["x", "s"], ["y"]),
    ]
    constants = [constant("zero", 0, "int64"), whole("axes", 0), whole("rest", -1)]
    x = torch.rand(3, 2, 5)
    network = load_onnx(saved(model(nodes, [1, 2, 5], constants), tmp_path))
    assert np.array_equal(network(x).numpy(), x.flatten(1).numpy())
