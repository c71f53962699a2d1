"""The evaluation: accuracies from rows, the same bits for any batch size, shard or resume."""

import copy
import warnings

import pytest
import torch
from torch import nn

from holdfast.attacks import PGD
from holdfast.benchmark.evaluate import evaluate
from holdfast.core.confidence import clopper_pearson
from holdfast.core.errors import InputError, RunConflict
from holdfast.core.results import Outcome
from holdfast.data.adapt import as_data
from holdfast.runs.directory import Run
from holdfast.runs.executors import Shard
from holdfast.threats import Linf
from nets import examples, small_net

VOLATILE = ("seconds", "padding", "stages")


def problem(count=29, wrong=4):
    net = small_net()
    x, y = examples(count, net, wrong=wrong)
    return net, as_data((x, y))


def answer(net, data, **options):
    settings = {"attacks": "fgsm,pgd-5-3", "radii": [0.004, 0.03], "block": 8} | options
    return evaluate(net, data, Linf(0.012), **settings)


def stable(evaluation):
    """The result without what may differ between equal evaluations: times and padding."""
    result = copy.deepcopy(evaluation.result)
    for key in VOLATILE:
        result.pop(key)
    for row in result["attacks"]:
        row.pop("seconds")
    rows = evaluation.ledger.rows()
    rows.pop("seconds")
    return result, repr(rows)


def test_accuracies_are_fractions_of_all_examples_with_their_intervals():
    net, data = problem()
    found = answer(net, data)
    outcome = found.ledger.outcome
    count = {o: int((outcome == o).sum()) for o in Outcome}
    assert sum(count.values()) == 29
    assert count[Outcome.MISCLASSIFIED] == 4
    assert found.clean_accuracy == 25 / 29
    assert found.robust_accuracy == (25 - count[Outcome.BROKEN]) / 29
    assert found.certified_accuracy == count[Outcome.CERTIFIED] / 29
    assert 0 < found.certified_accuracy < found.robust_accuracy < found.clean_accuracy
    low, high = clopper_pearson(25, 29)
    assert found.result["clean_interval"] == [low, high]
    assert [a["name"] for a in found.result["attacks"]] == ["fgsm", "pgd-5-3"]
    assert found.result["attacks"][-1]["robust_accuracy"] == found.robust_accuracy
    checks = next(row for row in found.result["stages"] if row["stage"] == "checks")
    assert found.result["forwards"] == int(found.ledger.forwards.sum()) + checks["forwards"]
    assert found.result["attacks"][0]["examples"] <= 25
    assert sum(a["broken"] for a in found.result["attacks"]) == count[Outcome.BROKEN]


def test_per_class_table_adds_up():
    net, data = problem()
    found = answer(net, data)
    table = found.result["per_class"]
    assert sum(row["examples"] for row in table) == 29
    assert sum(row["robust"] for row in table) == round(found.robust_accuracy * 29)
    assert sum(row["certified"] for row in table) == round(found.certified_accuracy * 29)


@pytest.mark.parametrize("batch_size", [1, 7, 256])
@pytest.mark.slow
def test_batch_size_changes_no_bit(batch_size):
    net, data = problem()
    assert stable(answer(net, data, batch_size=batch_size)) == stable(answer(net, data))


@pytest.mark.slow
def test_two_shards_in_any_order_give_the_whole(tmp_path):
    net, data = problem(count=70)
    whole = answer(net, data)
    run = Run.create("evaluate", "net", "toy", root=tmp_path)
    # One after the other: rank 1 first; rank 0 then finds its rows and adds its own.
    answer(net, data, run=run, shard=Shard(rank=1, world=2))
    both = answer(net, data, run=run, shard=Shard(rank=0, world=2))
    assert stable(both) == stable(whole)


@pytest.mark.slow
def test_a_run_that_was_cut_off_anywhere_resumes_to_the_same_bits(tmp_path):
    net, data = problem()
    whole = stable(answer(net, data))

    class CutOff(Exception):
        pass

    for cut in (2, 9, 25):
        run = Run.create("evaluate", "net", "toy", root=tmp_path)
        left = cut

        def stop(event):
            nonlocal left
            left -= 1
            if left == 0:
                raise CutOff

        with pytest.raises(CutOff):
            answer(net, data, run=run, on_event=stop)
        assert not run.finished
        assert stable(answer(net, data, run=run)) == whole, cut


@pytest.mark.slow
def test_resume_with_other_settings_is_refused_and_names_the_first(tmp_path):
    net, data = problem()
    run = Run.create("evaluate", "net", "toy", root=tmp_path)
    answer(net, data, run=run)
    with pytest.raises(RunConflict, match="seed"):
        answer(net, data, run=run, seed=1)
    with pytest.raises(RunConflict, match="model"):
        answer(small_net(9), data, run=run)


@pytest.mark.slow
def test_every_further_radius_is_attacked_and_points_are_monotone():
    net, data = problem()
    found = answer(net, data, radii=[0.001, 0.004, 0.03, 0.06])
    radii = [p["radius"] for p in found.result["radii"]]
    assert radii == [0.0, 0.001, 0.004, 0.012, 0.03, 0.06]
    robust = [p["robust_accuracy"] for p in found.result["radii"]]
    assert robust == sorted(robust, reverse=True)
    assert robust[0] == found.clean_accuracy
    assert robust[3] == found.robust_accuracy
    stages = [s["stage"] for s in found.result["stages"]]
    for radius in ("0.001", "0.004", "0.03", "0.06"):
        assert f"pgd-5-3@linf:{radius}" in stages


@pytest.mark.slow
def test_a_model_without_graph_warns_and_reports_null():
    net, data = problem()
    odd = nn.Sequential(net, nn.Sigmoid(), nn.Hardshrink(), nn.Unflatten(1, (5, 1)), nn.Flatten())
    with pytest.warns(UserWarning, match="nothing is certified"):
        found = answer(odd, data)
    assert found.certified_accuracy is None
    assert found.result["certified_interval"] is None
    assert any("nothing is certified" in text for text in found.result["warnings"])


@pytest.mark.slow
def test_a_plain_function_is_evaluated_from_one_side():
    net, data = problem()
    with pytest.warns(UserWarning, match="nothing is certified"):
        found = answer(lambda x: net(x), data)
    assert found.certified_accuracy is None
    assert found.clean_accuracy == 25 / 29


def test_no_attacks_and_no_bounds():
    net, data = problem()
    found = answer(net, data, attacks="", bounds=(), radii=())
    assert found.robust_accuracy == found.clean_accuracy == 25 / 29
    assert found.certified_accuracy is None


@pytest.mark.slow
def test_attack_objects_and_stronger_attacks_only_lower_the_number():
    net, data = problem()
    weak = answer(net, data, attacks=[PGD(steps=1, restarts=1)], radii=())
    strong = answer(net, data, attacks=[PGD(steps=1, restarts=1), PGD(steps=20, restarts=3)])
    assert strong.robust_accuracy <= weak.robust_accuracy


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda z: z * float("nan"), "NaN"),
        (lambda z: z[:, :1], "shape"),
        (lambda z: z.argmax(1), "shape"),
        (lambda z: z[:, :3], "class"),
    ],
)
def test_outputs_that_are_no_logits(spoil, word):
    net, data = problem()
    with pytest.raises(InputError, match=word):
        answer(lambda x: spoil(net(x)), data, bounds=())


@pytest.mark.slow
def test_what_speaks_against_the_answer_is_flagged():
    net, data = problem()
    noisy = nn.Sequential(net)
    noisy.forward = lambda x: net(x) + 1e-1 * torch.randn(len(x), 5)
    found = answer(noisy, data, bounds=(), radii=())
    assert "randomised" in [flag["code"] for flag in found.flags]
    assert found.result["flags"] == found.flags
    found = answer(lambda x: net(x) - net(x)[:1] * 0.01, data, bounds=(), radii=())
    assert "neighbours" in [flag["code"] for flag in found.flags]
    found = answer(lambda x: torch.softmax(net(x), dim=1), data, bounds=(), radii=())
    assert "probabilities" in [flag["code"] for flag in found.flags]
    assert "severe: the model's outputs" in found.table()
    assert answer(net, data).flags == []


def test_close_calls_are_listed():
    model = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 3.0]]))
    x = torch.tensor([[0.5, 0.5 - 2e-6], [0.9, 0.1]])
    found = evaluate(model, as_data((x, torch.tensor([0, 0]))), Linf(0.0), attacks="fgsm", block=2)
    assert found.result["close_calls"] == [0]


def test_events_end_with_everything_done():
    net, data = problem()
    events = []
    found = answer(net, data, on_event=events.append)
    assert events[0].stage == "clean"
    assert events[0].done == 0
    assert events[-1].done == events[-1].total
    at_main = [e for e in events if e.stage == "pgd-5-3@linf:0.012"]
    assert at_main[-1].robust == pytest.approx(found.robust_accuracy)


def test_written_run_reads_back(tmp_path):
    net, data = problem()
    run = Run.create("evaluate", "net", "toy", root=tmp_path)
    found = answer(net, data, run=run)
    found.write(run)
    assert run.read_result()["robust_accuracy"] == found.robust_accuracy
    rows = run.read_examples()
    assert rows["outcome"].tolist().count("broken") == found.ledger.count(Outcome.BROKEN)


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"block": 0}, {"radii": [-1.0]}])
def test_bad_arguments(options):
    net, data = problem()
    with warnings.catch_warnings(), pytest.raises(InputError, match=next(iter(options))):
        answer(net, data, **options)
