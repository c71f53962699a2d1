import pytest
import torch
from torch import nn

from holdfast.core.errors import InputError, UnsupportedThreat
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.measures.gradient_alignment import GradientAlignment, cosines
from holdfast.threats import L2, Linf
from measures.smooth import First, form
from nets import examples, small_net


def measured(model, x, y, threat, keys=None, **settings):
    measure = GradientAlignment(**settings)
    sums = measure.update(model, x, y, threat, keys=keys)
    return measure.compute(sums), sums


def test_a_linear_loss_is_aligned():
    model = nn.Linear(6, 3).double()
    x, y = torch.rand(7, 6).double(), torch.arange(7) % 3
    found, sums = measured(model, x, y, Linf(0.4), loss=First(), samples=2)
    assert found.value == pytest.approx(1.0, abs=1e-12)
    assert not sums["undefined"].any()
    # Cross-entropy of two classes sees one direction only, whatever its slope.
    found, _ = measured(nn.Linear(6, 2).double(), x, y % 2, Linf(0.4))
    assert found.value == pytest.approx(1.0, abs=1e-12)


def test_a_quadratic_form_has_the_cosine_of_ax_and_a_of_the_moved_point():
    model, keys = form(), Keys.of(5, range(4))
    x = torch.rand(4, 5).double()
    threat = Linf(0.5, box=None)
    found, _ = measured(model, x, torch.zeros(4).long(), threat, keys, loss=First())
    moved = threat.sample(x, keys=keys.fold("alignment"))
    exact = nn.functional.cosine_similarity(x @ model.matrix, moved @ model.matrix, dim=1)
    assert torch.allclose(found.per_example, exact, atol=1e-12)
    assert float(exact.min()) < 0.95


def test_it_is_one_at_radius_zero_and_tends_to_one():
    model, x = form(), torch.rand(4, 5).double()
    y, keys = torch.zeros(4).long(), Keys.of(0, range(4))
    turns = [
        1 - measured(model, x, y, Linf(eps, box=None), keys, loss=First())[0].value
        for eps in (0.0, 1e-3, 1e-2)
    ]
    assert turns[0] == pytest.approx(0.0, abs=1e-14)
    assert turns[2] / turns[1] == pytest.approx(100, rel=0.05)  # of second order in the radius


@pytest.mark.parametrize("scale", [1e-30, 0.3, 1e6])
def test_the_scale_of_the_loss_does_not_matter(scale):
    model, x = form(), torch.rand(4, 5).double()
    y, threat = torch.zeros(4).long(), Linf(0.4)
    one = measured(model, x, y, threat, loss=First())[0]
    other = measured(model, x, y, threat, loss=First(scale))[0]
    assert torch.allclose(one.per_example, other.per_example, atol=1e-12)
    assert bool((one.per_example.abs() <= 1 + 1e-12).all())


def test_small_gradients_keep_their_direction_in_float32():
    model = form().float()
    x, y, threat = torch.rand(4, 5), torch.zeros(4).long(), Linf(0.4)
    one = measured(model, x, y, threat, loss=First())[0]
    faint = measured(model, x, y, threat, loss=First(1e-30))[0]
    assert torch.allclose(one.per_example, faint.per_example, atol=1e-5)
    tiny = 1e-30 * torch.tensor([[3.0, 4.0]])
    assert cosines(tiny, torch.tensor([[1.0, 0.0]]))[0].item() == pytest.approx(0.6)


def test_zero_gradients_count_as_one_and_are_counted():
    net = small_net()
    with torch.no_grad():
        net[0].bias.fill_(-100.0)
    x, y = examples(3, net)
    found, sums = measured(net, x, y, Linf(0.1))
    assert found.value == 1.0
    assert sums["undefined"].tolist() == [1.0, 1.0, 1.0]


def test_it_depends_on_the_example_alone():
    net = small_net()
    x, y = examples(7, net)
    keys, threat = Keys.of(0, range(7)), Linf(0.3)
    frozen = FrozenModel(net, block=3)
    whole, _ = measured(frozen, x, y, threat, keys)
    order = torch.tensor([4, 0, 6, 2])
    some, _ = measured(frozen, x[order], y[order], threat, keys[order])
    assert torch.equal(some.per_example, whole.per_example[order])
    assert whole.value < 0.99


def test_clipping_is_a_choice():
    model = form()
    x, y, keys = torch.zeros(4, 5).double() + 0.01, torch.zeros(4).long(), Keys.of(0, range(4))
    boxless = measured(model, x, y, Linf(0.5, box=None), keys, loss=First())[0].per_example
    free = measured(model, x, y, Linf(0.5), keys, loss=First(), clip=False)[0].per_example
    clipped = measured(model, x, y, Linf(0.5), keys, loss=First())[0].per_example
    assert torch.equal(free, boxless)
    assert not torch.equal(clipped, boxless)
    assert 0.0 < measured(model, x, y, L2(0.5), keys, loss=First())[0].value < 1.0


def test_what_cannot_be_measured_is_refused():
    model, x, y = form(), torch.rand(4, 5).double(), torch.zeros(4).long()
    with pytest.raises(InputError, match="threat=None: is missing"):
        measured(model, x, y, None)
    with pytest.raises(UnsupportedThreat, match="no norm ball"):
        measured(model, x, y, object(), clip=False)


def test_cosines_are_differentiable_also_where_undefined():
    vectors = torch.randn(4, 2, 3).double()
    vectors[1] = 0.0
    first, second = vectors.requires_grad_(True), torch.randn(4, 2, 3).double()
    cosine, defined = cosines(first, second)
    assert defined.tolist() == [True, False, True, True]
    assert cosine[1] == 0
    (slope,) = torch.autograd.grad(cosine.sum(), first)
    assert slope.isfinite().all()
    assert not slope[1].any()
    kept = first.detach()[defined].requires_grad_(True)
    assert torch.autograd.gradcheck(lambda v: cosines(v, second[defined])[0], kept)
    exact = nn.functional.cosine_similarity(first.flatten(1), second.flatten(1), dim=1)
    assert torch.allclose(cosine, exact)
