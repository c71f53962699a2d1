import torch
from torch import nn

from holdfast.core.random import Keys
from holdfast.measures.filters import filter_norms
from holdfast.models.registry import build_model
from holdfast.models.store import save_model
from holdfast.reproduce import filter_pictures as pictures
from holdfast.reproduce.gradalign_four_filters import FILTERS_ROW, NETWORK, REPRODUCTION
from holdfast.reproduce.records import Finding
from holdfast.threats import Linf

SHAPE, KEYS = (3, 7, 6), Keys.of(0, [4])


def net(scale=1.0):
    network = build_model("four_filter", seed=0, input_shape=SHAPE, classes=5)
    with torch.no_grad():
        network[0].weight.mul_(scale)
    return network


def columns():
    x, y = torch.rand(1, *SHAPE), torch.tensor([2])
    norms = {
        pictures.EPOCHS: torch.tensor([0.0, 3.0]),
        pictures.WEIGHTS: torch.tensor([[1.0] * 4, [2.0] * 4]),
        pictures.OUTGOING: torch.tensor([[3.0] * 4, [4.0] * 4]),
    }
    return (
        norms | pictures.filters(net(), net(2.0)) | pictures.answers(net(), x, y, Linf(0.1), KEYS)
    )


def test_norms_are_those_of_the_checkpoints(tmp_path):
    files = {}
    for epoch, scale in ((0, 1.0), (5, 3.0)):
        files[epoch] = tmp_path / f"{epoch}.safetensors"
        save_model(files[epoch], net(scale))
    found = pictures.norms_over_epochs(files)
    assert found[pictures.EPOCHS].tolist() == [0, 5]
    assert torch.allclose(found[pictures.WEIGHTS][0], filter_norms(net()).weights)
    assert torch.allclose(found[pictures.WEIGHTS][1], 3 * found[pictures.WEIGHTS][0])
    assert torch.equal(*found[pictures.OUTGOING])


def test_answers_are_feature_maps_and_gradients_at_both_points():
    x, y, network = torch.rand(1, *SHAPE), torch.tensor([2]), net()
    found = pictures.answers(network, x, y, Linf(0.1), KEYS)
    points = found[pictures.POINTS]
    assert torch.equal(points[:1], x)
    assert 0 < (points[1] - x[0]).abs().amax() <= 0.1 + 1e-6
    assert torch.allclose(found[pictures.ANSWERS], network[1](network[0](points)))
    leaf = points.clone().requires_grad_(True)
    loss = nn.functional.cross_entropy(network(leaf), y.expand(2), reduction="sum")
    assert torch.allclose(found[pictures.SLOPES], torch.autograd.grad(loss, leaf)[0], atol=1e-6)


def test_the_figure_shows_curves_norms_weights_and_answers():
    history = {"history.catastrophic.pgd_accuracy": torch.tensor([[0.25, 0.125]])}
    found = {NETWORK: history, FILTERS_ROW: columns()}
    finding = Finding(outcomes={}, lines={}, columns=found, size=REPRODUCTION.size("scaled"))
    draw = pictures.with_filters(["catastrophic.pgd_accuracy"], FILTERS_ROW)
    figure = draw(finding, REPRODUCTION)
    curve, weights, outgoing, *grid = figure.axes
    assert list(curve.lines[0].get_ydata()) == [0.25, 0.125]
    assert [len(axes.lines) for axes in (weights, outgoing)] == [4, 4]
    assert list(weights.lines[0].get_ydata()) == [1, 2]
    assert len(grid) == 2 * 12 + 2 * 6
    assert grid[0].get_title() == "before 1 R"
    shown = grid[12].images[0].get_array()
    assert torch.allclose(torch.as_tensor(shown), net(2.0)[0].weight[0, 0].detach())
    empty = Finding(outcomes={}, lines={}, columns={}, size=REPRODUCTION.size("scaled"))
    assert len(draw(empty, REPRODUCTION).axes) == 1
