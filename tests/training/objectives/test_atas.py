import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from holdfast.core.errors import InputError
from holdfast.core.recipes import build
from holdfast.data.augment import Augment
from holdfast.threats import L1, L2, Linf
from holdfast.training.objectives.atas import ATAS
from holdfast.training.objectives.atta import ATTA
from training.tiny import network
from training.visits import Course, passes_of

EPS = 0.1
FIRST = ATAS(warmup=0)


class Steady(nn.Module):
    """Logits (0, z, -z) with z linear in the input: the scale tunes the gradient of the loss."""

    def __init__(self, size, scale):
        super().__init__()
        self.linear = nn.Linear(size, 1, bias=False)
        with torch.no_grad():
            self.linear.weight.copy_(scale * torch.ones(1, size) / math.sqrt(size))

    def forward(self, x):
        z = self.linear(x.flatten(1))
        return torch.cat([torch.zeros_like(z), z, -z], dim=1)


def gradient_norms(model, x, y):
    probe = x.clone().requires_grad_()
    loss = cross_entropy(model(probe), y, reduction="sum")
    return torch.autograd.grad(loss, probe)[0].flatten(1).norm(dim=1)


def test_declared_passes_are_the_counted_ones():
    assert passes_of(Course(5), FIRST, network(), Linf(EPS), range(5)) == tuple(FIRST.passes)


def test_the_average_under_a_constant_gradient_is_geometric():
    objective = ATAS(warmup=0, reduction="sum", beta=0.7)
    course = Course(3, augment=Augment())
    norms = torch.tensor([0.3, 2.0, 0.0])
    for k in range(1, 6):
        _, _, _, visit = course.show(range(3), k)
        gradient = norms.view(3, 1, 1, 1) * torch.ones(3, 1, 2, 2) / 2
        objective._lengths(gradient, Linf(EPS), visit)
        kept = course.memory.tensors["gradient_square"]
        assert torch.allclose(kept, (1 - 0.7**k) * norms.square())


def test_steps_shrink_strictly_from_the_published_one():
    _, _, _, visit = Course(4, augment=Augment()).show(range(4))
    norms = torch.tensor([0.0, 0.02, 1.0, 50.0])
    lengths = FIRST._lengths(norms.view(4, 1) * torch.eye(4)[:1], Linf(EPS), visit)
    assert float(lengths[0]) == pytest.approx(16 / 255)
    assert (lengths.diff() < 0).all()
    expected = 16 / 255 * 0.01 / (norms / 128 * math.sqrt(0.5) + 0.01)
    assert torch.allclose(lengths, expected)


def test_mean_and_sum_are_the_same_method():
    model, mean, total = network(), Course(5), Course(5)
    for epoch in range(3):
        a = mean.step(FIRST, model, Linf(EPS), range(5), epoch)
        b = total.step(ATAS(warmup=0, reduction="sum"), model, Linf(EPS), range(5), epoch)
        assert torch.allclose(a.x_adv, b.x_adv, atol=1e-6)
    assert FIRST.damping == 0.01
    assert ATAS(reduction="sum").damping == 1.28


def test_an_examples_step_does_not_depend_on_the_batch():
    model, whole, alone = network(), Course(6), Course(6)
    for epoch in range(3):
        together = whole.step(FIRST, model, Linf(EPS), range(6), epoch).x_adv
        single = alone.step(FIRST, model, Linf(EPS), [4], epoch).x_adv
        assert torch.allclose(together[4:5], single, atol=1e-6)
    square = "gradient_square"
    assert torch.allclose(whole.memory.tensors[square][4], alone.memory.tensors[square][4])


def test_the_step_is_that_of_the_formula():
    model, course = network(), Course(5, augment=Augment())
    x, y, _, _ = course.show(range(5))
    start = course.copy().step(ATTA(step_size=1e-12), model, Linf(EPS), range(5)).x_adv
    size = gradient_norms(model, start, y) / 128
    length = 16 / 255 * 0.01 / ((0.5 * size.square()).sqrt() + 0.01)
    probe = start.clone().requires_grad_()
    (g,) = torch.autograd.grad(cross_entropy(model(probe), y, reduction="sum"), probe)
    expected = Linf(EPS).project(start + length.view(-1, 1, 1, 1) * g.sign(), x)
    result = course.step(FIRST, model, Linf(EPS), range(5))
    assert torch.allclose(result.x_adv, expected, atol=1e-6)
    assert torch.allclose(result.logs["step_size"], length.mean())


def test_a_large_offset_without_average_is_atta():
    model, one, other = network(), Course(6, epochs=12), Course(6, epochs=12)
    objective = ATAS(step_size=0.03, offset=1e6, beta=0.0, warmup=0)
    for epoch in range(12):
        a = one.step(objective, model, Linf(EPS), range(6), epoch)
        b = other.step(ATTA(step_size=0.03), model, Linf(EPS), range(6), epoch)
        assert torch.allclose(a.x_adv, b.x_adv, atol=1e-6)


def test_the_warmup_steps_by_the_radius_and_averages_wait():
    model, one, other = network(), Course(5), Course(5)
    for epoch in range(5):
        a = one.step(ATAS(), model, Linf(EPS), range(5), epoch)
        b = other.step(ATTA(step_size="eps"), model, Linf(EPS), range(5), epoch)
        assert torch.equal(a.x_adv, b.x_adv)
        assert "gradient_square" not in one.memory.tensors
    one.step(ATAS(), model, Linf(EPS), range(5), 5)
    assert (one.memory.tensors["gradient_square"] > 0).all()


def test_the_clamp_bounds_the_steps():
    clamped = build(ATAS, {"clamp": ["4/255", "14/255"], "warmup": 0})
    norms = torch.tensor([0.0, 1e4])
    _, _, _, visit = Course(2, augment=Augment()).show(range(2))
    lengths = clamped._lengths(norms.view(2, 1) * torch.eye(3)[:1], Linf(EPS), visit)
    assert torch.allclose(lengths, torch.tensor([14 / 255, 4 / 255]))
    with pytest.raises(InputError, match="clamp"):
        ATAS(clamp=(0.2, 0.1))


@pytest.mark.parametrize(("threat", "p"), [(L2(3.0, box=None), 2), (L1(9.0, box=None), 1)])
def test_in_other_norms_the_step_has_the_same_length(threat, p):
    model, course = Steady(40, 0.0001), Course(4, augment=Augment())
    small = {"step_size": 0.5, "warmup": 0, "offset": 0.01}
    first = course.step(ATTA(step_size=1e-9), model, threat, range(4)).x_adv
    second = course.step(ATAS(**small), model, threat, range(4), 1).x_adv
    moved = torch.linalg.vector_norm((second - first).flatten(1), ord=p, dim=1)
    assert torch.allclose(moved, torch.full((4,), 0.5), atol=1e-3)


def test_inputs_stay_in_the_threat_through_all_views():
    model, course = network(), Course(6)
    objective = ATAS(warmup=1, stored="float16", clamp=(0.01, 0.2))
    for epoch in range(4):
        x, _, _, _ = course.show(range(6), epoch)
        result = course.step(objective, model, Linf(EPS), range(6), epoch)
        assert Linf(EPS).contains(result.x_adv, x).all()
    assert course.memory.tensors["perturbation"].abs().max() <= EPS + 1e-4


def test_a_copied_memory_goes_on_as_the_original_does():
    model, course = network(), Course(6)
    for epoch in range(2):
        course.step(FIRST, model, Linf(EPS), range(6), epoch)
    resumed = course.copy()
    for epoch in (2, 3):
        a = course.step(FIRST, model, Linf(EPS), range(6), epoch)
        b = resumed.step(FIRST, model, Linf(EPS), range(6), epoch)
        assert torch.equal(a.x_adv, b.x_adv)
        assert torch.equal(a.loss, b.loss)


def test_averages_and_perturbations_are_of_the_same_example():
    model, course = network(), Course(6, augment=Augment())
    x, y, _, _ = course.show(range(6))
    course.step(ATTA(step_size=1e-12), model, Linf(0.0), range(6))
    for places in ([3, 1], [5, 0, 2], [4]):
        course.step(FIRST, model, Linf(0.0), places)
    expected = 0.5 * (gradient_norms(model, x, y) / 128).square()
    assert torch.allclose(course.memory.tensors["gradient_square"], expected, rtol=1e-4)


def test_examples_with_large_gradients_move_less():
    """The same inputs, a steep and a flat model: steps in proportion to C / (|g| sqrt(1-b) + C)."""
    moved = []
    for scale in (400.0, 0.001):
        course = Course(5, augment=Augment())
        model = Steady(40, scale)
        x, _, _, visit = course.show(range(5))
        wrong = torch.full((5,), 2)
        lengths = FIRST._lengths(
            torch.autograd.grad(
                cross_entropy(model(x.requires_grad_()), wrong, reduction="sum"), x
            )[0],
            Linf(EPS),
            visit,
        )
        moved.append(float(lengths.mean()))
    assert moved[0] < 0.5 * moved[1]


def test_it_asks_for_a_visit():
    x, y, keys, _ = Course(3).show(range(3))
    with pytest.raises(InputError, match="is needed by ATAS"):
        FIRST.loss(network(), x, y, Linf(EPS), progress=0.0, keys=keys)
