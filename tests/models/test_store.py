import json
import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from holdfast import __version__
from holdfast.core.errors import InputError
from holdfast.models.registry import Architecture, architecture_of, build_model
from holdfast.models.store import load_model, load_weights, read_weights, save_model, save_weights
from holdfast.models.weights import weights_hash


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("digits_conv", {"width": 3, "classes": 5, "normalize": (0.1307, 0.3081)}),
        ("mlp", {"input_shape": (5,), "hidden": (7, 6)}),
        ("preact_resnet18", {"width": 2, "normalize": "cifar10"}),
    ],
)
def test_a_checkpoint_rebuilds_its_network(path, name, options):
    model = build_model(name, seed=11, **options).eval()
    digest = save_model(path, model, metadata={"epoch": 3, "accuracy": 0.5})
    again, metadata = load_model(path)
    x = torch.rand(3, *architecture_of(model).options["input_shape"])
    assert torch.equal(again(x), model(x))
    assert not again.training
    assert digest == metadata.weights_hash == weights_hash(again) == weights_hash(model)
    assert metadata.architecture == architecture_of(again) == architecture_of(model)
    assert metadata.version == __version__
    assert metadata.extra == {"epoch": 3, "accuracy": 0.5}


def test_a_network_in_another_precision_comes_back_in_it(path):
    model = build_model("resnet18", width=2).double()
    save_model(path, model)
    again, _ = load_model(path)
    assert weights_hash(again) == weights_hash(model)


def test_a_loaded_network_does_not_depend_on_the_file(path):
    model = build_model("digits_conv", width=2)
    save_model(path, model)
    again, _ = load_model(path)
    path.write_bytes(bytes(path.stat().st_size))
    assert weights_hash(again) == weights_hash(model)


def test_a_file_without_architecture_serves_as_weights_only(path):
    model = build_model("digits_conv", width=2, seed=1)
    save_weights(path, model.state_dict())
    with pytest.raises(InputError, match="records no architecture"):
        load_model(path)
    other = build_model("digits_conv", width=2, seed=2)
    assert load_weights(other, path).architecture is None
    assert weights_hash(other) == weights_hash(model)


def test_bare_weights_load_behind_a_normalisation_and_not_the_other_way(path):
    bare = build_model("digits_conv", width=2, seed=1)
    model = build_model("digits_conv", width=2, seed=2, normalize=(0.5, 0.25))
    save_model(path, bare)
    load_weights(model, path)
    assert weights_hash(model.net) == weights_hash(bare)
    assert model.normalize.mean.item() == 0.5
    save_model(path, model)
    with pytest.raises(InputError, match=r"8 missing: 0.bias, .*10 unexpected: net.0.bias"):
        load_weights(bare, path)


def test_misfits_are_told_in_one_line_and_nothing_is_loaded(path):
    save_file({"0.weight": torch.rand(3, 5), "1.bias": torch.rand(3)}, path)
    model = nn.Sequential(nn.Linear(7, 3))
    before = weights_hash(model)
    with pytest.raises(InputError) as error:
        load_weights(model, path)
    told = str(error.value)
    assert (
        "1 missing: 0.bias; 1 unexpected: 1.bias; 1 of another shape: 0.weight (3, 5), not (3, 7)"
        in told
    )
    assert "\n" not in told
    assert weights_hash(model) == before


def test_integers_are_not_taken_for_weights(path):
    save_file({"weight": torch.ones(3, 7, dtype=torch.int64), "bias": torch.rand(3)}, path)
    with pytest.raises(InputError, match=r"1 of another type: weight torch.int64"):
        load_weights(nn.Linear(7, 3), path)


def test_long_lists_of_keys_are_cut(path):
    save_file({"x": torch.rand(2)}, path)
    with pytest.raises(InputError, match=r"8 missing: 0.bias, 0.weight, 2.bias, \.\.\.; 1 unexp"):
        load_weights(build_model("digits_conv"), path)


def test_a_flipped_bit_is_noticed(path):
    save_model(path, build_model("digits_conv", width=2))
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="holds other weights than it was written with"):
        read_weights(path)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "3",
        '{"name": "digits_conv"}',
        '{"name": 3, "options": {}, "normalize": null}',
        '{"name": "digits_conv", "options": {}, "normalize": [1]}',
        '{"name": "digits_conv", "options": {"seed": 3}, "normalize": null}',
    ],
)
def test_unreadable_metadata_are_refused(path, text):
    save_file({"x": torch.rand(2)}, path, metadata={"architecture": text})
    with pytest.raises(InputError, match="has unreadable metadata"):
        load_model(path)


def test_an_architecture_with_a_wrong_option_is_refused(path):
    text = json.dumps({"name": "digits_conv", "options": {"width": -1}, "normalize": None})
    save_file({"x": torch.rand(2)}, path, metadata={"architecture": text})
    with pytest.raises(InputError, match="width=-1"):
        load_model(path)


def test_code_that_a_file_names_runs_only_where_the_caller_names_it_too(
    path, tmp_path, monkeypatch
):
    trace = tmp_path / "trace"
    (tmp_path / "their_factory.py").write_text(
        f"import pathlib, torch\npathlib.Path({str(trace)!r}).touch()\n"
        "def make(classes=2):\n    return torch.nn.Linear(3, classes)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    architecture = Architecture("their_factory:make", {"classes": 5})
    save_model(path, nn.Linear(3, 5), architecture)
    for factory in (None, "their_factory:other"):
        with pytest.raises(InputError, match="was made by 'their_factory:make', code from outside"):
            load_model(path, factory=factory)
    assert not trace.exists()
    model, _ = load_model(path, factory="their_factory:make")
    sys.modules.pop("their_factory")
    assert model.out_features == 5


def test_metadata_are_plain_data(path):
    with pytest.raises(InputError, match="is not plain data"):
        save_model(path, nn.Linear(2, 3), metadata={"x": torch.rand(2)})
    assert not path.exists()
