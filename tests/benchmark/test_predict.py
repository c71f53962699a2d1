"""Predictions are upper bounds on what an evaluation really takes."""

import math
from dataclasses import fields, replace

import pytest
import torch

from holdfast.attacks import FGSM, PGD
from holdfast.attacks.apgd import APGD, apgd_t
from holdfast.attacks.catalogue import ATTACKS
from holdfast.attacks.deepfool import DeepFool
from holdfast.attacks.fab import FAB
from holdfast.attacks.jsma import JSMA
from holdfast.attacks.pointwise import Pointwise
from holdfast.attacks.spatial import SpatialGrid
from holdfast.attacks.spsa import SPSA
from holdfast.attacks.square import Square
from holdfast.attacks.text import as_attacks
from holdfast.attacks.transfer import Transfer
from holdfast.attacks.universal import Universal
from holdfast.benchmark.evaluate import evaluate
from holdfast.benchmark.fast import Fast
from holdfast.benchmark.predict import cost, predict
from holdfast.benchmark.protocol import Listed, Step
from holdfast.core.errors import InputError, UnsupportedThreat
from holdfast.core.frozen import FrozenModel
from holdfast.data.adapt import as_data
from holdfast.losses.margin import Margin
from holdfast.threats import L1, L2, Linf
from holdfast.threats.l0 import L0
from holdfast.threats.spatial import Spatial
from nets import examples, small_net


def listed(names):
    return Listed(tuple(as_attacks(names).items()))


@pytest.mark.parametrize("radius", [0.0005, 0.02])
def test_an_evaluation_takes_no_more_than_was_predicted(radius):
    net = small_net()
    data = as_data(examples(29, net, wrong=4))
    names, radii = "fgsm,pgd-5-3", [radius / 2, radius * 2]
    found = evaluate(net, data, Linf(radius), attacks=names, radii=radii, block=8)
    options = {"protocol": listed(names), "bounds": ["interval"], "radii": radii, "block": 8}
    most = predict(net, data, Linf(radius), **options)
    assert found.result["forwards"] <= most.forwards
    assert found.result["backwards"] <= most.backwards
    assert most.examples == 29
    assert most.to_dict()["forwards"] == most.forwards


@pytest.mark.parametrize("radius", [0.0002, 0.004, 0.02])
def test_the_checks_take_no_more_than_was_predicted(radius):
    net = small_net()
    data = as_data(examples(37, net, wrong=4))
    found = evaluate(net, data, Linf(radius), attacks="", bounds=(), block=5)
    most = predict(net, data, Linf(radius), protocol=Listed(()), block=5)
    assert [stage.stage for stage in most.stages] == ["clean", "checks"]
    assert found.result["forwards"] <= most.forwards
    assert found.result["backwards"] <= most.backwards


def test_passes_are_counted_by_stage():
    net = small_net()
    data = as_data(examples(7, net))
    pgd = Listed((("pgd", PGD(steps=4, restarts=3)),))
    found = predict(net, data, Linf(0.1), protocol=pgd, block=5)
    stages = {stage.stage: (stage.forwards, stage.backwards) for stage in found.stages}
    assert list(stages) == ["clean", "checks", "pgd"]
    assert stages["clean"] == (7, 0)
    assert stages["pgd"] == (7 * (3 * 5 + 2), 7 * 12)


class Waves:
    """An adaptive protocol: a second wave on those that the first leaves, where any fell."""

    name, version, adaptive = "waves", "waves/1", True

    def steps(self, board):
        at = torch.arange(3)
        yield Step("first", PGD(steps=2, restarts=1), at)
        if board.fell(at):
            yield Step("second", PGD(steps=3, restarts=2), board.standing())
        else:
            yield Step("third", PGD(steps=4, restarts=1), at)


def test_an_adaptive_protocol_is_predicted_at_its_most():
    net = small_net()
    data = as_data(examples(7, net))
    found = predict(net, data, Linf(0.1), protocol=Waves(), block=5)
    stages = {stage.stage: stage.backwards for stage in found.stages}
    assert stages["first"] == 3 * 2
    assert stages["second"] == 7 * 6
    assert stages["third"] == 3 * 4


@pytest.mark.slow
@pytest.mark.parametrize("radius", [0.0005, 0.004, 0.02])
def test_the_fast_protocol_takes_no_more_than_was_predicted(radius):
    net = small_net()
    data = as_data(examples(67, net, wrong=4))
    found = evaluate(net, data, Linf(radius), protocol="fast", bounds=(), block=32)
    most = predict(net, data, Linf(radius), protocol=Fast(), block=32)
    assert found.result["forwards"] <= most.forwards
    assert found.result["backwards"] <= most.backwards


def test_costs_of_attacks():
    assert cost(FGSM(), 5) == (4, 1)
    assert cost(PGD(steps=4, restarts=2, targeting="multi"), 5) == (8 * 5 + 2, 32)
    assert cost(APGD(steps=4, eot=3), 5, Linf(0.1)) == (4 * 3 + 3, 12)
    assert cost(FAB(steps=4, targeting="multi", most_targets=2), 5) == (2 * 9 + 2, 8)
    assert cost(Square(queries=9, restarts=2), 5) == (2 * 9 + 2, 0)
    assert cost(SPSA(queries=9), 5) == (11, 0)
    assert cost(SpatialGrid(rotations=3, shifts=1), 5, Spatial(rotation=20)) == (4, 0)


class Own:
    """An attack that says what it takes at most."""

    def run(self, model, x, y, threat, **options):
        raise NotImplementedError

    def most(self, classes, threat):
        return 3 * classes, classes


def test_an_attack_of_ones_own_says_what_it_takes():
    assert cost(Own(), 5) == (15, 5)


TINY = {"steps": 3, "queries": 12, "population": 5, "generations": 2, "iterations": 4}
TINY |= {"binary_steps": 2, "samples": 4, "rotations": 3, "shifts": 3}
SLOW = ("transfer", "universal", "bayes", "dfo", "pointwise", "boundary", "hop-skip-jump")
NAMED = [each for each in ATTACKS if each not in SLOW]
OTHERS = {
    "apgd-eot": APGD(steps=3, restarts=2, eot=2, loss=Margin()),
    "apgd-multi": apgd_t(3, 2),
    "deepfool-few": DeepFool(steps=3, candidates=2),
    "fab-restarts": FAB(steps=3, restarts=2, most_classes=2),
    "fab-multi": FAB(steps=3, targeting="multi"),
    "jsma-classes": JSMA(steps=3, classes=2, most=1.0),
    "pgd-multi": PGD(steps=3, restarts=2, targeting="multi"),
    "pointwise": Pointwise(queries=12),
    "square-restarts": Square(queries=12, restarts=2),
    "transfer": Transfer(surrogate=small_net(seed=3), attack=PGD(steps=2, restarts=1)),
    "universal": Universal(delta=torch.full((1, 2, 7, 6), 0.01)),
}


def shortened(name):
    """An attack of the catalogue with small budgets."""
    attack = ATTACKS[name].load()()
    names = {each.name for each in fields(attack)}
    return replace(attack, **{key: value for key, value in TINY.items() if key in names})


@pytest.mark.parametrize("name", [*NAMED, *OTHERS])
@pytest.mark.slow
def test_no_attack_takes_more_than_its_cost(name):
    """Over threats of every norm, small and unbounded, from x and from a start that fools."""
    net = small_net()
    x, y = examples(5, net)
    attack = OTHERS[name] if name in OTHERS else shortened(name)
    frozen, ran = FrozenModel(net, block=3), 0
    infinite = [L2(math.inf), L1(math.inf), L0(math.inf)]
    threats: list = [Linf(0.002), Linf(0.05), L2(0.02), L1(0.1), L1(2.0), L0(3), *infinite]
    for threat in [Spatial(rotation=20, translation=2)] if "spatial" in name else threats:
        for start in (None, x.flip(0)):
            try:
                found = attack.run(frozen, x, y, threat, start=start)
            except (UnsupportedThreat, InputError):
                continue
            forwards, backwards = cost(attack, net(x).shape[1], threat)
            assert int(found.forwards.max()) <= forwards, (threat, start is None)
            assert int(found.backwards.max()) <= backwards, (threat, start is None)
            most = cost(attack, net(x).shape[1])
            assert forwards <= most[0]
            assert backwards <= most[1]
            ran += 1
    assert ran


def test_seconds_and_memory_are_positive_and_follow_the_passes():
    net = small_net()
    data = as_data(examples(7, net))
    found = predict(net, data, Linf(0.1), protocol=listed("pgd-4-3"), block=5)
    speed = found.forward_seconds, found.backward_seconds
    checks = {stage.stage: stage for stage in found.stages}["checks"]
    others = [stage for stage in found.stages if stage is not checks]
    timed = checks.forwards * speed[0] + checks.backwards * speed[1]
    for stage in others:
        timed += 10 / 7 * (stage.forwards * speed[0] + stage.backwards * speed[1])
    assert found.seconds == pytest.approx(timed)
    assert found.forward_seconds > 0
    assert found.memory > 2 * 4 * 7 * 84


def test_a_model_without_logits_is_refused():
    data = as_data(examples(7, small_net()))
    with pytest.raises(InputError, match="does not fit"):
        predict(lambda x: x, data, block=5)
