import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from holdfast.attacks import PGD
from holdfast.core.errors import InputError
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.threats import Linf
from holdfast.training.objectives.mart import MART, boosted_cross_entropy, doubt
from holdfast.training.objectives.regularising import first_point
from training.objectives.counted import calls_of, differences, gradients, plain, vectors
from training.tiny import examples, network

THREAT = Linf(0.1)


def step(objective, model, x, y, threat=THREAT, **more):
    return objective.loss(model, x, y, threat, progress=0.5, **more)


def published(clean, perturbed, y, weight):
    """The objective written with probabilities, example by example."""
    values = []
    for i, label in enumerate(y.tolist()):
        p, q = clean[i].softmax(0), perturbed[i].softmax(0)
        rival = max(q[k] for k in range(len(q)) if k != label)
        boosted = -q[label].log() - (1 - rival).log()
        values.append(boosted + weight * (p * (p / q).log()).sum() * (1 - p[label]))
    return torch.stack(values).mean()


def test_the_loss_is_the_published_one():
    x, y = vectors()
    model = plain()
    result = step(MART(weight=2.5), model, x, y)
    clean, perturbed = model(x), model(result.x_adv)
    torch.testing.assert_close(result.loss, published(clean, perturbed, y, 2.5))
    assert result.logs["accuracy"] == (perturbed.argmax(1) == y).float().mean()
    assert result.logs["unperturbed_accuracy"] == (clean.argmax(1) == y).float().mean()


def test_gradients_flow_through_everything():
    x, y = vectors()
    model = plain()
    result = step(MART(weight=2.0), model, x, y)
    found = gradients(result.loss, model)
    whole = differences(lambda: published(model(x), model(result.x_adv), y, 2.0), model)
    torch.testing.assert_close(found, whole, rtol=1e-5, atol=1e-7)
    clean = model(x).detach()
    cut = gradients(published(clean, model(result.x_adv), y, 2.0), model)
    assert (found - cut).norm() > 0.01 * found.norm()


def test_the_inner_attack_is_pgd_on_the_cross_entropy():
    x, y = vectors()
    model, threat, keys = plain(), Linf(0.1), Keys.of(4, range(len(vectors()[0])))
    result = step(MART(steps=3), model, x, y, keys=keys)
    attack = PGD(steps=3, restarts=1, step_size="eps/4")
    start = first_point("normal", x, threat, keys)
    wanted = attack.perturb(FrozenModel(model), x, y, threat, keys=keys, start=start)
    assert torch.equal(result.x_adv, wanted)
    assert threat.contains(result.x_adv, x).all()
    assert cross_entropy(model(result.x_adv), y) > cross_entropy(model(x), y)


def test_both_parts_are_precise_for_sure_answers_in_float32():
    logits = torch.tensor([[40.0, 0.0, -1.0], [0.0, 40.0, -1.0]], requires_grad=True)
    y = torch.tensor([0, 0])
    exact = logits.detach().double()
    rest = exact[0, 1:].exp().sum() / exact[0].exp().sum()
    assert doubt(logits, y)[0].item() == pytest.approx(rest.item(), rel=1e-5)
    assert doubt(logits, y)[1].item() == 1.0
    values = boosted_cross_entropy(logits, y)
    # sure and wrong: 40 for the label, and -log(1 - q_1) = 40 - log(1 + 1/e)
    wanted = 80 - torch.tensor(1 + 1 / torch.e).log().item()
    assert values[1].item() == pytest.approx(wanted, rel=1e-6)
    values.sum().backward()
    assert logits.grad.isfinite().all()
    assert logits.grad[1, 1].item() == pytest.approx(2.0, rel=1e-5)


def test_two_classes_double_the_cross_entropy():
    logits = torch.linspace(-3, 3, 14).view(7, 2).sin() * 4
    y = torch.tensor([0, 1, 1, 0, 1, 0, 0])
    wanted = 2 * cross_entropy(logits, y, reduction="none")
    torch.testing.assert_close(boosted_cross_entropy(logits, y), wanted)


@pytest.mark.parametrize("joint", [False, True])
def test_declared_passes_are_the_counted_ones(joint):
    objective = MART(steps=3, joint_forward=joint)
    counted, _ = calls_of(objective, network(), examples(5))
    assert counted == objective.passes == (5, 5)
    assert MART().passes == (12, 12)


@pytest.mark.parametrize(("mode", "updates"), [("eval", 2), ("train", 5)])
def test_batch_norm_is_updated_as_the_mode_says(mode, updates):
    model, data = network(norm=True), examples(8)
    step(MART(steps=3, attack_mode=mode), model, data.inputs(), data.labels)
    assert int(model[1].num_batches_tracked) == updates
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())


def test_one_example_soft_labels_and_any_batch_work():
    x, y = vectors()
    model, keys = plain(), Keys.of(1, range(6))
    whole = step(MART(steps=3), model, x, y, keys=keys)
    part = step(MART(steps=3), model, x[4:], y[4:], keys=keys[4:])
    assert torch.allclose(whole.x_adv[4:], part.x_adv, atol=1e-12)
    assert step(MART(), model, x[:1], y[:1]).loss.isfinite()
    soft = step(MART(steps=3), model, x, one_hot(y, 4).double(), keys=keys)
    torch.testing.assert_close(soft.loss, whole.loss)


def test_bad_hyperparameters_are_named():
    for change in ({"weight": -1.0}, {"steps": 0}, {"step_size": "x"}, {"start": "far"}):
        with pytest.raises(InputError, match=next(iter(change))):
            MART(**change)
