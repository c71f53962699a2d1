"""Which model is meant: names, factories, files, runs, objects; weights, statistics, devices."""

import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.data.adapt import as_data
from holdfast.models import build_model, save_model
from holdfast.models.normalize import Normalized
from holdfast.runs.directory import Run
from holdfast.training.sources import checkpoint_of, placed, resolve

X = torch.rand(5, 2, 7, 6, generator=torch.Generator().manual_seed(0))


def data():
    return as_data((X, torch.tensor([0, 1, 2, 1, 0])))


def saved(path, seed=0):
    model = build_model("mlp", seed=seed, input_shape=(2, 7, 6), classes=3, hidden=(4,)).eval()
    save_model(path, model)
    return model


def test_a_name_is_built_for_the_data_and_says_that_it_knows_nothing():
    source = resolve("mlp", data(), seed=3)
    assert source.model(X).shape == (5, 3)
    assert source.warnings == ("the model has its initial weights: give weights",)
    assert not source.given
    again = resolve("mlp", data(), seed=3)
    assert torch.equal(source.model(X), again.model(X))


def test_a_file_brings_its_architecture(tmp_path):
    model = saved(tmp_path / "net.safetensors")
    source = resolve(tmp_path / "net.safetensors", data())
    assert torch.equal(source.model(X), model(X))
    assert (source.name, source.warnings) == ("net", ())


def test_weights_are_loaded_into_whatever_it_is(tmp_path):
    saved(tmp_path / "one.safetensors")
    other = saved(tmp_path / "two.safetensors", seed=1)
    source = resolve(tmp_path / "one.safetensors", data(), weights=tmp_path / "two.safetensors")
    assert torch.equal(source.model(X), other(X))
    with pytest.raises(InputError, match="needs a module"):
        resolve(lambda x: x, data(), weights=tmp_path / "two.safetensors")


@pytest.mark.parametrize("kind", ["module", "function", "file", "name"])
def test_statistics_are_applied_to_inputs(kind, tmp_path):
    saved(tmp_path / "net.safetensors")
    plain = resolve(tmp_path / "net.safetensors", data()).model
    given = {
        "module": plain,
        "function": lambda x: plain(x),
        "file": tmp_path / "net.safetensors",
        "name": "mlp",
    }[kind]
    normalize = ((0.5, 0.25), (2.0, 0.5))
    bare = resolve(given, data()).model
    source = resolve(given, data(), normalize=normalize)
    mean, std = (torch.tensor(each).view(2, 1, 1) for each in normalize)
    assert torch.allclose(source.model(X), bare((X - mean) / std), atol=1e-6)
    if kind == "module":
        assert isinstance(source.model, Normalized)


def test_a_run_without_a_checkpoint_is_refused(tmp_path):
    run = Run.create("evaluate", "net", "digits", path=tmp_path / "r")
    with pytest.raises(InputError, match="holds no checkpoint"):
        checkpoint_of(run.path)


def test_a_given_module_stays_where_it_is():
    source = resolve(torch.nn.Linear(6, 3), data())
    assert source.given
    assert placed(source, None) == torch.device("cpu")
    with pytest.raises(InputError, match="device='nowhere'"):
        placed(source, "nowhere")


def test_what_is_no_model_is_refused():
    for wrong, told in ((3, "is no model"), ("no/such.pt", "is not there"), ("mlpp", "'mlp'")):
        with pytest.raises(InputError, match=told):
            resolve(wrong, data())
    with pytest.raises(InputError, match="normalize='cifar1'"):
        resolve(torch.nn.Linear(6, 3), data(), normalize="cifar1")
