"""What the verb checks before anything runs, and step sizes."""

import pytest
import torch

from holdfast.attacks import FGSM, PGD, Attack
from holdfast.attacks.attack import parse_step
from holdfast.core.errors import InputError
from holdfast.threats import Linf
from nets import examples, small_net


def test_attacks_are_attacks():
    assert isinstance(PGD(), Attack)
    assert isinstance(FGSM(), Attack)


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda x, y: (x + 2, y), "box|range|0"),
        (lambda x, y: (x.where(x != x[0, 0, 0, 0], torch.tensor(float("nan"))), y), "NaN"),
        (lambda x, y: (x, y + 9), "label|class"),
        (lambda x, y: (x, y[:-1]), "y="),
        (lambda x, y: (x, y.float()), "whole numbers"),
        (lambda x, y: ((x * 255).to(torch.uint8), y), "float|uint8"),
    ],
)
def test_bad_input_is_named_in_one_line(spoil, word):
    net = small_net()
    with pytest.raises(InputError, match=word) as error:
        FGSM().run(net, *spoil(*examples(4, net)), Linf(0.1))
    assert "\n" not in str(error.value)


def test_model_of_the_wrong_shape():
    net = small_net()
    x, y = examples(4, net)
    with pytest.raises(InputError, match="model"):
        FGSM().run(lambda z: z, x, y, Linf(0.1))


def test_without_keys_an_example_is_keyed_by_its_bytes():
    net = small_net()
    x, y = examples(6, net)
    whole = PGD(steps=2, restarts=1).run(net, x, y, Linf(0.02))
    part = PGD(steps=2, restarts=1).run(net, x[3:5], y[3:5], Linf(0.02))
    assert torch.equal(whole.x_adv[3:5], part.x_adv)


@pytest.mark.parametrize(
    ("text", "steps", "expected"),
    [
        ("auto", 50, (0.05, True)),
        ("eps", 9, (1.0, True)),
        ("eps/4", 9, (0.25, True)),
        ("1.25*eps", 9, (1.25, True)),
        ("8/255", 9, (8 / 255, False)),
        (0.01, 9, (0.01, False)),
    ],
)
def test_step_sizes(text, steps, expected):
    assert parse_step(text, steps) == expected
