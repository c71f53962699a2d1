import os
from pathlib import Path

import pytest
import torch
from torch import nn

from certify.nets import deep_net, inputs, net, samples
from holdfast.certify.bounds.linear import CROWN, CrownIBP, Dual
from holdfast.certify.studies.index_sets import index_sets
from holdfast.data.find import data_folder
from holdfast.data.load import load_data
from holdfast.models.registry import build_model
from holdfast.models.store import load_weights
from holdfast.threats.balls import Linf


def test_the_sets_of_a_worked_example():
    """Example B at radius 0.1: pre-activations in [0.2, 0.6], [0.1, 0.7] and, by lines, in
    [0.2, 0.8], [-0.2, 1]."""
    x = torch.tensor([[0.6, 0.2]])
    first, second = index_sets(Dual(), deep_net(), x, Linf(0.1, box=None))
    assert (first.off.tolist(), first.on.tolist(), first.unstable.tolist()) == ([0], [2], [0])
    assert (second.off.tolist(), second.on.tolist(), second.unstable.tolist()) == ([0], [1], [1])
    assert second.size == 2
    assert second.share("unstable").tolist() == [0.5]


@pytest.mark.parametrize("method", [Dual(), CROWN(), CrownIBP()])
def test_the_sets_hold_at_sampled_points(method):
    model, x = net("residual"), inputs(3, (2, 7, 6))
    threat = Linf(0.02)
    found = index_sets(method, model, x, threat)
    assert len(found) == 5
    assert len({each.name for each in found}) == 3
    seen: list[torch.Tensor] = []
    hooks = [
        each.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
        for each in model.modules()
        if isinstance(each, nn.ReLU)
    ]
    with torch.no_grad():
        for point in samples(*threat.hull(x), 8):
            model(point.float())
    for hook in hooks:
        hook.remove()
    layers = [torch.stack(seen[at::4]) for at in range(4)]
    for each, values in zip(found[1:], layers, strict=True):
        negative = (values < 0).all(0).flatten(1).sum(1)
        positive = (values > 0).all(0).flatten(1).sum(1)
        assert (each.off <= negative).all()
        assert (each.on <= positive + (values == 0).any(0).flatten(1).sum(1)).all()
    for each in found:
        assert ((each.off + each.on + each.unstable) == each.size).all()


@pytest.mark.slow
def test_tighter_bounds_leave_fewer_units_open():
    model, x = net("residual"), inputs(3, (2, 7, 6))
    loose = index_sets(CrownIBP(), model, x, Linf(0.02))
    tight = index_sets(CROWN(), model, x, Linf(0.02))
    pairs = list(zip(tight, loose, strict=True))
    assert all((one.unstable <= other.unstable).all() for one, other in pairs)
    assert any((one.unstable < other.unstable).any() for one, other in pairs)


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.skipif(data_folder(None) is None, reason="needs the local data folder")
def test_the_robust_mnist_network_has_the_counts_that_were_measured():
    """Means over 200 images by another implementation, at Linf 0.1 without the box."""
    folder = Path(os.environ.get("HOLDFAST_DATA") or str(data_folder(None)))
    model = build_model("mnist_conv")
    load_weights(model, folder / "models/mnist_conv_dual_linf0.1.safetensors")
    data = load_data("mnist", "test", limit=200)
    found = index_sets(CROWN(), model, data.inputs(), Linf(0.1, box=None))
    truth = [(2227, 840, 68), (895, 593, 81), (90, 9.4, 0.5)]
    for each, (off, on, unstable) in zip(found, truth, strict=True):
        assert float(each.off.double().mean()) == pytest.approx(off, abs=1)
        assert float(each.on.double().mean()) == pytest.approx(on, abs=1)
        assert float(each.unstable.double().mean()) == pytest.approx(unstable, abs=2)
