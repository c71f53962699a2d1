from itertools import pairwise

import pytest
import torch

from holdfast.core.errors import InputError, UnsupportedThreat
from holdfast.core.frozen import FrozenModel
from holdfast.data.augment import Augment, Cutout, Flip, PadCrop
from holdfast.threats import L1, L2, Linf
from holdfast.threats.spatial import Spatial
from holdfast.training.objectives.remembered import ascended, ball_of, last_draw, recalled
from training.tiny import SHAPE, network
from training.visits import Course

EPS = 0.1


def kept_of(course, places, epoch, threat=None, **options):
    """The perturbations of a showing, with its input."""
    x, _, keys, visit = course.show(places, epoch)
    options = {"reset": None} | options
    return recalled(visit, x, threat or Linf(EPS), keys, **options), x


def test_the_first_visit_draws_uniformly_in_the_ball():
    kept, _ = kept_of(Course(11), range(11), 0)
    assert kept.frame.shape == (11, SHAPE[0], SHAPE[1] + 4, SHAPE[2] + 4)
    assert kept.frame.abs().max() <= EPS
    # 11 * 144 uniforms: the mean of |u| is eps / 2 with a standard deviation of 0.0073 eps
    assert abs(float(kept.frame.abs().mean()) / EPS - 0.5) < 0.04
    assert len(kept.frame.unique()) > 1500


@pytest.mark.parametrize("threat", [Linf(EPS), L2(0.7), L1(0.9)])
def test_the_point_is_in_the_threat(threat):
    kept, x = kept_of(Course(5), range(5), 0, threat)
    point = kept.point(x, threat)
    assert threat.contains(point, x).all()
    assert not torch.equal(point, x)


def test_what_is_visible_comes_back_through_another_crop_and_flip():
    course = Course(7)
    kept, x = kept_of(course, range(7), 0)
    marks = torch.linspace(-EPS, EPS, x[0].numel()).view(1, *SHAPE).repeat(7, 1, 1, 1)
    kept.keep(marks)
    again, _ = kept_of(course, range(7), 0)
    assert torch.equal(again.visit.carry(again.frame), marks)
    later, _ = kept_of(course, range(7), 1)
    assert torch.equal(later.frame, again.frame)
    assert not torch.equal(later.visit.carry(later.frame), marks)


def test_what_is_hidden_stays_as_it_was():
    course = Course(7)
    kept, x = kept_of(course, range(7), 0)
    kept.keep(torch.full_like(x, 2.0))
    after, _ = kept_of(course, range(7), 0)
    seen = after.frame == 2.0
    assert torch.equal(after.frame[~seen], kept.frame[~seen])
    assert int(seen.sum()) == x.numel()


def test_state_follows_the_example_through_shuffling():
    course, shuffled = Course(9), Course(9)
    order = torch.tensor([4, 0, 8, 2, 6, 1, 7, 3, 5])
    for each, places in ((course, torch.arange(9)), (shuffled, order)):
        kept, x = kept_of(each, places, 0)
        kept.keep(x * (1 + places.view(-1, 1, 1, 1)))
    name = "perturbation"
    assert torch.equal(course.memory.tensors[name], shuffled.memory.tensors[name])
    whole, _ = kept_of(course, order, 1)
    part, _ = kept_of(course, order[2:5], 1)
    assert torch.equal(whole.frame[2:5], part.frame)


def test_cutout_neither_masks_nor_loses_the_perturbation():
    course = Course(4, augment=Augment(steps=(PadCrop(padding=1), Cutout(length=2), Flip())))
    kept, x = kept_of(course, range(4), 0)
    kept.keep(torch.full_like(x, 0.05))
    after, _ = kept_of(course, range(4), 0)
    assert torch.equal(after.visit.carry(after.frame), torch.full_like(x, 0.05))


@pytest.mark.parametrize(
    ("epoch", "epochs", "reset", "last"),
    [
        (0, 30, 10, 0),
        (9, 30, 10, 0),
        (10, 30, 10, 10),
        (29, 30, 10, 20),
        (20, 21, 10, 10),
        (0, 1, 10, 0),
        (57, 60, None, 0),
        (3, 5, 1, 3),
        (4, 5, 1, 3),
    ],
)
def test_draws_are_every_so_many_epochs_but_not_in_the_last(epoch, epochs, reset, last):
    assert last_draw(epoch, epochs, reset) == last


def test_perturbations_are_drawn_anew_when_due_and_only_then():
    course = Course(6, epochs=7)
    frames = []
    for epoch in range(7):
        kept, _ = kept_of(course, range(6), epoch, reset=3)
        frames.append(kept.frame)
        kept.keep(kept.visit.carry(kept.frame))
    same = [torch.equal(*pair) for pair in pairwise(frames)]
    assert same == [True, True, False, True, True, True]


def test_an_example_first_seen_late_begins_at_random_and_only_once():
    course = Course(6)
    kept_of(course, [0, 1], 0, reset=10)
    kept, x = kept_of(course, [1, 5], 3, reset=10)
    assert kept.frame[1].abs().mean() > 0.3 * EPS
    kept.keep(torch.full_like(x, 0.02))
    again, x = kept_of(course, [1, 5], 3, reset=10)
    assert torch.equal(again.visit.carry(again.frame), torch.full_like(x, 0.02))


def test_draws_differ_between_examples_and_epochs():
    course = Course(3)
    first, _ = kept_of(course, range(3), 0, reset=1)
    second, _ = kept_of(course, range(3), 1, reset=1)
    assert not torch.equal(first.frame, second.frame)
    assert not torch.equal(first.frame[0], first.frame[1])


def test_half_precision_halves_the_memory_and_stays_in_the_threat():
    course = Course(5)
    kept, x = kept_of(course, range(5), 0, Linf("8/255"), stored="float16")
    kept.keep(torch.full_like(x, 8 / 255))
    assert course.memory.tensors["perturbation"].dtype == torch.float16
    after, x = kept_of(course, range(5), 0, Linf("8/255"), stored="float16")
    assert after.frame.dtype == x.dtype
    point = after.point(x, Linf("8/255"))
    assert Linf("8/255").contains(point, x).all()
    assert torch.allclose(point, (x + 8 / 255).clamp(0, 1), atol=2e-5)


def test_large_images_are_kept_small_and_written_back():
    course = Course(5, augment=Augment(steps=(PadCrop(padding=1), Flip())))
    kept, x = kept_of(course, range(5), 0, side=3)
    memory = course.memory.tensors["perturbation"]
    assert memory.shape == (5, SHAPE[0], 3, 3)
    assert kept.frame.shape[2:] == (7, 6)
    kept.keep(torch.full_like(x, 0.07))
    after, _ = kept_of(course, range(5), 0, side=3)
    assert after.frame.abs().max() <= EPS + 1e-7
    # every window shows the centre of the frame, from which the middle entry is made
    assert torch.allclose(memory[:, :, 1, 1], torch.tensor(0.07))


def test_a_constant_survives_small_memory():
    course = Course(3, augment=Augment())
    kept, x = kept_of(course, range(3), 0, side=2)
    kept.keep(torch.full_like(x, 0.06))
    after, _ = kept_of(course, range(3), 0, side=2)
    assert torch.allclose(after.frame, torch.tensor(0.06), atol=1e-8)


def test_vectors_are_kept_as_they_are():
    course = Course(4, augment=Augment())
    x, _, keys, visit = course.show(range(4))
    flat = x.flatten(1)
    kept = recalled(visit, flat, Linf(EPS), keys, reset=10)
    assert kept.frame.shape == flat.shape
    kept.keep(flat)
    assert torch.equal(course.memory.tensors["perturbation"], flat)
    with pytest.raises(InputError, match="is for images"):
        recalled(visit, flat, Linf(EPS), keys, reset=10, side=2)


def test_a_step_is_the_steepest_one_projected():
    model, course = network(), Course(5)
    x, y, _, _ = course.show(range(5))
    with FrozenModel(model) as frozen:
        x_adv, logits = ascended(frozen, x, x, y, Linf(EPS), 0.03)
    probe = x.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(model(probe), y, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, probe)
    assert torch.equal(x_adv, (x + 0.03 * gradient.sign()).clamp(0, 1))
    assert torch.equal(logits, model(x))


def test_threats_without_one_radius_are_refused():
    with pytest.raises(UnsupportedThreat, match="norm ball"):
        ball_of(Spatial(), "a kept perturbation")
    with pytest.raises(UnsupportedThreat, match="one radius per feature"):
        ball_of(Linf(torch.full((1, *SHAPE), 0.1)), "a kept perturbation")
    each = Linf(torch.tensor([0.0, 0.1]))
    assert ball_of(each, "a kept perturbation") is each
    kept, _ = kept_of(Course(2), range(2), 0, each)
    assert kept.frame[0].abs().max() == 0
    assert kept.frame[1].abs().max() > 0
