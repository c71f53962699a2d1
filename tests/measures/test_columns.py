import pytest
import torch
from torch import nn

from holdfast.core.errors import InputError
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.measures.columns import Columns, look_at
from holdfast.threats import Linf
from nets import examples, small_net


def test_means_and_standard_errors():
    columns = Columns({"a": torch.tensor([1.0, 2.0, 6.0]), "b": torch.arange(6.0).view(3, 2)})
    found = columns.mean("a")
    assert found.value == 3.0
    assert found.stderr == pytest.approx((7.0 / 3) ** 0.5)
    assert found.n == len(columns) == 3
    assert Columns({"a": torch.ones(1)}).mean("a").stderr is None
    both = columns + columns
    assert both["b"].shape == (6, 2)


def test_blocks_have_one_shape_and_padding_is_dropped():
    net = small_net()
    x, y = examples(7, net)
    shapes = []

    def look(frozen, block):
        shapes.append((tuple(block.x.shape), block.count, len(block.threat.radius)))
        values = frozen.value_and_grad(block.x, lambda logits: logits[:, 0])[1]
        return {"value": values, "radius": block.threat.radius, "y": block.y}

    radius = torch.linspace(0.1, 0.7, 7)
    frozen = FrozenModel(net, block=3)
    found = look_at(frozen, x, y, Linf(radius), Keys.of(0, range(7)), look)
    assert shapes == [((3, 2, 7, 6), 3, 3)] * 2 + [((3, 2, 7, 6), 1, 3)]
    with torch.no_grad():
        assert torch.allclose(found["value"], net(x)[:, 0], atol=1e-6)
    assert torch.equal(found["radius"], radius)
    assert torch.equal(found["y"], y)


def test_looks_are_in_evaluation_mode_and_never_under_autocast():
    net = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2)).train()
    seen = []
    net.register_forward_hook(lambda module, _, out: seen.append((module.training, out.dtype)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        look_at(
            net, torch.rand(3, 4), torch.zeros(3).long(), None, None,
            lambda frozen, block: {"z": frozen.logits(block.x)},
        )  # fmt: skip
    assert seen == [(False, torch.float32)]
    assert net[0].training
    assert net[0].num_batches_tracked == 0


def test_what_does_not_fit_is_named():
    net = small_net()
    x, y = examples(3, net)
    with pytest.raises(InputError, match="no examples: is empty"):
        look_at(net, x[:0], y[:0], None, None, lambda *_: {})
    with pytest.raises(InputError, match="y=2: does not fit 3 inputs"):
        look_at(net, x, y[:2], None, None, lambda *_: {})
    with pytest.raises(InputError, match="differ in length"):
        Columns({"a": torch.ones(2), "b": torch.ones(3)})
    with pytest.raises(InputError, match="are not"):
        Columns({"a": torch.ones(2)}) + Columns({"b": torch.ones(2)})
