import pytest
import torch
from torch import nn

from holdfast.attacks import FGSM
from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.schedules import Constant
from holdfast.threats import Linf
from holdfast.training.objectives import PGDAT, Standard
from holdfast.training.objectives.fgsm_dropout import FGSMDropout, dropout
from training.objectives.test_grad_align import calls_of
from training.tiny import examples, network, weights

THREAT = Linf(0.1)


def at_rate(rate, objective=None):
    return FGSMDropout(objective=objective or Standard(), rate=Constant(value=rate))


def run(objective, model, data, **more):
    keys = Keys.of(2, data.index)
    args = (model, data.inputs(), data.labels, THREAT)
    return objective.loss(*args, **({"progress": 0.1, "keys": keys} | more))


def test_at_rate_zero_it_is_the_objective_itself():
    data = examples(6)
    plain = PGDAT(attack=FGSM())
    for progress in (0.5, 1.0):  # the published decay has ended
        found = run(FGSMDropout(), network(), data, progress=progress)
        want = run(plain, network(), data)
        assert torch.equal(found.loss, want.loss)
        assert torch.equal(found.x_adv, want.x_adv)
    early = run(FGSMDropout(), network(), data, progress=0.1)
    assert not torch.equal(early.loss, want.loss)
    assert not torch.equal(early.x_adv, want.x_adv)  # the attack sees dropout too


def test_the_rate_falls_over_training():
    rates = [FGSMDropout().rate(progress) for progress in (0.0, 0.25, 0.5, 0.9)]
    assert rates == pytest.approx([0.8, 0.4, 0.0, 0.0])


@pytest.mark.parametrize("shape", [(300,), (40, 5, 6)])
def test_masks_have_the_rate_and_keep_the_mean(shape):
    layer, keys = nn.ReLU(), Keys.of(0, range(50))
    x = torch.ones(50, *shape)
    with dropout(layer, 0.3, keys):
        first, second = layer(x), layer(x)
    units = first[:, :, 0, 0] if len(shape) == 3 else first
    assert torch.equal(first, units.view(50, *units.shape[1:], *[1] * (len(shape) - 1)) * x)
    assert torch.allclose(units[units > 0], torch.tensor(1 / 0.7))
    # 2,000 or more fixed draws, five standard errors
    slack = 5 * (0.21 / units.numel()) ** 0.5
    assert (units == 0).float().mean().item() == pytest.approx(0.3, abs=slack)
    assert not torch.equal(first, second)
    assert not torch.equal(units[0], units[1])


def test_an_example_is_masked_alike_in_any_batch():
    layer, keys, x = nn.Sequential(nn.Tanh(), nn.Tanh()), Keys.of(0, range(7)), torch.ones(7, 20)
    with dropout(layer, 0.5, keys):
        whole = layer(x)
    turned = torch.tensor([4, 0, 6])
    with dropout(layer, 0.5, keys[turned]):
        assert torch.equal(layer(x[turned]), whole[turned])
    with dropout(layer, 0.5, keys):  # two copies of the batch: masks of their own
        both = layer(torch.cat([x, x]))
    assert torch.equal(both[:7], whole)
    assert not torch.equal(both[7:], whole)


def test_outside_training_mode_nothing_is_dropped():
    layer, x = nn.ReLU().eval(), torch.ones(3, 5)
    with dropout(layer, 0.9, Keys.of(0, range(3))):
        assert torch.equal(layer(x), x)


def test_nothing_of_the_network_is_changed():
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, x):
            self.relu(x)
            raise RuntimeError("broken")

    data = examples(5)
    for model in (network(), Broken()):
        before = weights(model) if isinstance(model, nn.Sequential) else None
        if before is None:
            with pytest.raises(RuntimeError, match="broken"):
                run(at_rate(0.5), model, data)
        else:
            run(at_rate(0.5, PGDAT(attack=FGSM())), model, data)
            assert torch.equal(weights(model), before)
        assert not any(module._forward_hooks for module in model.modules())
        assert all(module.training for module in model.modules())


def test_no_global_random_number_is_drawn():
    model, before = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(40, 3)), torch.get_rng_state()
    run(at_rate(0.5), model, examples(5))
    assert torch.equal(torch.get_rng_state(), before)


def test_declared_passes_are_the_counted_ones():
    objective = FGSMDropout()
    assert calls_of(objective, network(), examples(5)) == tuple(objective.passes) == (2, 2)
    assert objective.replays == 1


def test_what_cannot_be_done_is_refused():
    data = examples(5)
    with pytest.raises(InputError, match="no activation module"):
        run(at_rate(0.5), nn.Sequential(nn.Flatten(), nn.Linear(40, 3)), data)
    with pytest.raises(InputError, match=r"not in \[0, 1\)"):
        run(at_rate(1.0), network(), data)
    layer = nn.ReLU()
    with (
        dropout(layer, 0.5, Keys.of(0, range(3))),
        pytest.raises(InputError, match="an output of 5 rows"),
    ):
        layer(torch.ones(5, 2))
