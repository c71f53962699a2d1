import pytest
import torch
from torch import nn

from holdfast.attacks import FGSM, PGD
from holdfast.core.errors import InputError
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.recipes import build, to_dict
from holdfast.measures.perturbations import (
    LossRatio,
    PerturbationCosine,
    Perturbations,
    histogram,
    shares,
)
from holdfast.threats import Linf
from nets import examples, small_net

OPEN = Linf(0.1, box=None)


def linear(classes=2):
    model = nn.Linear(6, classes).double()
    x, y = torch.rand(7, 6).double(), torch.arange(7) % classes
    return model, x, y


def test_shares_and_histogram_count_coordinates():
    scaled = torch.tensor([[1.0, -0.995, 0.5, 0.0], [0.98, -0.3, 0.005, 0.02]])
    boundary, interior, zero = shares(scaled)
    assert boundary.tolist() == [0.5, 0.0]
    assert interior.tolist() == [0.25, 0.75]
    assert zero.tolist() == [0.25, 0.25]
    counts = histogram(torch.tensor([[-1.0, -0.5, 0.0, 1.0]]), 5)
    assert counts.tolist() == [[0.25, 0.25, 0.25, 0.0, 0.25]]


def test_one_step_from_the_input_ends_on_corners():
    model, x, y = linear()
    sums = Perturbations(attack=FGSM()).update(model, x, y, OPEN)
    assert sums["boundary"].tolist() == [1.0] * 7
    assert sums["mean_abs"].tolist() == pytest.approx([1.0] * 7)
    assert sums["l2"].tolist() == pytest.approx([0.1 * 6**0.5] * 7)
    assert sums["histogram"].shape == (7, 41)
    assert sums["histogram"].sum(dim=1).tolist() == pytest.approx([1.0] * 7)
    assert sums["histogram"][:, 1:-1].sum() == 0


def test_r_fgsm_ends_on_minus_eps_zero_or_eps():
    model, x, y = linear()
    corner = FGSM(start="corner", step_size="eps/2")
    found = Perturbations(attack=corner).update(model, x, y, OPEN)
    assert found["interior"].abs().max() < 1e-12
    assert 0 < found["zero"].mean() < 1


def test_a_random_start_leaves_the_moments_of_the_theory():
    torch.manual_seed(0)
    model = nn.Linear(3072, 2).double()
    x, y = torch.rand(3, 3072).double(), torch.tensor([0, 1, 1])
    attack = FGSM(start="random", step_size="1.25*eps")
    sums = Perturbations(attack=attack).update(model, x, y, OPEN)
    # The second moment per coordinate is 0.78906 eps^2 and 5/8 are clipped to one corner.
    assert sums["l2"].mean().item() == pytest.approx(0.1 * 3072**0.5 * 0.88829, rel=0.01)
    assert sums["boundary"].mean().item() == pytest.approx(0.625 + 0.005, abs=0.02)


def test_perturbations_of_a_linear_loss_agree():
    model, x, y = linear()
    cosine = PerturbationCosine()
    found = cosine.compute(cosine.update(model, x, y, OPEN))
    assert found.value == pytest.approx(1.0, abs=1e-12)
    ratio = LossRatio()
    found = ratio.compute(ratio.update(model, x, y, OPEN))
    assert found.value == pytest.approx(1.0, abs=1e-12)
    assert found.stderr == pytest.approx(0.0, abs=1e-12)


def test_many_steps_raise_the_loss_of_a_curved_network_and_turn_away():
    net = small_net()
    x, y = examples(7, net)
    threat, ratio, cosine = Linf(0.4), LossRatio(), PerturbationCosine()
    sums = ratio.update(net, x, y, threat)
    found = ratio.compute(sums)
    assert found.value == pytest.approx(float(sums["strong"].mean() / sums["weak"].mean()))
    assert found.value > 1.0
    assert sums["strong_right"].sum() <= sums["weak_right"].sum()
    assert 0 < cosine.compute(cosine.update(net, x, y, threat)).value < 0.999


def test_an_attack_that_does_not_move_has_no_cosine():
    net = small_net()
    with torch.no_grad():
        net[0].bias.fill_(-100.0)
    x, y = examples(3, net)
    sums = PerturbationCosine().update(net, x, y, Linf(0.1))
    assert sums["undefined"].tolist() == [1.0] * 3
    assert sums["cosine"].tolist() == [0.0] * 3


def test_it_depends_on_the_example_alone():
    net = small_net()
    x, y = examples(7, net)
    keys, frozen = Keys.of(0, range(7)), FrozenModel(net, block=3)
    measure = Perturbations(attack=PGD(steps=2, restarts=1))
    whole = measure.update(frozen, x, y, Linf(0.3), keys=keys)
    some = measure.update(frozen, x[4:], y[4:], Linf(0.3), keys=keys[4:])
    assert torch.equal(some["histogram"], whole["histogram"][4:])
    radii = Linf(torch.full((7,), 0.3))
    assert torch.equal(measure.update(frozen, x, y, radii, keys=keys)["l2"], whole["l2"])


def test_they_are_records():
    for measure in (Perturbations(attack=FGSM()), PerturbationCosine(), LossRatio()):
        assert build(type(measure), to_dict(measure)) == measure


def test_what_cannot_be_measured_is_refused():
    model, x, y = linear()
    with pytest.raises(InputError, match=r"attack=HopSkipJump.*is no attack"):
        build(Perturbations, {"attack": "hop-skip-jump"})
    for radius in (0.0, torch.full((1, 6), 0.1)):
        with pytest.raises(InputError, match="scales no perturbation"):
            Perturbations().update(model, x, y, Linf(radius))
    with pytest.raises(InputError, match="threat=None: is missing"):
        LossRatio().update(model, x, y)
