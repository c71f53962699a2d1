import pytest
import torch

from certify.nets import graph, inputs, samples
from certify.test_backward import NETS, known_of
from holdfast.certify.interval import boxes
from holdfast.certify.linear import CROWN
from holdfast.certify.regions import around
from holdfast.certify.structural import ReLU
from holdfast.threats import L2, Linf


@pytest.mark.parametrize("inner", ["interval", "parallel", "adaptive"])
@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("name", NETS)
def test_boxes_contain_what_nodes_take_on(name, inner, plain):
    captured, shape = NETS[name]()
    x = inputs(3, shape)
    known = known_of(captured, x, Linf(0.03), inner=inner, plain=plain)
    points = samples(*Linf(0.03).hull(x), 100).flatten(0, 1)
    with torch.no_grad():
        values = captured.walk(points, lambda n, each, v: n.op.forward(each, v), like=points)
    for value, box in zip(values, known.boxes, strict=True):
        value = value.view(100, 3, *value.shape[1:])
        assert (value >= box.lower - 1e-12).all()
        assert (value <= box.upper + 1e-12).all()


@pytest.mark.parametrize("name", NETS)
def test_each_step_narrows_the_boxes(name):
    captured, shape = NETS[name]()
    x = inputs(3, shape)
    plans = [
        known_of(captured, x, Linf(0.03), inner=i) for i in ("interval", "parallel", "adaptive")
    ]
    alone = boxes(captured, around(Linf(0.03), x, rigorous=True).box, rigorous=True)
    for box, other in zip(plans[0].boxes, alone, strict=True):
        torch.testing.assert_close(box.lower, other.lower)
    last = [node.place for node in captured.nodes if isinstance(node.op, ReLU)][-1]
    wide, narrow, narrowest = (
        (known.boxes[last].upper - known.boxes[last].lower).mean().item() for known in plans
    )
    assert narrowest < narrow < 0.9 * wide


def test_candidates_are_the_open_units_of_each_image():
    captured, shape = NETS["strided"]()
    x = inputs(3, shape)
    known = known_of(captured, x, Linf(0.03), inner="parallel")
    interval = boxes(captured, known.boxes[0], rigorous=True)
    second = [node for node in captured.nodes if isinstance(node.op, ReLU)][1]
    box = interval[second.inputs[0]]
    assert known.rows[0] == int(((box.lower < 0) & (box.upper > 0)).sum())
    assert 0 < known.rows[0] < box.lower.numel()
    settled = (box.lower >= 0) | (box.upper <= 0)
    after = known.boxes[second.inputs[0]]
    assert torch.equal(after.lower[settled], box.lower[settled])


def test_the_first_layer_needs_no_rows_on_a_box_and_needs_them_on_a_ball():
    x = inputs(2)
    assert len(known_of(graph("residual"), x, Linf(0.02), inner="parallel").rows) == 4
    ball = known_of(graph("residual"), x, L2(0.2), inner="parallel")
    assert len(ball.rows) == 5
    assert ball.rows[0] > 0


def test_pieces_do_not_matter():
    x, spec = inputs(3), torch.eye(5)
    for threat in (Linf(0.03), L2(0.05)):
        whole = CROWN(memory=2**28).bound(graph("residual"), x, threat, spec).lower
        parts = CROWN(memory=2**16).bound(graph("residual"), x, threat, spec).lower
        torch.testing.assert_close(parts, whole, atol=1e-10, rtol=0)


def test_a_broken_weight_stays_visible():
    captured, shape = NETS["strided"]()
    model = captured.constants.model
    with torch.no_grad():
        model[2].weight[0, 0, 0, 0] = torch.nan
    known = known_of(captured, inputs(1, shape), Linf(0.01))
    assert known.boxes[-1].lower.isnan().all()
