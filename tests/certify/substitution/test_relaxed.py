import torch

from certify.nets import graph, inputs
from certify.substitution.test_backward import known_of
from holdfast.certify.substitution.backward import lower
from holdfast.certify.substitution.rows import Dense
from holdfast.threats import L2, Linf


def test_chosen_images_keep_their_bounds():
    x = inputs(3)
    for threat in (Linf(0.03), L2(0.2)):
        known = known_of(graph("residual"), x, threat)
        rows, place = inputs(4, (5,)) - 0.5, len(graph("residual").nodes) - 1
        image, index = torch.tensor([2, 0, 2, 2]), torch.tensor([2, 0])
        relaxations = [known.adaptive, known.fixed]
        if known.centred is not None:
            relaxations += [known.centred.adapt(), known.centred.fixed]
        for relaxed in relaxations:
            mine = Dense(rows.to(relaxed.boxes[0].lower))
            with torch.no_grad():
                wanted = lower(relaxed, mine, image, place)
                slot = torch.tensor([0, 1, 0, 0])
                found = lower(relaxed.chosen(index), mine, slot, place)
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


def test_the_steepest_line_of_each_image():
    relaxed = known_of(graph("conv"), inputs(3), Linf(0.02)).adaptive
    for place, lines in relaxed.lines.items():
        both = torch.maximum(lines.lower_slope.abs(), lines.upper_slope.abs())
        assert torch.equal(relaxed.steepest(place), both.flatten(1).amax(1))


def test_lines_through_zero_are_known():
    found = {}
    for name in ("conv", "functional"):
        relaxed = known_of(graph(name), inputs(3), Linf(0.02)).adaptive
        for place in relaxed.lines:
            op = type(graph(name).nodes[place].op).__name__
            found.setdefault(op, set()).add(relaxed.bent(place))
    assert found["ReLU"] == {True}
    assert False in found["Clamp"]


def test_units_are_rows_of_the_precision_of_the_boxes():
    known = known_of(graph("conv"), inputs(2), Linf(0.02))
    unit = torch.tensor([3, 1])
    assert known.fixed.units(unit, 1).values.dtype == torch.float64
    assert known.centred.fixed.units(unit, 1).values.dtype == torch.float32
