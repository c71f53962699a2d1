import inspect

import pytest
import torch

from holdfast.core.errors import HoldfastError, MissingExtra
from holdfast.models.catalogue import MODELS
from holdfast.models.description import parameter_count
from holdfast.models.registry import architecture_of, build_model

SMALLER = {  # options under which a large network runs in no time
    "mnist_maxpool": {"input_shape": (1, 8, 12)},
    "mnist_strided": {"input_shape": (1, 8, 12)},
    "large": {"input_shape": (2, 8, 12)},
    "provable_resnet": {"input_shape": (2, 8, 12)},
    "lenet": {"factor": 1},
    "speedrun_cnn": {"widths": [4, 6, 8], "stem": 5},
    "vgg16": {"factor": 1},
    "resnet18": {"width": 2},
    "resnet34": {"width": 2},
    "resnet50": {"width": 1},
    "preact_resnet18": {"width": 2},
    "wide_resnet": {"depth": 10, "width": 1},
    "densenet": {"depth": 10, "growth": 2},
    "simple_vit": {"dim": 8, "depth": 1, "heads": 2},
    "torchvision": {"arch": "resnet18"},
    "timm": {"arch": "resnet18"},
}


def made(name, **options):
    try:
        return build_model(name, **options)
    except MissingExtra as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("name", MODELS)
def test_every_entry_builds_and_runs(name):
    options = SMALLER.get(name, {}) | {"classes": 5}
    model = made(name, **options).eval()
    shape = architecture_of(model).options["input_shape"]
    logits = model(torch.rand(3, *shape))
    assert logits.shape == (3, 5)
    assert logits.isfinite().all()


@pytest.mark.parametrize("name", MODELS)
def test_every_entry_shares_the_common_options_and_has_defaults(name):
    parameters = inspect.signature(MODELS[name].load()).parameters
    assert {"input_shape", "classes"} <= parameters.keys()
    for each in parameters.values():
        assert each.kind is each.KEYWORD_ONLY
        assert each.default is not each.empty


@pytest.mark.parametrize("name", [name for name in MODELS if "parameters" in MODELS[name].cost])
def test_every_entry_states_its_true_size(name, monkeypatch):
    monkeypatch.setattr(torch.nn.init, "normal_", lambda weight, *_: weight)
    with torch.device("meta"):
        model = MODELS[name].load()()
    assert MODELS[name].cost == f"{parameter_count(model):,} parameters"


@pytest.mark.parametrize("name", MODELS)
def test_no_network_works_in_place(name):
    model = made(name, **SMALLER.get(name, {}))
    assert not any(getattr(module, "inplace", False) for module in model.modules())


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(HoldfastError, match="did you mean 'mnist_conv'"):
        build_model("mnist_cnv")
