"""The published protocols: components, budgets and order, written down apart from the code."""

import pytest
import torch

from holdfast.benchmark.protocol import Board, Protocol
from holdfast.benchmark.standard import AutoAttack, apgd_t_3_20, pgd_50_10, plus, rand
from holdfast.core.errors import UnsupportedThreat
from holdfast.core.ledger import Ledger
from holdfast.losses import DLR, CrossEntropy, Margin
from holdfast.threats import L0, L1, L2, Gaussian, Linf, Spatial


def steps(protocol, threat=None, classes=10):
    ledger = Ledger(torch.arange(3), torch.zeros(3))
    board = Board(ledger, threat or Linf(0.1), classes, {}, {})
    return {step.name: step.attack for step in protocol.steps(board)}


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.5)])
def test_standard_is_autoattack(threat):
    found = steps(AutoAttack(), threat)
    assert list(found) == ["apgd-ce", "apgd-t", "fab-t", "square"]
    ce, targeted, fab, square = found.values()
    assert (ce.steps, ce.restarts, ce.loss) == (100, 1, CrossEntropy(precise=False))
    assert (targeted.steps, targeted.most_targets, targeted.loss) == (100, 9, DLR())
    assert (fab.steps, fab.targeting, fab.most_targets, fab.restarts) == (100, "multi", 9, 1)
    assert (square.queries, square.restarts, square.p_init) == (5001, 1, 0.8)
    assert (square.schedule, square.rescale) == ("released", False)
    assert (square.update.positions, square.update.skip_noop) == ("released", False)


def test_l1_has_more_restarts_and_fewer_targets():
    found = steps(AutoAttack(), L1(12.0))
    assert (found["apgd-ce"].restarts, found["apgd-t"].most_targets) == (5, 5)
    assert found["apgd-ce"].widening == found["apgd-t"].widening == (3.0, 2.0, 1.0)
    for variant in (plus(), rand()):
        assert {a.widening for a in steps(variant, L1(12.0)).values() if hasattr(a, "eot")} == {
            (1.0,)
        }
    assert steps(plus(), L1(12.0))["apgd-t"].most_targets == 9


def test_plus_and_rand():
    found = steps(plus())
    assert list(found) == ["apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t"]
    assert [found[name].restarts for name in ("apgd-ce", "apgd-dlr", "fab")] == [5, 5, 5]
    found = steps(rand())
    assert [(a.eot, a.restarts) for a in found.values()] == [(20, 1), (20, 1)]


def test_quick_ones():
    (attack,) = steps(apgd_t_3_20()).values()
    assert (attack.steps, attack.most_targets, attack.loss) == (20, 3, DLR())
    (attack,) = steps(pgd_50_10()).values()
    assert (attack.steps, attack.restarts, attack.step_size) == (50, 10, "eps/4")


@pytest.mark.parametrize(("classes", "losses"), [(3, (Margin(), DLR())), (2, (Margin(), Margin()))])
def test_the_margin_stands_in_where_classes_are_few(classes, losses):
    targeted, untargeted = losses
    assert steps(AutoAttack(), classes=classes)["apgd-t"].loss == targeted
    assert steps(plus(), classes=classes)["apgd-dlr"].loss == untargeted


@pytest.mark.parametrize("protocol", [AutoAttack(), rand(), pgd_50_10(), apgd_t_3_20()])
def test_threats_that_are_no_balls_are_refused(protocol):
    for threat in (Spatial(rotation=30), L0(3), Linf(float("inf")), Gaussian(0.1)):
        with pytest.raises(UnsupportedThreat, match=r"linf:0\.1"):
            steps(protocol, threat)


def test_versions_name_what_was_run():
    for protocol in (AutoAttack(), plus(), rand(), apgd_t_3_20(), pgd_50_10()):
        assert isinstance(protocol, Protocol)
        assert protocol.version == f"{protocol.name}/1"
        assert not protocol.adaptive
