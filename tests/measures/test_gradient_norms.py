import math

import pytest
import torch
from torch import nn

from holdfast.core.errors import InputError
from holdfast.measures.gradient_norms import GradientNorms, heterogeneity_ratio, histogram
from measures.smooth import First, form
from nets import examples, small_net


def test_norms_of_a_quadratic_form_are_those_of_ax():
    model, x, y = form(), torch.rand(4, 5).double(), torch.zeros(4).long()
    for p, exact in ((1, 1), (2, 2), (math.inf, math.inf)):
        measure = GradientNorms(loss=First(), p=p)
        found = measure.compute(measure.update(model, x, y))
        expected = torch.linalg.vector_norm(x @ model.matrix, ord=exact, dim=1)
        assert torch.allclose(found.per_example, expected, atol=1e-12)
        assert found.value == pytest.approx(float(expected.mean()))


def test_a_gradient_is_that_of_the_example_alone():
    net = small_net()
    x, y = examples(5, net)
    measure = GradientNorms()
    whole = measure.update(net, x, y)
    alone = measure.update(net, x[2:3], y[2:3])
    assert torch.allclose(whole["norm"][2:3], alone["norm"])
    losses = nn.functional.cross_entropy(net(x), y, reduction="none").detach()
    assert torch.allclose(whole["loss"], losses, atol=1e-6)
    with pytest.raises(InputError, match="is not known"):
        GradientNorms(p=3)


def test_zero_entries_are_counted():
    net = nn.Linear(5, 3)
    with torch.no_grad():
        net.weight[:, 1:3] = 0
    found = GradientNorms().update(net, torch.rand(4, 5), torch.zeros(4).long())
    assert torch.allclose(found["zero"], torch.tensor(0.4).double())


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_the_ratio_has_the_corrected_exponent(momentum):
    factor = (1 - momentum) ** -0.25
    assert heterogeneity_ratio(torch.full((7,), 3.0), momentum) == pytest.approx(factor)
    one = torch.zeros(9)
    one[4] = 1e-20
    assert heterogeneity_ratio(one, momentum) == pytest.approx(factor / 3)


def test_the_ratio_at_the_published_momentum():
    assert heterogeneity_ratio(torch.ones(3), 0.5) == pytest.approx(1.189, abs=5e-4)
    # Adaptive steps have the better bound from a coefficient of variation of about 0.643 on.
    for variation, better in ((0.63, False), (0.66, True)):
        norms = torch.tensor([1 - variation, 1 + variation]).double()
        assert (heterogeneity_ratio(norms, 0.5) < 1) is better
    norms = torch.rand(50, generator=torch.Generator().manual_seed(0)) ** 4
    assert 1 / math.sqrt(50) <= heterogeneity_ratio(norms, 0.0) <= 1
    assert heterogeneity_ratio(norms, 0.3) == pytest.approx(heterogeneity_ratio(9 * norms, 0.3))


def test_what_has_no_ratio_is_refused():
    for norms in (torch.zeros(3), torch.ones(0), torch.tensor([1.0, -1.0])):
        with pytest.raises(InputError, match="holds no gradient norms"):
            heterogeneity_ratio(norms, 0.5)
    with pytest.raises(InputError, match="momentum=1"):
        heterogeneity_ratio(torch.ones(3), 1.0)


def test_the_histogram_is_logarithmic_and_complete():
    counts, edges = histogram(torch.tensor([0.0, 1.0, 10.0, 99.0, 1000.0]), bins=3)
    assert counts.tolist() == [1, 2, 1]
    assert edges.tolist() == pytest.approx([1.0, 10.0, 100.0, 1000.0])
    counts, _ = histogram(torch.full((6,), 2.0), bins=4)
    assert counts.tolist() == [6, 0, 0, 0]
    with pytest.raises(InputError, match="make no histogram"):
        histogram(torch.zeros(3))
