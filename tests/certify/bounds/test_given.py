import torch

from certify.nets import graph, inputs
from holdfast.certify.bounds.given import known_from
from holdfast.certify.operators.structural import ReLU
from holdfast.certify.substitution.backward import lower
from holdfast.certify.substitution.regions import around
from holdfast.certify.substitution.rows import Dense
from holdfast.certify.substitution.schedule import Plan, Shared, relax
from holdfast.threats import Linf


def test_boxes_of_the_schedule_give_its_bounds():
    captured, x = graph("residual"), inputs(3)
    region = around(Linf(0.02), x, rigorous=True)
    values = captured.constants.bind(x.dtype, x.device)
    wanted = relax(captured, Shared(values, True), region, Plan("adaptive", False, 2**23))
    found = known_from(captured, values, region, wanted.boxes, rigorous=True)
    rows, image = Dense(inputs(6, (5,)) - 0.5), torch.tensor([0, 0, 1, 1, 2, 2])
    place = len(captured.nodes) - 1
    for kind in ("fixed", "adaptive"):
        first, second = (lower(getattr(each, kind), rows, image, place) for each in (found, wanted))
        torch.testing.assert_close(first, second, atol=1e-12, rtol=0)


def test_missing_boxes_are_intervals():
    captured, x = graph("conv"), inputs(2)
    region = around(Linf(0.02), x, rigorous=False)
    values = captured.constants.bind(x.dtype, x.device)
    found = known_from(captured, values, region, [region.box], rigorous=False)
    assert len(found.boxes) == len(captured.nodes)
    places = {node.place for node in captured.nodes if isinstance(node.op, ReLU)}
    assert places <= set(found.fixed.lines)
    assert set(found.fixed.lines) == set(found.adaptive.lines)
    slopes = [found.fixed.lines[place] for place in places]
    assert all(torch.equal(each.lower_slope, each.upper_slope) for each in slopes)
