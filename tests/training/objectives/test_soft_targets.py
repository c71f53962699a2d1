import torch
from torch.nn.functional import cross_entropy, one_hot

from holdfast.training.objectives.soft_targets import (
    distribution,
    mean_weight,
    moved,
    true_probability,
    weighted,
    weighted_fit,
)
from training.visits import Course

Y = torch.tensor([2, 0, 1, 1, 2])


def answers(seed=0, count=5, dtype=torch.float32):
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def visit(course=None, places=range(5), epoch=0):
    return (course or Course(7)).show(list(places), epoch)[3]


def test_targets_are_probability_vectors():
    course = Course(7)
    for epoch in range(4):
        targets = moved(visit(course, epoch=epoch), Y, 9 * answers(epoch), 0.6)
        assert torch.allclose(targets.sum(dim=1), torch.ones(5))
        assert (targets >= 0).all()


def test_targets_follow_the_moving_average():
    course, expected = Course(7), one_hot(Y, 3).double()
    for epoch in range(5):
        p = answers(epoch, dtype=torch.float64).softmax(dim=1)
        expected = 0.9 * expected + 0.1 * p
        targets = moved(visit(course, epoch=epoch), Y, answers(epoch, dtype=torch.float64), 0.9)
        assert torch.allclose(targets, expected, atol=1e-6)


def test_momentum_one_keeps_targets_one_hot():
    course = Course(7)
    for epoch in range(3):
        targets = moved(visit(course, epoch=epoch), Y, answers(epoch), 1.0)
        assert torch.equal(targets, one_hot(Y, 3).float())


def test_targets_belong_to_examples_not_to_batches():
    whole, parts = Course(7), Course(7)
    for epoch in range(2):
        together = moved(visit(whole, epoch=epoch), Y, answers(epoch), 0.7)
        first = moved(visit(parts, [4, 3], epoch), Y[[4, 3]], answers(epoch)[[4, 3]], 0.7)
        rest = moved(visit(parts, [0, 2, 1], epoch), Y[[0, 2, 1]], answers(epoch)[[0, 2, 1]], 0.7)
    assert torch.equal(together[[4, 3]], first)
    assert torch.equal(together[[0, 2, 1]], rest)


def test_no_gradient_flows_into_targets():
    logits = answers().requires_grad_()
    assert not moved(visit(), Y, logits, 0.5).requires_grad


def test_probabilities_serve_as_labels():
    soft = torch.tensor([[0.5, 0.25, 0.25]])
    assert torch.equal(distribution(soft, answers(count=1)), soft)
    assert torch.equal(distribution(Y, answers()), one_hot(Y, 3).float())
    expected = (answers(count=1).softmax(dim=1) * soft).sum(dim=1)
    assert torch.equal(true_probability(answers(count=1), soft), expected)


def test_true_probability_is_the_exponential_of_minus_the_loss():
    losses = cross_entropy(answers(), Y, reduction="none")
    assert torch.allclose(true_probability(answers(), Y), (-losses).exp())
    assert ((true_probability(answers(), Y) > 0) & (true_probability(answers(), Y) < 1)).all()


def test_weighted_means():
    losses = torch.tensor([1.0, 5.0, 2.0])
    weights = torch.tensor([0.5, 0.0, 1.5])
    assert float(weighted(losses, weights)) == 1.75
    assert torch.equal(weighted(losses, 8 * weights), weighted(losses, weights))
    assert weighted(losses, None) == losses.mean()
    assert float(weighted(losses, torch.zeros(3))) == 0.0


def test_without_weights_the_fit_is_ordinary_to_the_bit():
    assert torch.equal(weighted_fit(answers(), Y), cross_entropy(answers(), Y))
    equal = weighted_fit(answers(), Y, torch.full((5,), 0.3))
    assert torch.allclose(equal, cross_entropy(answers(), Y))
    soft = weighted_fit(answers(), one_hot(Y, 3).float(), torch.full((5,), 0.3))
    assert torch.allclose(soft, equal)


def test_the_mean_weight_to_log():
    weights = torch.tensor([0.25, 0.75], requires_grad=True)
    assert float(mean_weight(weights, weights)) == 0.5
    assert float(mean_weight(None, weights)) == 1.0
    assert not mean_weight(weights, weights).requires_grad
