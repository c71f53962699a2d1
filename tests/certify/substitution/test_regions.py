import pytest
import torch

from certify.nets import Ball2, Hull, inputs
from holdfast.benchmark.verify_boxes import InputBox
from holdfast.certify.substitution.regions import around
from holdfast.certify.substitution.rows import Dense, Memo
from holdfast.certify.substitution.windows import Window
from holdfast.core.errors import InputError, UnsupportedThreat
from holdfast.threats import L1, L2, Linf

SHAPE = (2, 5, 4)
THREATS = [
    Linf(0.2), Linf(0.2, box=None), L2(0.7), L2(0.7, box=None), L1(1.5), L1(1.5, box=None),
    Linf(torch.tensor([0.1, 0.3, 0.2])), L2(torch.tensor([0.5, 1.0, 0.7])),
]  # fmt: skip
IMAGE = torch.tensor([0, 0, 1, 2, 2, 2])


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_ends_are_those_of_the_support_function(threat):
    x, rows = inputs(3, SHAPE), inputs(6, SHAPE, seed=4) - 0.5
    least, most = around(threat, x, rigorous=False).ends(Dense(rows), IMAGE, both=True)
    wider = threat.accepted()
    for index, image in enumerate(IMAGE.tolist()):
        own = wider.rows(torch.tensor([image]))
        one = x[image : image + 1]
        high = own.support(rows[index].view(1, 1, *SHAPE), one).item()
        low = -own.support(-rows[index].view(1, 1, *SHAPE), one).item()
        assert most[index].item() == pytest.approx(high, abs=2e-7)
        assert least[index].item() == pytest.approx(low, abs=2e-7)


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_crops_have_the_ends_of_whole_rows(threat):
    x = inputs(3, SHAPE)
    values, position = inputs(6, (2, 3, 2)) - 0.4, torch.tensor([0, 5, 3, 1, 2, 4])
    rows = Window(values, position, (3, 2), SHAPE, Memo(), (2, 2), (1, 0), inside=False)
    region = around(threat, x, rigorous=False)
    whole = region.ends(rows.clean().dense(), IMAGE, both=True)
    for found, wanted in zip(region.ends(rows, IMAGE, both=True), whole, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-10, rtol=0)


def test_one_radius_per_feature_sees_whole_rows():
    radius = inputs(1, SHAPE, seed=3)
    x, rows = inputs(3, SHAPE), inputs(6, SHAPE, seed=4) - 0.5
    least, most = around(L2(radius), x, rigorous=False).ends(Dense(rows), IMAGE, both=True)
    wider = L2(radius).accepted()
    wanted = wider.support(rows[3:].unsqueeze(0), x[2:])[0]
    torch.testing.assert_close(most[3:], wanted)
    assert (least < most).all()


def test_a_threat_that_cannot_select_is_asked_image_by_image():
    x, rows = inputs(3, SHAPE), inputs(6, SHAPE, seed=4) - 0.5
    least, most = around(Ball2(0.3), x, rigorous=True).ends(Dense(rows), IMAGE, both=True)
    middle = (rows * x[IMAGE]).flatten(1).sum(1)
    length = torch.linalg.vector_norm(rows.flatten(1), dim=1)
    torch.testing.assert_close(least, middle - 0.3 * length)
    torch.testing.assert_close(most, middle + 0.3 * length)


def test_a_ball_within_a_box_is_never_looser():
    x, rows = inputs(3, SHAPE), inputs(6, SHAPE, seed=4) - 0.5
    for threat in (Linf, L2, L1):
        inside, _ = around(threat(0.6), x, rigorous=False).ends(Dense(rows), IMAGE, both=False)
        free = around(threat(0.6, box=None), x, rigorous=False)
        least, _ = free.ends(Dense(rows), IMAGE, both=False)
        assert (inside >= least - 1e-5).all()
        assert (inside > least + 1e-3).any()


def test_a_threat_may_say_that_it_is_a_box():
    x, rows = inputs(3, SHAPE), inputs(6, SHAPE, seed=4) - 0.5
    box = InputBox(x - 0.1, x + 0.3)
    region = around(box, x, rigorous=False)
    assert region.boxed
    least, most = region.ends(Dense(rows), IMAGE, both=True)
    wanted = (rows * x[IMAGE] + torch.minimum(-0.1 * rows, 0.3 * rows)).flatten(1).sum(1)
    torch.testing.assert_close(least, wanted)
    assert (most > least).all()
    assert not around(L2(0.1), x, rigorous=False).boxed


def test_what_cannot_be_bounded_is_refused():
    with pytest.raises(UnsupportedThreat, match="support function; Hull has none"):
        around(Hull(0.1), inputs(3, SHAPE), rigorous=True)
    with pytest.raises(UnsupportedThreat, match="hull"):
        around(object(), inputs(3, SHAPE), rigorous=True)
    with pytest.raises(InputError, match=r"^x=example 0"):
        around(Linf(0.1), inputs(3, SHAPE) + 2, rigorous=True)
