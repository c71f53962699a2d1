import pytest
import torch
from torch import nn

from certify.nets import deep_net
from holdfast.certify.bounds.interval import Interval
from holdfast.certify.bounds.linear import CROWN, Dual
from holdfast.certify.solvers.lp import LP
from holdfast.certify.studies.polytope import outer_polygon
from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.threats.balls import L2, Linf

X = torch.tensor([[0.6, 0.2]]).double()


@pytest.mark.parametrize("method", [Dual(), CROWN(), Interval()])
@pytest.mark.parametrize("threat", [Linf(0.2, box=None), L2(0.2, box=None), Linf(0.7)], ids=str)
def test_every_reached_output_lies_inside(method, threat):
    model = deep_net().double()
    found = outer_polygon(method, model, X, threat, directions=24)
    points = threat.sample(X.expand(2000, 2), keys=Keys.of(1, range(2000)))
    assert found.contains(model(points)).all()
    assert not found.contains(model(points) + 5).any()


def test_a_programme_cuts_off_more_than_the_dual_bound_and_nothing_that_is_reached():
    """Fig. 3.4 by linear programmes instead of J."""
    model, threat = deep_net().double(), Linf(0.2, box=None)
    dual, programme = (
        outer_polygon(method, model, X, threat, directions=12)
        for method in (Dual(), LP(boxes="parallel", plain=True))
    )
    points = threat.sample(X.expand(500, 2), keys=Keys.of(1, range(500)))
    assert programme.contains(model(points)).all()
    assert programme.area() < 0.95 * dual.area()


def test_the_polygon_of_a_linear_map_is_the_image_of_the_square():
    model = nn.Linear(2, 2).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[2.0, 1.0], [0.5, -1.0]]))
    found = outer_polygon(Dual(), model, X, Linf(0.1, box=None), directions=720)
    assert found.area() == pytest.approx(4 * 0.1**2 * 2.5, rel=2e-3)
    assert found.widths() == pytest.approx((0.6, 0.3), rel=1e-3)
    turned = outer_polygon(Dual(), model, X, Linf(0.1, box=None), directions=720, outputs=(1, 0))
    assert turned.widths() == pytest.approx((0.3, 0.6), rel=1e-3)
    assert turned.area() > 0


def test_more_directions_and_tighter_methods_cut_off_more():
    model, threat = deep_net().double(), Linf(0.2, box=None)
    areas = [
        outer_polygon(Dual(), model, X, threat, directions=count).area() for count in (4, 8, 16)
    ]
    assert areas == sorted(areas, reverse=True)
    loose = outer_polygon(Interval(), model, X, threat, directions=16).area()
    assert loose > areas[-1]
    normals = outer_polygon(Dual(), model, X, threat, directions=16)
    values = normals.corners @ normals.directions.T
    assert (values >= normals.offsets - 1e-9).all()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"x": X.repeat(2, 1)}, "is not one"),
        ({"directions": 2}, "bounds no area"),
        ({"outputs": (0, 2)}, "are no two outputs"),
        ({"outputs": (1, 1)}, "are no two outputs"),
    ],
)
def test_what_has_no_polygon_is_refused(changes, problem):
    settings = {"x": X, "directions": 8, "outputs": (0, 1)} | changes
    with pytest.raises(InputError, match=problem):
        outer_polygon(
            Dual(),
            deep_net().double(),
            settings["x"],
            Linf(0.1),
            directions=settings["directions"],
            outputs=settings["outputs"],
        )
