"""The library in one call: every form of model and data, on disk or not, no torch at import."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import holdfast
from holdfast.attacks import FGSM, PGD
from holdfast.benchmark.evaluate import evaluate as evaluate_both_sides
from holdfast.benchmark.protocol import Listed
from holdfast.core.errors import CaptureError, InputError, RunConflict
from holdfast.data.adapt import as_data
from holdfast.models import build_model, save_model
from holdfast.runs.directory import Run
from holdfast.threats import L2, Linf
from nets import examples, small_net

OPTIONS = {"attacks": "fgsm", "block": 8, "device": "cpu"}


def test_the_package_loads_neither_torch_nor_numpy():
    script = (
        "import sys, holdfast\n"
        "assert holdfast.__version__ and set(dir(holdfast)) >= {'evaluate', 'certify'}\n"
        "assert not {'torch', 'numpy'} & set(sys.modules), sys.modules\n"
        "assert callable(holdfast.certify)\n"
        "from holdfast.certify.graphs.graph import capture\n"
        "assert callable(holdfast.certify) and holdfast.certify.graphs.graph.capture is capture\n"
        "assert callable(holdfast.load) and callable(holdfast.train)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_evaluate_gives_what_the_room_gives():
    net = small_net()
    x, y = examples(19, net, wrong=3)
    found = holdfast.evaluate(net, (x, y), "linf:0.012", radii=[0.004], **OPTIONS)
    options = {"attacks": "fgsm", "radii": [0.004], "block": 8}
    expected = evaluate_both_sides(net, as_data((x, y)), Linf(0.012), **options)
    assert repr(found.ledger.rows()["outcome"]) == repr(expected.ledger.rows()["outcome"])
    assert found.result["settings"] == expected.result["settings"]
    assert "environment" not in found.result


@pytest.mark.parametrize("form", ["arrays", "dataset", "loader", "file"])
def test_data_may_come_in_any_form(form, tmp_path):
    net = small_net()
    x, y = examples(19, net, wrong=3)
    expected = holdfast.evaluate(net, (x, y), L2(0.05), **OPTIONS)
    dataset = torch.utils.data.TensorDataset(x, y)
    np.savez(tmp_path / "d.npz", x=x.numpy(), y=y.numpy())
    data = {
        "arrays": (x.numpy(), y.numpy()),
        "dataset": dataset,
        "loader": torch.utils.data.DataLoader(dataset, batch_size=4),
        "file": tmp_path / "d.npz",
    }[form]
    found = holdfast.evaluate(net, data, "l2:0.05", **OPTIONS)
    assert found.result["settings"]["data"] == expected.result["settings"]["data"]
    assert found.robust_accuracy == expected.robust_accuracy


def test_a_callable_is_evaluated_from_one_side():
    net = small_net()
    x, y = examples(11, net)
    with pytest.warns(UserWarning, match="nothing is certified"):
        found = holdfast.evaluate(lambda x: net(x), (x, y), "linf:0.01", **OPTIONS)
    assert found.certified_accuracy is None
    with pytest.warns(UserWarning, match="nothing"), pytest.raises(CaptureError, match="no graph"):
        holdfast.certify(lambda x: net(x), x, y, "linf:0.01", block=8)


def test_a_run_directory_is_written_and_resumed(tmp_path):
    net = small_net()
    pair = examples(19, net, wrong=3)
    found = holdfast.evaluate(net, pair, "linf:0.012", run=tmp_path / "r", **OPTIONS)
    run = Run.open(tmp_path / "r")
    result = run.read_result()
    assert result["robust_accuracy"] == found.robust_accuracy
    assert result["environment"]["torch"] == torch.__version__
    assert run.report_file.is_file()
    assert len(run.read_examples()["index"]) == 19
    with pytest.raises(RunConflict, match="--resume"):
        holdfast.evaluate(net, pair, "linf:0.012", run=run.path, **OPTIONS)
    again = holdfast.evaluate(net, pair, "linf:0.012", run=run.path, resume=True, **OPTIONS)
    assert again.robust_accuracy == found.robust_accuracy
    with pytest.raises(RunConflict, match="threat"):
        holdfast.evaluate(net, pair, "linf:0.013", run=run.path, resume=True, **OPTIONS)


def test_bad_input_leaves_no_directory(tmp_path):
    net = small_net()
    x, y = examples(9, net)
    spoilt = torch.nn.Sequential(net, torch.nn.Threshold(1e9, float("nan")))
    with pytest.raises(InputError, match="repair the model"):
        holdfast.evaluate(spoilt, (x, y), "linf:0.01", bounds=(), run=tmp_path / "r", **OPTIONS)
    with pytest.raises(InputError, match="has no run to go on with"):
        holdfast.evaluate(net, (x, y), "linf:0.01", resume=True, **OPTIONS)
    assert not (tmp_path / "r").exists()


def test_probabilities_are_evaluated_under_a_severe_flag():
    net = small_net()
    model = torch.nn.Sequential(net, torch.nn.Softmax(dim=1))
    found = holdfast.evaluate(model, examples(9, net), "linf:0.01", bounds=(), **OPTIONS)
    assert ("probabilities", "severe") in {(f["code"], f["severity"]) for f in found.flags}


def test_a_protocol_is_named_given_or_replaced_by_a_list():
    net = small_net()
    pair, options = examples(9, net, wrong=2), {"bounds": (), "block": 8, "device": "cpu"}
    own = Listed((("once", FGSM()), ("twice", PGD(steps=3, restarts=1))), "own", "own/7")
    found = holdfast.evaluate(net, pair, "linf:0.012", protocol=own, **options)
    assert found.result["protocol"]["version"] == "own/7"
    assert [row["name"] for row in found.result["attacks"]] == ["once", "twice"]
    named = holdfast.evaluate(net, pair, "linf:0.012", protocol="apgd-t-3-20", **options)
    assert named.result["protocol"]["name"] == "apgd-t-3-20"
    listed = holdfast.evaluate(net, pair, "linf:0.012", attacks="fgsm", **options)
    assert listed.result["protocol"] is None
    with pytest.raises(InputError, match="beside a protocol"):
        holdfast.evaluate(net, pair, "linf:0.012", protocol="fast", attacks="fgsm")
    with pytest.raises(InputError, match="did you mean 'standard'"):
        holdfast.evaluate(net, pair, "linf:0.012", protocol="standrd")


@pytest.mark.slow
def test_without_a_protocol_and_attacks_it_is_the_fast_one():
    net = small_net()
    found = holdfast.evaluate(net, examples(9, net), "linf:0.012", block=8, device="cpu")
    assert found.result["protocol"]["name"] == "fast"


def test_a_recipe_with_an_unknown_protocol_is_not_trained(tmp_path):
    overrides = {"evaluation.attacks": [], "evaluation.protocol": "fats"}
    with pytest.raises(InputError, match="did you mean 'fast'"):
        holdfast.train("digits-standard", overrides=overrides, run=tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_attack_returns_examples_in_the_threat():
    net = small_net()
    x, y = examples(13, net)
    result = holdfast.attack(net, x.numpy(), y.numpy(), "linf:0.02", "pgd-5-2")
    assert bool(Linf(0.02).contains(result.x_adv, x).all())
    with torch.no_grad():
        wrong = net(result.x_adv).argmax(1) != y
    assert torch.equal(wrong, result.success)
    again = holdfast.attack(net, x[4:9], y[4:9], "linf:0.02", "pgd-5-2")
    assert torch.equal(again.x_adv, result.x_adv[4:9])
    with pytest.raises(InputError, match="names 2 attacks"):
        holdfast.attack(net, x, y, "linf:0.02", "fgsm,pgd-5-2")


def test_certify_takes_a_pair_or_data():
    net = small_net()
    x, y = examples(13, net)
    one = holdfast.certify(net, x, y, "linf:0.001", block=8)
    other = holdfast.certify(net, (x, y), threat="linf:0.001", block=8)
    assert one.certified_accuracy == other.certified_accuracy > 0
    assert one.result["certified_by"] == ["auto"]
    alone = holdfast.certify(net, x, y, "linf:0.001", method="interval", block=8)
    assert alone.result["attacks"] == []
    assert alone.certified_accuracy <= one.certified_accuracy
    with pytest.raises(InputError, match="threat=None"):
        holdfast.certify(net, x, y)


@pytest.mark.slow
def test_certified_radii_take_a_pair_or_data_and_agree_with_certify(tmp_path):
    net = small_net()
    x, y = examples(13, net)
    one = holdfast.certified_radii(net, x, y, "linf:0.1", run=tmp_path / "run")
    other = holdfast.certified_radii(net, (x, y), threat="linf:0.1")
    assert torch.equal(one.radius, other.radius)
    assert Run.open(tmp_path / "run").read_result()["mean_radius"] == float(one.radius.mean())
    radius = float(one.radius.median())
    found = holdfast.certify(net, x, y, f"linf:{radius}", method="crown")
    assert found.certified_accuracy == one.accuracy(radius)
    with pytest.raises(InputError, match="threat=None"):
        holdfast.certified_radii(net, x, y)


def test_train_keeps_a_run_from_which_the_model_is_loaded(tmp_path):
    overrides = {"training.epochs": 1, "data.limit": 200, "data.validation": 40}
    run = tmp_path / "r"
    result = holdfast.train("digits-standard", overrides=overrides, run=run, device="cpu")
    loaded = holdfast.load(run)
    x = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded(x), result.model(x))
    record = Run.open(run).read_result()
    assert record["recipe"] == "digits-standard"
    found = holdfast.evaluate(run, "digits", "linf:0.1", limit=9, run=tmp_path / "e", **OPTIONS)
    assert found.result["model"] == "digits-standard"
    assert found.result["trained_in"] == "../r"


def test_load_reads_a_file_and_refuses_a_folder(tmp_path):
    model = build_model("digits_conv", seed=4).eval()
    save_model(tmp_path / "m.safetensors", model)
    x = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(holdfast.load(tmp_path / "m.safetensors")(x), model(x))
    with pytest.raises(InputError, match="is not a run directory"):
        holdfast.load(tmp_path)
