import pytest
import torch
from scipy import stats
from torch.nn.functional import cross_entropy, one_hot

from holdfast.attacks import PGD
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.recipes import build, to_dict
from holdfast.threats import L2, Linf
from holdfast.training.objectives import FGSMRS, PGDAT, Free, Standard
from holdfast.training.objectives.mixup import Mixup, mixed, mixture, symmetric_beta
from training.tiny import examples, network

AT = PGDAT(attack=PGD(steps=2, restarts=1), attack_mode="eval")
THREAT = Linf(0.1)


def keys(count, seed=0):
    return Keys.of(seed, torch.arange(count))


def loss_of(objective, model, data, seed=5, **options):
    own = Keys.of(seed, data.index)
    args = (model, data.inputs(), data.labels, THREAT)
    return objective.loss(*args, progress=0.5, keys=own, **options)


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0, 1.4, 2.0, 7.0])
def test_the_factor_has_the_beta_distribution(alpha):
    drawn = symmetric_beta(keys(4000).uniform((2,)), alpha)
    assert ((drawn >= 0) & (drawn <= 1)).all()
    distance = stats.kstest(drawn.numpy(), stats.beta(alpha, alpha).cdf).statistic
    assert distance < 1.95 / 4000**0.5  # exceeded once in 1,000 times by chance
    assert drawn.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.08)


def test_the_factor_is_finite_at_the_ends_of_the_uniform_numbers():
    ends = torch.tensor([[0.0, 0.1], [0.0, 0.4], [1 - 2**-24, 0.0], [0.5, 0.25]])
    for alpha in (1e-4, 0.2, 1.4, 1e4):
        assert symmetric_beta(ends, alpha).isfinite().all()


def test_partners_are_a_uniform_permutation_and_factors_vary():
    count, trials = 4, 600
    seen, factors = torch.zeros(count, count), set()
    for trial in range(trials):
        factor, partner = mixture(keys(count).fold(trial), 1.4)
        assert partner.sort().values.tolist() == [0, 1, 2, 3]
        seen[torch.arange(count), partner] += 1
        factors.add(factor.item())
    assert len(factors) == trials
    expected = trials / count
    assert ((seen - expected).abs() < 4.5 * (expected * 3 / 4) ** 0.5).all()


def test_the_order_of_the_batch_does_not_matter():
    own, order = keys(7), torch.tensor([3, 0, 6, 2, 5, 1, 4])
    factor, partner = mixture(own, 1.4)
    other, moved = mixture(own[order], 1.4)
    assert factor == other
    assert torch.equal(order[moved], partner[order])


def test_mixed_rows_are_the_convex_combination():
    rows, partner = torch.rand(3, 2, 5), torch.tensor([1, 2, 0])
    for lam in (0.0, 0.3, 1.0):
        found = mixed(rows, torch.tensor(lam, dtype=torch.float64), partner)
        assert torch.allclose(found, lam * rows + (1 - lam) * rows[partner], atol=1e-7)
    assert torch.equal(mixed(rows, torch.ones(()), partner), rows)


def test_images_are_mixed_before_the_attack_which_maximises_the_mixed_loss():
    model, data = network(), examples(6)
    own = Keys.of(5, data.index)
    x, y = data.inputs(), data.labels
    factor, partner = mixture(own.fold("mixup"), 1.4)
    lam = factor.float()
    start = lam * x + (1 - lam) * x[partner]
    result = loss_of(Mixup(objective=AT), model, data)
    assert THREAT.contains(result.x_adv, start).all()
    logits = model(result.x_adv)
    expected = lam * cross_entropy(logits, y) + (1 - lam) * cross_entropy(logits, y[partner])
    assert result.loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert result.logs["mixing"] == factor

    def mixed_loss(z, labels, target=None):
        both = (cross_entropy(z, each, reduction="none") for each in (y, y[partner]))
        first, second = both
        return lam * first + (1 - lam) * second

    by_hand = PGD(steps=2, restarts=1, loss=mixed_loss)
    x_adv = by_hand.perturb(FrozenModel(model), start, y, THREAT, keys=own)
    assert torch.allclose(result.x_adv, x_adv, atol=1e-6)


@pytest.mark.parametrize("objective", [AT, Standard(), FGSMRS(attack_mode="eval")])
def test_unmixed_it_is_the_objective_itself(objective):
    data, found = examples(6), []
    for each in (objective, Mixup(objective=objective, alpha=1e-9)):
        for seed in range(40):
            own = Keys.of(seed, data.index)
            if mixture(own.fold("mixup"), 1e-9)[0] == 1:
                break
        model = network()
        result = loss_of(each, model, data, seed)
        result.loss.backward()
        found.append((result.loss, [p.grad for p in model.parameters()]))
    assert torch.allclose(found[0][0], found[1][0], rtol=1e-5)
    assert all(
        torch.allclose(a, b, atol=1e-6) for a, b in zip(found[0][1], found[1][1], strict=True)
    )


@pytest.mark.parametrize("objective", [AT, Standard(), FGSMRS(attack_mode="eval")])
def test_a_factor_of_zero_is_the_objective_on_the_partners(objective, monkeypatch):
    data, partner = examples(6), torch.tensor([2, 0, 5, 3, 1, 4])
    factor = torch.zeros((), dtype=torch.float64)
    home = "holdfast.training.objectives.mixup.mixture"
    monkeypatch.setattr(home, lambda keys, alpha: (factor, partner))
    x, y, own = data.inputs(), data.labels, Keys.of(5, data.index)
    found = []
    for each, rows in ((Mixup(objective=objective), slice(None)), (objective, partner)):
        model = network()
        result = each.loss(model, x[rows], y[rows], THREAT, progress=0.5, keys=own)
        result.loss.backward()
        found.append([result.loss, result.x_adv, *(p.grad for p in model.parameters())])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*found, strict=True))


def test_it_costs_what_the_objective_does_after_the_first_step():
    model, data, count = network(), examples(6), []
    model.register_forward_hook(lambda module, inputs, output: count.append(len(inputs[0])))
    objective = Mixup(objective=AT)
    state = loss_of(objective, model, data).state
    assert count == [1, 6, 6, 6]
    count.clear()
    loss_of(objective, model, data, state=state)
    assert count == [6] * objective.passes.forwards


def test_the_state_of_the_objective_is_carried():
    model, data = network(), examples(6)
    objective = Mixup(objective=Free())
    assert (objective.replays, objective.passes) == (Free().replays, Free().passes)
    result = loss_of(objective, model, data)
    result.loss.backward()
    state = result.state if result.finish is None else result.finish()
    assert state["classes"] == 3
    assert any(isinstance(each, torch.Tensor) for each in state.values())
    again = loss_of(objective, model, data, state=state)
    assert not torch.equal(again.x_adv, result.x_adv)


def test_one_example_vectors_two_classes_and_float64():
    model = torch.nn.Linear(4, 2).double()
    x, y = torch.rand(1, 4, dtype=torch.float64), torch.tensor([1])
    result = Mixup(objective=AT).loss(model, x, y, L2(0.1), progress=0.5)
    assert torch.allclose(result.loss, cross_entropy(model(result.x_adv), y))
    soft = Mixup(objective=AT).loss(model, x, one_hot(y, 2).double(), L2(0.1), progress=0.5)
    assert torch.allclose(soft.loss, result.loss)


def test_it_comes_from_a_recipe():
    made = build(Mixup, {"objective": {"kind": "fgsm-rs", "start": "zero"}, "alpha": 0.4})
    assert made.objective == FGSMRS(start="zero")
    assert build(Mixup, to_dict(made)) == made
