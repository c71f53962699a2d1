import pytest
import torch
from torch import nn

from holdfast.attacks import PGD
from holdfast.core.errors import UnsupportedThreat
from holdfast.core.random import Keys
from holdfast.threats import L2, Linf
from holdfast.training.objectives import PGDAT
from holdfast.training.objectives.corner_pgd import CornerPGDAT, corner
from training.objectives.test_grad_align import calls_of
from training.tiny import examples, network

EPS = 0.1
FREE = Linf(EPS, box=None)


def multiples(model, attack, threat=FREE):
    """The perturbations of PGD training, in radii."""
    data = examples(5)
    args = (model, data.inputs(), data.labels, threat)
    result = PGDAT(attack=attack).loss(*args, progress=0.5)
    return (result.x_adv - data.inputs()) / EPS


def test_two_steps_of_half_a_radius_end_in_the_middle_or_at_the_bound():
    attack = PGD(steps=2, restarts=1, step_size="eps/2", start="clean")
    found = multiples(network(), attack).abs()
    assert torch.allclose(found, found.round(), atol=1e-5)
    assert set(found.round().unique().tolist()) <= {0.0, 1.0}


def test_ten_steps_of_a_fifth_end_on_the_grid_of_fifths():
    found = multiples(network(), CornerPGDAT().attack) * 5
    assert torch.allclose(found, found.round(), atol=1e-4)
    assert found.abs().max() <= 5 + 1e-4
    walked = multiples(network(), PGD(steps=4, restarts=1, step_size="eps/5", start="clean")) * 5
    assert torch.allclose(walked / 2, (walked / 2).round(), atol=1e-4)  # nothing was clipped


@pytest.mark.parametrize("threat", [FREE, Linf(EPS), Linf(torch.tensor([0.1, 0.2, 0.1, 0.0, 0.3]))])
def test_every_moved_coordinate_is_at_its_bound(threat):
    model, data = network(), examples(5)
    x, y, keys = data.inputs(), data.labels, Keys.of(1, data.index)
    result = CornerPGDAT().loss(model, x, y, threat, progress=0.5, keys=keys)
    found = CornerPGDAT().attack
    before = PGDAT(attack=found).loss(model, x, y, threat, progress=0.5, keys=keys).x_adv - x
    radius = torch.as_tensor(threat.radius).view(-1, 1, 1, 1)
    want = x + radius * before.sign()
    want = want if threat.box is None else want.clamp(0, 1)
    assert torch.allclose(result.x_adv, want, atol=1e-6)
    assert threat.contains(result.x_adv, x).all()


def test_unmoved_coordinates_stay_or_take_a_side():
    model, x = nn.Linear(30, 2), torch.full((3, 30), 0.5)
    with torch.no_grad():
        model.weight[:, :10] = 0
    y, keys = torch.tensor([0, 1, 0]), Keys.of(1, range(3))
    found = {
        kind: CornerPGDAT(unmoved=kind).loss(model, x, y, FREE, progress=0.5, keys=keys).x_adv - x
        for kind in ("stay", "random")
    }
    assert (found["stay"][:, :10] == 0).all()
    assert torch.allclose(found["random"].abs(), torch.full((3, 30), EPS))
    assert torch.equal(found["stay"][:, 10:], found["random"][:, 10:])
    assert not torch.equal(found["random"][0, :10], found["random"][1, :10])
    part = CornerPGDAT(unmoved="random").loss(
        model, x[1:], y[1:], FREE, progress=0.5, keys=keys[1:]
    )
    assert torch.equal(part.x_adv - x[1:], found["random"][1:])


def test_corners_by_hand():
    x = torch.tensor([[0.5, 0.95, 0.0]])
    found = corner(Linf(0.1), x, torch.tensor([[-1e-6, 3.0, 0.0]]))
    assert torch.allclose(found, torch.tensor([[0.4, 1.0, 0.0]]))


def test_declared_passes_are_the_counted_ones():
    assert (
        calls_of(CornerPGDAT(), network(), examples(5)) == tuple(CornerPGDAT().passes) == (11, 11)
    )


def test_other_norms_are_refused():
    model, data = network(), examples(3)
    with pytest.raises(UnsupportedThreat, match="l_inf ball, not L2"):
        CornerPGDAT().loss(model, data.inputs(), data.labels, L2(0.5), progress=0.5)
