"""What is refused before an evaluation begins, and what its settings say of the model."""

import dataclasses

import pytest
import torch
from torch import nn

from holdfast.benchmark.admission import check_examples, outputs_digest
from holdfast.benchmark.evaluate import evaluate
from holdfast.core.errors import InputError, RunConflict
from holdfast.core.frozen import FrozenModel
from holdfast.data.adapt import as_data
from holdfast.runs.directory import Run
from holdfast.threats import Linf
from nets import examples, small_net


def data():
    return as_data(examples(9, small_net()))


def test_examples_outside_the_box_are_refused_whatever_runs():
    wide = dataclasses.replace(data(), images=data().images * 3 - 1)
    with pytest.raises(InputError, match="data"):
        evaluate(small_net(), wide, Linf(0.1), attacks="", block=4)
    check_examples(wide, Linf(0.1, box=None))
    with pytest.raises(InputError):
        check_examples(data(), Linf(0.1, box=(0.2, 0.8)))


def test_an_index_stands_once():
    twice = dataclasses.replace(data(), index=torch.arange(9) % 5)
    with pytest.raises(InputError, match="twice"):
        check_examples(twice, Linf(0.1))


class Signed(nn.Module):
    """The same weights, another answer."""

    def __init__(self, sign):
        super().__init__()
        self.net, self.sign = small_net(), sign

    def forward(self, x):
        return self.sign * self.net(x)


def test_the_digest_sees_code_and_attributes_and_randomness():
    plus, minus = (outputs_digest(FrozenModel(Signed(s), block=4), data()) for s in (1, -1))
    assert plus != minus
    assert plus == outputs_digest(FrozenModel(Signed(1), block=4), data())
    net = small_net()
    noisy = FrozenModel(lambda x: net(x) + torch.rand(len(x), 5), block=4)
    assert outputs_digest(noisy, data()) == "randomised"


@pytest.mark.slow
def test_a_run_is_not_resumed_with_another_model_of_the_same_weights(tmp_path):
    run = Run.create("evaluate", "net", "toy", root=tmp_path)
    evaluate(Signed(1), data(), Linf(0.01), attacks="fgsm", block=4, run=run)
    with pytest.raises(RunConflict, match="outputs"):
        evaluate(Signed(-1), data(), Linf(0.01), attacks="fgsm", block=4, run=run)


def test_models_that_cannot_take_the_data_are_named_in_one_line():
    for model, word in (
        (small_net().double(), "float64"),
        (small_net().half(), "float16"),
        (nn.Linear(3, 2), "shape"),
    ):
        with pytest.raises(InputError, match=word) as error:
            outputs_digest(FrozenModel(model, block=4), data())
        assert "\n" not in str(error.value)


def test_half_precision_logits_are_taken_as_floats():
    net = small_net()
    found = evaluate(
        lambda x: net(x).bfloat16(), data(), Linf(0.02), attacks="fgsm,pgd-2-2", bounds=(), block=4
    )
    assert 0 <= found.robust_accuracy <= found.clean_accuracy
    double = evaluate(
        lambda x: net(x).double(), data(), Linf(0.02), attacks="pgd-2-2", bounds=(), block=4
    )
    assert double.clean_accuracy == 1.0
