import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.models import build_model, save_model
from holdfast.training.building import build_for, checkpoint_of, last_linear
from holdfast.training.recipe import ModelSpec
from training.test_loop import run_at, trained
from training.tiny import examples, recipe, weights

MLP = {"hidden": [6]}


def spec(path, **changes):
    return ModelSpec(name="mlp", options=MLP, weights=str(path), **changes)


def saved(path, classes=3, **options):
    model = build_model("mlp", seed=5, input_shape=(2, 5, 4), classes=classes, hidden=(6,))
    save_model(path, model, **options)
    return model


def test_networks_are_built_for_the_data():
    net = build_for(ModelSpec(name="mlp", options=MLP), examples(5), seed=0)
    assert net(examples(5).inputs()).shape == (5, 3)
    other = build_for(ModelSpec(name="mlp", options=MLP | {"classes": 4}), examples(5), seed=0)
    assert other(examples(5).inputs()).shape == (5, 4)


def test_weights_of_a_file_or_a_run_are_taken_over(tmp_path):
    model = saved(tmp_path / "net.safetensors")
    net = build_for(spec(tmp_path / "net.safetensors"), examples(5), seed=0)
    assert torch.equal(weights(net), weights(model))
    result = trained(run=run_at(tmp_path / "run"))
    again = build_for(spec(tmp_path / "run"), examples(5), seed=0)
    assert torch.equal(weights(again), weights(result.model))
    assert checkpoint_of(tmp_path / "run") == result.checkpoint


def test_a_new_head_is_that_of_the_seed_and_all_else_is_kept(tmp_path):
    model = saved(tmp_path / "net.safetensors", classes=7)
    data = examples(5)
    net = build_for(spec(tmp_path / "net.safetensors", head="new"), data, seed=2)
    fresh = build_for(ModelSpec(name="mlp", options=MLP), data, seed=2)
    name, head = last_linear(net)
    assert head.out_features == 3
    for key, value in net.state_dict().items():
        source = fresh if key.startswith(name) else model
        assert torch.equal(value, source.state_dict()[key])
    assert net(data.inputs()).shape == (5, 3)


def test_a_normalised_network_takes_the_weights_of_a_bare_one(tmp_path):
    model = saved(tmp_path / "net.safetensors", classes=7)
    normalize = ((0.5, 0.4), (0.25, 0.3))
    for head, classes in (("new", 3), ("keep", 7)):
        what = spec(tmp_path / "net.safetensors", head=head, normalize=normalize)
        net = build_for(what, examples(5, classes=classes), seed=2)
        assert torch.equal(net.net[1].weight, model[1].weight)


def test_what_does_not_fit_is_said(tmp_path):
    saved(tmp_path / "net.safetensors", classes=7)
    with pytest.raises(InputError, match=r"has 7 classes, the data have 3; set model.head = 'new'"):
        build_for(spec(tmp_path / "net.safetensors"), examples(5), seed=0)
    with pytest.raises(InputError, match="is no such thing"):
        build_for(spec(tmp_path / "other.safetensors"), examples(5), seed=0)
    wide = ModelSpec(
        name="mlp", options={"hidden": [9]}, weights=str(tmp_path / "net.safetensors"), head="new"
    )
    with pytest.raises(InputError, match="does not fit the model at"):
        build_for(wide, examples(5), seed=0)
    with pytest.raises(InputError, match="has no weights to stand beside"):
        recipe(model={"name": "mlp", "head": "new"})
    with pytest.raises(InputError, match="has no linear layer"):
        last_linear(torch.nn.ReLU())
