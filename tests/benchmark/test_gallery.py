"""The gallery: which examples, in which order, with what the model says of them."""

import torch
from safetensors.torch import load_file

from holdfast.benchmark.evaluate import evaluate
from holdfast.benchmark.gallery import FILE, chosen, write_gallery
from holdfast.core.ledger import Ledger
from holdfast.core.results import Outcome
from holdfast.data.adapt import as_data
from holdfast.runs.directory import Run
from holdfast.threats import Linf
from nets import examples, small_net

COLUMNS = {
    "clean",
    "adversarial",
    "label",
    "prediction",
    "adversarial_prediction",
    "confidence",
    "adversarial_confidence",
    "size",
    "index",
}


def ledger_of(labels, broken, index=None):
    count = len(labels)
    index = torch.arange(count) if index is None else torch.tensor(index)
    ledger = Ledger(index, torch.tensor(labels))
    ledger.outcome[torch.tensor(broken)] = int(Outcome.BROKEN)
    return ledger


def test_the_first_of_every_class_comes_before_the_rest():
    ledger = ledger_of([0, 0, 0, 0, 1, 2, 0], [0, 1, 2, 4, 5, 6])
    assert chosen(ledger, 3).tolist() == [0, 4, 5]
    assert chosen(ledger, 4).tolist() == [0, 1, 4, 5]
    assert chosen(ledger, 99).tolist() == [0, 1, 2, 4, 5, 6]


def test_the_order_is_that_of_the_indices():
    ledger = ledger_of([0, 0, 1], [0, 1, 2], index=[9, 4, 7])
    assert chosen(ledger, 2).tolist() == [1, 2]
    assert chosen(ledger, 3).tolist() == [1, 2, 0]


def test_what_is_written_can_be_checked_against_the_model(tmp_path):
    net = small_net()
    data = as_data(examples(29, net, wrong=4))
    found = evaluate(net, data, Linf(0.2), attacks="fgsm", bounds=(), block=8)
    run = Run.create("evaluate", "net", "t", path=tmp_path / "r")
    shown = write_gallery(run, net, data, found.ledger, count=5)
    rows = load_file(run.path / FILE)
    assert set(rows) == COLUMNS
    assert rows["index"].tolist() == shown == sorted(shown)
    assert len(shown) == 5
    assert torch.equal(rows["clean"], data.inputs(rows["index"]))
    with torch.no_grad():
        before, after = net(rows["clean"]), net(rows["adversarial"])
    assert torch.equal(rows["prediction"], before.argmax(1))
    assert torch.equal(rows["prediction"], rows["label"])
    assert torch.equal(rows["adversarial_prediction"], after.argmax(1))
    assert bool((rows["adversarial_prediction"] != rows["label"]).all())
    assert torch.allclose(rows["adversarial_confidence"], after.softmax(1).amax(1), atol=1e-5)
    change = (rows["adversarial"] - rows["clean"]).abs().flatten(1).amax(1)
    assert torch.allclose(rows["size"], change, atol=1e-6)


def test_nothing_is_written_where_nothing_broke(tmp_path):
    net = small_net()
    data = as_data(examples(6, net))
    found = evaluate(net, data, Linf(1e-6), attacks="fgsm", bounds=(), block=8)
    run = Run.create("evaluate", "net", "t", path=tmp_path / "r")
    assert write_gallery(run, net, data, found.ledger) == []
    assert not (run.path / FILE).exists()
