from dataclasses import replace

import pytest
import torch
from torch import nn

from holdfast.attacks import PGD
from holdfast.benchmark.verified_columns import VerifiedColumns, VerifiedRow
from holdfast.certify import Dual, Interval
from holdfast.core.errors import InputError
from holdfast.threats import L1, L2, Linf
from nets import examples, small_net

QUICK = VerifiedColumns(attack=PGD(steps=5, restarts=1, step_size="eps/4"), block=4)


def measured(eps=0.02, count=9, wrong=2, kind=Linf):
    net = small_net()
    x, y = examples(count, net, wrong=wrong)
    return QUICK.measure(net, x, y, kind(eps))


@pytest.mark.parametrize(("kind", "eps"), [(Linf, 0.02), (L2, 0.2), (L1, 0.6)])
def test_the_invariants_hold_on_every_example(kind, eps):
    row = measured(eps, kind=kind)
    assert row.breaches() == []
    figures = row.figures()
    assert figures["clean_error_rate"] == pytest.approx(2 / 9)
    assert figures["clean_error_rate"] <= figures["pgd_error_rate"]
    assert figures["pgd_error_rate"] <= figures["linear_error_rate"]
    assert figures["pgd_error_rate"] <= figures["interval_error_rate"]
    certified = 1 - figures["linear_error_rate"]
    assert figures["linear_radius"] == pytest.approx(eps * certified)
    assert figures["interval_radius"] == pytest.approx(eps * (1 - figures["interval_error_rate"]))
    assert figures["linear_radius"] <= figures["envelope_radius"]
    assert figures["envelope_radius"] <= eps * (1 - figures["clean_error_rate"]) + 1e-12


def test_some_are_certified_in_part():
    row = measured(0.02)
    assert row.linear.any()
    assert ((row.envelope > 0) & (row.envelope < 0.02)).any() or (~row.linear).sum() == 2
    wide = measured(0.2)
    assert ((wide.envelope > 0) & (wide.envelope < 0.2)).any()


def test_every_breach_is_named():
    yes, no = torch.tensor([True]), torch.tensor([False])
    eps, zero = torch.tensor([0.1]), torch.zeros(1)
    fine = VerifiedRow(eps, no, no, yes, no, eps)
    assert fine.breaches() == []
    worse = {
        "a misclassified example is not broken": {"misclassified": yes, "linear": no}
        | {"envelope": zero},
        "an example is broken and certified": {"broken": yes},
        "a misclassified example has a radius": {"misclassified": yes},
        "linear bounds and envelope differ at eps": {"envelope": zero},
        "a certified radius is above eps": {"envelope": 2 * eps},
    }
    for what, changes in worse.items():
        assert what in replace(fine, **changes).breaches()


@pytest.mark.slow
def test_examples_do_not_depend_on_their_batch():
    net = small_net()
    x, y = examples(5, net)
    columns = replace(QUICK, linear=Dual(schedule="plain"))
    whole = columns.measure(net, x, y, Linf(0.05))
    for row in range(5):
        alone = columns.measure(net, x[[row]], y[[row]], Linf(0.05))
        assert torch.equal(whole.envelope[[row]], alone.envelope)
        assert torch.equal(whole.broken[[row]], alone.broken)


def test_no_examples_are_refused():
    with pytest.raises(InputError, match="is empty"):
        QUICK.measure(nn.Linear(3, 2), torch.empty(0, 3), torch.empty(0).long(), Linf(0.1))


def test_intervals_certify_less_than_their_own_support():
    net = small_net()
    x, y = examples(4, net)
    hull = replace(QUICK, interval=Interval()).measure(net, x, y, L2(0.05))
    assert (hull.interval <= QUICK.measure(net, x, y, L2(0.05)).interval).all()
