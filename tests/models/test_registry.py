import copy
import sys

import pytest
import torch
from torch import nn

from holdfast.core.errors import InputError
from holdfast.models.normalize import Normalized
from holdfast.models.registry import Architecture, architecture_of, build_model, record
from holdfast.models.weights import weights_hash


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    """Writes a module of the user's into the import path and returns its name."""

    def write(text: str, name: str = "their_networks") -> str:
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    yield write
    sys.modules.pop("their_networks", None)


FACTORIES = """
from torch import nn
def tiny(width=3, classes=2):
    return nn.Sequential(nn.Flatten(), nn.Linear(4, width), nn.ReLU(), nn.Linear(width, classes))
def fails():
    raise RuntimeError("out of\\nluck")
def text():
    return "a network"
class Nested:
    @staticmethod
    def make(**options):
        return nn.Linear(4, options["classes"])
ready = tiny()
"""


def test_equal_seeds_give_equal_bits_and_others_do_not():
    one, two, other = (build_model("digits_conv", seed=seed) for seed in (5, 5, 6))
    assert weights_hash(one) == weights_hash(two) != weights_hash(other)


def test_weights_do_not_depend_on_the_global_state_and_leave_it_alone():
    hashes = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        state = torch.get_rng_state()
        hashes.append(weights_hash(build_model("resnet18", width=2, init="he")))
        assert torch.equal(torch.get_rng_state(), state)
    assert hashes[0] == hashes[1]


def test_the_architecture_is_recorded_with_its_defaults_and_survives_a_copy():
    model = build_model("digits_conv", classes=5, normalize=(0.5, 0.25))
    options = {"input_shape": (1, 8, 8), "classes": 5, "width": 16}
    expected = Architecture("digits_conv", options, ((0.5,), (0.25,)))
    assert architecture_of(model) == expected
    assert architecture_of(copy.deepcopy(model)) == expected
    assert architecture_of(nn.Linear(2, 3)) is None
    again = record(nn.Linear(2, 3), expected)
    assert architecture_of(again) == expected


def test_lists_of_an_architecture_become_tuples():
    ours = Architecture("mlp", {"hidden": [3, 4]}, [[0.5], [0.25]])
    assert ours == Architecture("mlp", {"hidden": (3, 4)}, ((0.5,), (0.25,)))


def test_normalised_and_bare_networks_have_the_same_weights():
    bare = build_model("resnet18", width=2)
    model = build_model("resnet18", width=2, normalize="cifar10")
    assert isinstance(model, Normalized)
    assert weights_hash(model.net) == weights_hash(bare)
    assert model.normalize.std.flatten().tolist() == pytest.approx([0.2471, 0.2435, 0.2616])


@pytest.mark.parametrize(
    ("normalize", "said"),
    [
        ("cifar", "did you mean 'cifar10'"),
        (0.5, "is not a pair"),
        ((0.5, 0.0), "is not positive"),
        ((torch.rand(2, 7, 6), 1.0), "is not by channel"),
        ((0.5, "a"), "is not a list of numbers"),
    ],
)
def test_wrong_statistics_are_refused(normalize, said):
    with pytest.raises(InputError, match=said):
        build_model("digits_conv", normalize=normalize)


@pytest.mark.parametrize("seed", [-1, 1.5, True, None])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(InputError, match="is not a seed"):
        build_model("digits_conv", seed=seed)


def test_an_unknown_option_is_answered_with_the_nearest():
    with pytest.raises(InputError) as error:
        build_model("wide", widht=3)
    assert str(error.value) == "option of wide='widht': is not known; did you mean 'width'?"


def test_a_factory_of_the_user_is_called_with_the_options(user_module):
    name = f"{user_module(FACTORIES)}:tiny"
    model = build_model(name, width=7)
    assert model[1].out_features == 7
    assert architecture_of(model) == Architecture(name, {"width": 7})
    assert architecture_of(model).foreign
    assert weights_hash(model) == weights_hash(build_model(name, width=7))
    nested = build_model(f"{user_module(FACTORIES)}:Nested.make", classes=3)
    assert nested.out_features == 3


@pytest.mark.parametrize(
    ("attribute", "options", "said"),
    [
        ("tinny", {}, "their_networks has no tinny; did you mean 'tiny'?"),
        ("tiny", {"widht": 3}, "did you mean 'width'?"),
        ("fails", {}, "the factory failed (RuntimeError: out of"),
        ("text", {}, "returned str: is not a torch.nn.Module"),
        ("ready", {}, "is a Sequential, not a function that makes a network"),
        ("nn.nothing", {}, "their_networks has no nothing"),
        ("", {}, "is not package.module:factory"),
    ],
)
def test_a_wrong_factory_is_named_with_its_fault(user_module, attribute, options, said):
    name = f"{user_module(FACTORIES)}:{attribute}"
    with pytest.raises(InputError) as error:
        build_model(name, **options)
    assert said in str(error.value)


def test_a_module_that_is_missing_or_fails_is_named(user_module):
    with pytest.raises(InputError, match="no_such_module_at_all cannot be imported"):
        build_model("no_such_module_at_all:make")
    name = user_module("raise ValueError('broken')")
    with pytest.raises(InputError, match=r"cannot be imported \(ValueError: broken\)"):
        build_model(f"{name}:make")
