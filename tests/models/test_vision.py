import sys
from types import ModuleType

import pytest
from torch import nn

from holdfast.core.errors import InputError, MissingExtra
from holdfast.models.registry import architecture_of, build_model


class Library(ModuleType):
    """Stands for torchvision and timm: records how a network is asked for."""

    def __init__(self, name):
        super().__init__(name)
        self.asked = None

    def list_models(self):
        return ["resnet18", "resnet50"]

    def create(self, arch, **options):
        self.asked = (arch, options)
        if options.get("num_classes") == 13:
            raise ValueError("thirteen\nclasses")
        return nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(inplace=True), nn.ReLU6(inplace=True))

    get_model = create_model = create


@pytest.fixture
def libraries(monkeypatch):
    vision, models, timm = (Library(each) for each in ("torchvision", "torchvision.models", "timm"))
    vision.models = models
    for each in (vision, models, timm):
        monkeypatch.setitem(sys.modules, each.__name__, each)
    return {"torchvision": models, "timm": timm}


def test_networks_are_asked_for_by_their_own_names(libraries):
    build_model("torchvision", arch="resnet18", classes=5)
    assert libraries["torchvision"].asked == ("resnet18", {"weights": None, "num_classes": 5})
    build_model("torchvision", pretrained=True)
    assert libraries["torchvision"].asked == (
        "resnet50",
        {"weights": "DEFAULT", "num_classes": 1000},
    )
    build_model("timm", classes=5, input_shape=(1, 8, 8))
    options = {"pretrained": False, "num_classes": 5, "in_chans": 1}
    assert libraries["timm"].asked == ("resnet50", options)


@pytest.mark.parametrize("name", ["torchvision", "timm"])
def test_activations_no_longer_work_in_place(libraries, name):
    model = build_model(name)
    assert not model[1].inplace
    assert not model[2].inplace


@pytest.mark.parametrize("name", ["torchvision", "timm"])
def test_where_weights_came_from_is_not_part_of_the_architecture(libraries, name):
    model = build_model(name, pretrained=True)
    assert "pretrained" not in architecture_of(model).options


@pytest.mark.parametrize("name", ["torchvision", "timm"])
def test_unknown_and_failing_networks_are_named_in_one_line(libraries, name):
    with pytest.raises(InputError, match="arch='resnet5': is not known; did you mean 'resnet50'"):
        build_model(name, arch="resnet5")
    with pytest.raises(InputError) as error:
        build_model(name, classes=13)
    assert "cannot be made (ValueError: thirteen classes)" in str(error.value)
    assert "\n" not in str(error.value)


def test_torchvision_asks_for_colour(libraries):
    with pytest.raises(InputError, match="is not RGB"):
        build_model("torchvision", input_shape=(1, 28, 28))


@pytest.mark.parametrize("name", ["torchvision", "timm"])
def test_a_broken_library_is_reported_as_missing(monkeypatch, name):
    broken = "torchvision.models" if name == "torchvision" else name
    monkeypatch.setitem(sys.modules, broken, None)
    with pytest.raises(MissingExtra, match=r"pip install 'holdfast\[vision\]'"):
        build_model(name)
