import pytest
import torch

from certify.onnx_nets import constant, make_node, model, random, reference, saved
from holdfast.certify.formats.onnx_reader import load_onnx
from holdfast.core.errors import CaptureError

C, SHAPE = constant("c", random(2, 5)), constant("s", [1, 2, 3], "int64")
CASES = {
    "add left": ("Add", ["c", "x"], {}, [1, 3, 2, 5], [C]),
    "add that adds an axis": ("Add", ["x", "c"], {}, [5], [constant("c", random(1, 5))]),
    "subtract from a constant": ("Sub", ["c", "x"], {}, [1, 2, 5], [C]),
    "subtract a leading one": ("Sub", ["x", "c"], {}, [1, 5], [constant("c", random(1, 1, 5))]),
    "spread over a longer constant": ("Mul", ["x", "c"], {}, [1, 5], [constant("c", random(3, 5))]),
    "divide": ("Div", ["x", "c"], {}, [1, 2, 5], [C]),
    "add to itself": ("Add", ["x", "x"], {}, [1, 5], []),
    "matmul": ("MatMul", ["x", "c"], {}, [1, 3, 2], [C]),
    "matmul by a vector": ("MatMul", ["x", "c"], {}, [1, 5], [constant("c", random(5))]),
    "matmul from the left": ("MatMul", ["c", "x"], {}, [5, 3], [C]),
    "matmul before a row": ("MatMul", ["c", "x"], {}, [1, 3], [constant("c", [[2], [3]])]),
    "matmul from the left of a vector": ("MatMul", ["c", "x"], {}, [5], [C]),
    "clip": ("Clip", ["x", "l", "h"], {}, [1, 5], [constant("l", 0.2), constant("h", 0.7)]),
    "clip above": ("Clip", ["x", "", "h"], {}, [1, 5], [constant("h", 0.7)]),
    "largest of three": ("Max", ["x", "c", "d"], {}, [1, 2, 5], [C, constant("d", random(5))]),
    "smallest of two": ("Min", ["c", "x"], {}, [1, 2, 5], [C]),
    "sum of three": ("Sum", ["x", "c", "x"], {}, [1, 2, 5], [C]),
    "hard sigmoid": ("HardSigmoid", ["x"], {"alpha": 0.3}, [1, 5], []),
    "one slope": ("PRelu", ["x", "c"], {}, [1, 2, 5], [constant("c", [0.3])]),
    "a slope per channel": ("PRelu", ["x", "c"], {}, [1, 2, 5], [constant("c", random(2, 1))]),
    "softmax": ("Softmax", ["x"], {"axis": -1}, [1, 2, 5], []),
    "log softmax": ("LogSoftmax", ["x"], {"axis": 1}, [1, 5], []),
    "square": ("Pow", ["x", "c"], {}, [1, 5], [constant("c", 2.0)]),
    "first power": ("Pow", ["x", "c"], {}, [1, 5], [constant("c", 1.0)]),
    "leaky": ("LeakyRelu", ["x"], {"alpha": 0.2}, [1, 5], []),
    "elu": ("Elu", ["x"], {"alpha": 0.7}, [1, 5], []),
    **{name: (name, ["x"], {}, [1, 5], []) for name in (
        "Abs", "Atan", "Celu", "Cos", "Erf", "Exp", "Selu", "Sigmoid", "Sin", "Softplus",
        "Softsign", "Tanh",
    )},
    "negate": ("Neg", ["x"], {}, [1, 5], []),
    "identity": ("Identity", ["x"], {}, [1, 5], []),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_operator_is_that_of_the_reference(name, tmp_path):
    operator, inputs, attributes, shape, constants = CASES[name]
    proto = model([make_node(operator, inputs, ["y"], **attributes)], shape, constants)
    network = load_onnx(saved(proto, tmp_path))
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    found = network(x.reshape(3, *network.input_shape))
    assert torch.allclose(found, reference(proto, x), atol=1e-6)


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("bias", [None, (), (5,), (1, 5)])
def test_gemm_scales_both_terms(transposed, bias, tmp_path):
    weight = random(*((5, 3) if transposed else (3, 5)))
    constants = [constant("w", weight)]
    if bias is not None:
        constants.append(constant("b", random(*bias, seed=2)))
    node = make_node(
        "Gemm", ["x", *(c.name for c in constants)], ["y"], alpha=0.3, beta=2.5, transB=transposed
    )
    proto = model([node], [1, 3], constants)
    x = torch.randn(4, 1, 3, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(
        load_onnx(saved(proto, tmp_path))(x[:, 0]), reference(proto, x), atol=1e-6
    )


@pytest.mark.parametrize(
    ("operator", "inputs", "shape", "problem"),
    [
        ("MatMul", ["x", "x"], [1, 1], "both factors depend on the input"),
        ("Gemm", ["x", "c"], [5], "one row"),
        ("Reshape", ["x", "c"], [1, 5], "cannot become"),
    ],
)
def test_a_use_without_a_rule_is_refused_with_its_place(operator, inputs, shape, problem, tmp_path):
    node = make_node(operator, inputs, ["y"], name="the-one")
    constants = [constant("c", [2, 2], "int64")] if operator == "Reshape" else [C]
    with pytest.raises(CaptureError, match=f"net.onnx: operator {operator} 'the-one'.*{problem}"):
        load_onnx(saved(model([node], shape, constants), tmp_path))


def test_values_of_one_rank_are_broadcast(tmp_path):
    nodes = [
        make_node("ReduceMean", ["x"], ["m"], axes=[1], keepdims=1),
        make_node("Sub", ["x", "m"], ["y"]),
    ]
    x = torch.rand(3, 1, 4, 5)
    network = load_onnx(saved(model(nodes, [1, 4, 5]), tmp_path))
    assert torch.allclose(network(x[:, 0]), (x - x.mean(2, keepdim=True)).flatten(1), atol=1e-6)


def test_square_roots_and_logarithms_of_positive_numbers(tmp_path):
    nodes = [
        make_node("Exp", ["x"], ["e"]),
        make_node("Sqrt", ["e"], ["s"]),
        make_node("Reciprocal", ["s"], ["r"]),
        make_node("Log", ["r"], ["y"]),
    ]
    x = torch.rand(3, 5)
    assert torch.allclose(load_onnx(saved(model(nodes, [1, 5]), tmp_path))(x), -x / 2, atol=1e-5)
