"""The stages of an evaluation: their order, warm starts between steps, and blocks that fit."""

from dataclasses import dataclass

import pytest
import torch

from holdfast.attacks import FGSM, PGD
from holdfast.benchmark.evaluate import evaluate
from holdfast.benchmark.protocol import Listed, Step
from holdfast.core.errors import InputError
from holdfast.core.results import Outcome
from holdfast.data.adapt import as_data
from holdfast.runs.directory import Run
from holdfast.runs.executors import Shard
from holdfast.threats import Linf
from nets import examples, small_net


@dataclass(frozen=True)
class Two:
    """Weak steps on the three closest, then one more from where they ended."""

    name: str = "two"
    version: str = "two/1"
    adaptive: bool = True

    def steps(self, board):
        closest = board.closest(3)
        weak = PGD(steps=2, restarts=1, start="clean", step_size=0.002)
        yield Step("first", weak, closest)
        yield Step("second", weak, closest, start="first")


def data(count=13, wrong=2):
    net = small_net()
    return net, as_data(examples(count, net, wrong=wrong))


def test_steps_see_those_they_name_and_start_where_others_ended():
    net, examples_ = data()
    protocol = Two()
    found = evaluate(net, examples_, Linf(0.003), protocol=protocol, bounds=(), block=4)
    rows = found.result["attacks"]
    assert [row["name"] for row in rows] == ["first", "second"]
    assert [row["examples"] for row in rows] == [3, 3 - rows[0]["broken"]]
    seen = found.ledger.x_adv[~found.ledger.x_adv.flatten(1).isnan().any(1)]
    assert len(seen) == 3


@pytest.mark.slow
def test_a_second_step_goes_further_than_the_first():
    net, examples_ = data(wrong=0)
    one = Listed((("first", PGD(steps=2, restarts=1, start="clean", step_size=0.002)),))
    alone = evaluate(net, examples_, Linf(0.02), protocol=one, bounds=(), block=4)
    both = evaluate(net, examples_, Linf(0.02), protocol=Two(), bounds=(), block=4)
    touched = ~both.ledger.x_adv.flatten(1).isnan().any(1)
    standing = touched & (both.ledger.outcome == Outcome.UNDECIDED)
    standing &= alone.ledger.outcome == Outcome.UNDECIDED
    assert bool((both.ledger.margin[standing] < alone.ledger.margin[standing]).all())
    assert bool((both.ledger.size[standing] > 0.004).all())


@pytest.mark.parametrize("radius", [1e-4, 0.05])
def test_certificates_come_first_only_where_they_save(radius):
    net, examples_ = data()
    found = evaluate(net, examples_, Linf(radius), attacks="pgd-5-3", block=4)
    order = [row["stage"].partition("@")[0] for row in found.result["stages"]]
    cheap = found.certified_accuracy > 0
    assert order == (
        ["clean", "checks", "interval", "pgd-5-3"]
        if cheap
        else ["clean", "checks", "pgd-5-3", "interval"]
    )
    assert cheap == (radius < 1e-3)


@pytest.mark.slow
def test_the_order_changes_no_outcome():
    net, examples_ = data(29, 3)
    both = evaluate(net, examples_, Linf(0.004), attacks="fgsm,pgd-5-3", block=4)
    attacked = evaluate(net, examples_, Linf(0.004), attacks="fgsm,pgd-5-3", bounds=(), block=4)
    broken = both.ledger.outcome == Outcome.BROKEN
    assert torch.equal(broken, attacked.ledger.outcome == Outcome.BROKEN)
    assert both.certified_accuracy > 0


@pytest.mark.slow
def test_an_adaptive_run_resumes_to_the_same_bits(tmp_path):
    net, examples_ = data()
    whole = evaluate(net, examples_, Linf(0.02), protocol=Two(), bounds=(), block=4)

    class CutOff(Exception):
        pass

    for cut in (3, 5, 7):
        run = Run.create("evaluate", "net", "toy", root=tmp_path)
        left = cut

        def stop(event):
            nonlocal left
            left -= 1
            if left == 0:
                raise CutOff

        options = {"protocol": Two(), "bounds": (), "block": 4, "run": run}
        with pytest.raises(CutOff):
            evaluate(net, examples_, Linf(0.02), on_event=stop, **options)
        again = evaluate(net, examples_, Linf(0.02), **options)
        assert torch.equal(again.ledger.margin, whole.ledger.margin), cut
        assert torch.equal(again.ledger.outcome, whole.ledger.outcome), cut


def test_an_attack_of_ones_own_joins_in():
    net, examples_ = data()

    class Mine:
        def run(self, model, x, y, threat, **options):
            return FGSM().run(model, x, y, threat, **options)

    protocol = Listed((("mine", Mine()), ("pgd-5-1", PGD(steps=5, restarts=1))))
    found = evaluate(net, examples_, Linf(0.02), protocol=protocol, bounds=(), block=4)
    assert [row["name"] for row in found.result["attacks"]] == ["mine", "pgd-5-1"]
    assert found.result["attacks"][0]["broken"] > 0


def test_two_steps_of_one_name_are_refused_and_processes_share_a_run():
    net, examples_ = data()
    protocol = Listed((("a", FGSM()), ("a", PGD(steps=5, restarts=1))))
    with pytest.raises(InputError, match="names two steps"):
        evaluate(net, examples_, Linf(0.02), protocol=protocol, bounds=(), block=4)
    with pytest.raises(InputError, match="several processes"):
        evaluate(
            net, examples_, Linf(0.02), attacks="fgsm", bounds=(), shard=Shard(rank=0, world=2)
        )


def test_notes_speak_of_the_threat_itself():
    net, examples_ = data()

    @dataclass(frozen=True)
    class Noting(Two):
        def steps(self, board):
            board.notes["radius"] = board.threat.radius
            yield from super().steps(board)

    found = evaluate(
        net, examples_, Linf(0.003), protocol=Noting(), radii=[0.001, 0.01], bounds=(), block=4
    )
    assert [row["name"] for row in found.result["attacks"]] == ["first", "second"]
    assert found.result["radii"][-1]["radius"] == 0.01
