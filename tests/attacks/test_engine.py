"""The engine: cost declared is cost counted, results do not depend on company, events tell all."""

import pytest
import torch
from torch import nn

from holdfast.attacks import FGSM, PGD, Finished
from holdfast.core.errors import InputError, OutOfMemory
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.results import Outcome
from holdfast.threats import L1, L2, Linf
from nets import examples, small_net

FIELDS = ("x_adv", "success", "margin", "size", "loss", "forwards", "backwards", "outcome")


def same(one, other, rows=slice(None)):
    for name in FIELDS:
        assert torch.equal(getattr(one, name)[rows], getattr(other, name)), name


def attack(x, y, net, *, block=4, in_flight=1, attack=None, threat=None, index=None, **options):
    attack = attack or PGD(steps=7, restarts=3)
    index = torch.arange(len(x)) if index is None else index
    frozen = FrozenModel(net, block=block, in_flight=in_flight)
    return attack.run(frozen, x, y, threat or Linf(0.02), keys=Keys.of(3, index), **options)


@pytest.mark.parametrize(
    "threat", [Linf(0.02), L2(0.15), L1(1.0), Linf(torch.linspace(0, 0.05, 11))]
)
def test_result_does_not_depend_on_neighbours_order_or_blocks_in_flight(threat):
    net = small_net()
    x, y = examples(11, net, wrong=2)
    whole = attack(x, y, net, threat=threat)
    assert 0 < int((whole.outcome == Outcome.BROKEN).sum()) < 9
    same(whole, attack(x, y, net, threat=threat, in_flight=3))
    rows = torch.tensor([7, 2, 10, 0])
    same(whole, attack(x[rows], y[rows], net, threat=threat.rows(rows), index=rows), rows)
    for i in range(3):
        one = torch.tensor([i])
        same(whole, attack(x[one], y[one], net, threat=threat.rows(one), index=one), one)


def test_restarts_run_in_parallel_give_the_sequential_answer():
    net = small_net()
    x, y = examples(9, net)
    alone = [
        attack(x[i : i + 1], y[i : i + 1], net, block=1, index=torch.tensor([i])) for i in range(9)
    ]
    crowded = attack(x, y, net, block=16)
    for i, result in enumerate(alone):
        assert torch.equal(result.success, crowded.success[i : i + 1])
        assert torch.equal(result.backwards, crowded.backwards[i : i + 1])
        assert torch.allclose(result.x_adv, crowded.x_adv[i : i + 1], atol=1e-5)


def test_declared_cost_is_counted_cost():
    net = small_net()
    x, y = examples(6, net)
    strong = attack(x, y, net, threat=Linf(0.0))
    assert strong.forwards.tolist() == [1 + 3 * 8] * 6
    assert strong.backwards.tolist() == [21] * 6
    weak = attack(x, y, net, threat=Linf(1.0))
    assert bool(weak.success.all())
    assert bool((weak.forwards <= 1 + 3 * 8 + 1).all())
    frozen = FrozenModel(net, block=4)
    result = PGD(steps=7, restarts=3).run(frozen, x, y, Linf(0.02), keys=Keys.of(3, range(6)))
    computed = frozen.passes.forwards + frozen.passes.padding
    assert int(result.forwards.sum()) + result.padding == computed


def test_rows_that_the_model_sees_have_one_shape():
    shapes = set()

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = small_net()

        def forward(self, x):
            shapes.add(len(x))
            return self.net(x)

    net = Watched()
    x, y = examples(7, net)
    shapes.clear()
    attack(x, y, net, block=4)
    assert shapes == {4}


def test_success_is_confirmed_on_a_fresh_pass():
    class Flickering(nn.Module):
        """Answers wrongly only where a gradient is wanted: no adversarial example is real."""

        def forward(self, x):
            logits = torch.stack([x.flatten(1).sum(1) + 5, 0 * x.flatten(1).sum(1)], dim=1)
            return -logits if x.requires_grad else logits

    x, y = torch.full((3, 4), 0.5), torch.zeros(3, dtype=torch.int64)
    result = attack(x, y, Flickering())
    assert not bool(result.success.any())
    assert set(result.outcome.tolist()) == {int(Outcome.UNDECIDED)}


def test_events_report_every_example_once_with_its_final_rows():
    net = small_net()
    x, y = examples(10, net, wrong=2)
    seen = {}

    def listen(event):
        if isinstance(event, Finished):
            for place, row in enumerate(event.rows.tolist()):
                assert row not in seen
                seen[row] = (event.result, place)

    result = attack(x, y, net, on_event=listen)
    assert sorted(seen) == list(range(10))
    for row, (part, place) in seen.items():
        for name in FIELDS:
            assert torch.equal(getattr(part, name)[place], getattr(result, name)[row]), name


def test_memory_running_out_halves_the_blocks_in_flight_and_changes_nothing():
    net = small_net()
    x, y = examples(23, net)
    expected = attack(x, y, net, in_flight=4)

    class Tight(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.calls = net, 0

        def forward(self, x):
            self.calls += 1
            if self.calls in (9, 30):
                raise torch.OutOfMemoryError("out of memory")
            return self.net(x)

    same(expected, attack(x, y, Tight(), in_flight=4))
    with pytest.raises(OutOfMemory, match="--block"):
        attack(x, y, Tight(), in_flight=1)


def test_warm_start_is_used_and_projected():
    net = small_net()
    x, y = examples(8, net)
    found = attack(x, y, net, threat=Linf(0.5))
    weak = FGSM(step_size=1e-12)
    cold = attack(x, y, net, attack=weak, threat=Linf(0.5))
    warm = attack(x, y, net, attack=weak, threat=Linf(0.5), start=found.x_adv)
    assert not bool(cold.success.any())
    assert bool(warm.success[found.success].all())
    tight = attack(x, y, net, attack=weak, threat=Linf(0.01), start=found.x_adv)
    assert bool((tight.size <= 0.01 + 1e-6).all())


def test_best_iterate_is_never_worse_than_clean_or_any_seen():
    net = small_net()
    x, y = examples(8, net)
    with torch.no_grad():
        logits = net(x)
    clean = logits.gather(1, y[:, None])[:, 0] - logits.scatter(1, y[:, None], -1e9).amax(1)
    result = attack(x, y, net, attack=PGD(steps=4, restarts=2, step_size=0.5), threat=Linf(0.05))
    assert bool((result.margin <= clean + 1e-6).all())


def test_nan_gradients_do_not_move_the_point():
    class Kinked(nn.Module):
        def forward(self, x):
            s = x.flatten(1).sum(1)
            return torch.stack([s + 1 + torch.sqrt(0 * s), s * 0], dim=1)

    x, y = torch.full((2, 3), 0.5), torch.zeros(2, dtype=torch.int64)
    result = attack(x, y, Kinked())
    assert bool(result.x_adv.isfinite().all())


def test_a_success_that_does_not_hold_reopens_the_search():
    """Every third answer to a forward-only call is inverted: claims fail, later runs find truth."""
    net = small_net()
    x, y = examples(12, net)

    class Doubtful(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.calls = net, 0

        def forward(self, x):
            logits = self.net(x)
            self.calls += not torch.is_grad_enabled()
            wrong = not torch.is_grad_enabled() and self.calls % 3 == 0
            return -logits if wrong else logits

    result = attack(x, y, Doubtful(), threat=Linf(0.05), attack=PGD(steps=5, restarts=4))
    with torch.no_grad():
        wrong = net(result.x_adv).argmax(1) != y
    assert bool(wrong[result.success & (result.outcome == Outcome.BROKEN)].any())
    standing = result.outcome == Outcome.UNDECIDED
    assert bool((result.margin[standing] > 0).all())
    assert bool((result.backwards[standing] == 20).all())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_start_that_is_no_point_is_refused(bad):
    net = small_net()
    x, y = examples(3, net)
    with pytest.raises(InputError, match="start"):
        attack(x, y, net, start=torch.full_like(x, bad))
    with pytest.raises(InputError, match="start"):
        attack(x, y, net, start=x[:2])


def test_a_model_that_works_in_place_is_attacked_and_inputs_stay():
    net = small_net()
    x, y = examples(5, net)
    kept = x.clone()
    plain = attack(x, y, net)
    same(plain, attack(x, y, lambda z: net(z.sub_(0.0).mul_(1.0))))
    assert torch.equal(x, kept)


def test_the_loss_too_is_independent_of_blocks_in_flight_at_many_rows():
    net = small_net()
    x, y = examples(70, net)
    same(attack(x, y, net, block=16), attack(x, y, net, block=16, in_flight=3))
