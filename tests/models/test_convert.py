import pickle

import pytest
import torch
from torch import nn

from holdfast.core.errors import InputError
from holdfast.models.convert import convert
from holdfast.models.registry import build_model
from holdfast.models.store import load_weights, read_weights
from holdfast.models.weights import weights_hash


@pytest.fixture
def files(tmp_path):
    return tmp_path / "theirs.pt", tmp_path / "ours.safetensors"


def model() -> nn.Module:
    return build_model("digits_conv", width=2, seed=7)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_state_dict_is_converted(files, legacy):
    source, target = files
    torch.save(model().state_dict(), source, _use_new_zipfile_serialization=not legacy)
    digest = convert(source, target)
    other = build_model("digits_conv", width=2, seed=8)
    metadata = load_weights(other, target)
    assert weights_hash(other) == weights_hash(model()) == digest
    assert metadata.extra == {"converted_from": "theirs.pt"}


@pytest.mark.parametrize("key", ["state_dict", "model", "net"])
def test_a_state_dict_is_found_in_a_training_state(files, key):
    source, target = files
    torch.save({key: model().state_dict(), "epoch": 3, "best": 0.5}, source)
    assert convert(source, target) == weights_hash(model())


def test_a_key_chooses_among_several(files):
    source, target = files
    torch.save({"model": model().state_dict(), "ema": {"w": torch.ones(3)}}, source)
    assert convert(source, target, key="ema") == weights_hash({"w": torch.ones(3)})
    with pytest.raises(InputError, match="did you mean 'ema'"):
        convert(source, target, key="emma")


def test_prefixes_of_wrapped_models_are_cut_where_all_keys_have_them(files):
    source, target = files
    wrapped = {f"module._orig_mod.{key}": v for key, v in model().state_dict().items()}
    torch.save(wrapped, source)
    assert convert(source, target) == weights_hash(model())
    mixed = {"module.weight": torch.ones(2), "scale": torch.ones(3)}
    torch.save(mixed, source)
    convert(source, target)
    assert set(read_weights(target)[0]) == set(mixed)


class Malicious:
    """Touches a file when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return open, (str(self.trace), "w")


@pytest.mark.parametrize("how", ["pickle", "zip", "legacy", "nested"])
def test_code_in_a_file_is_never_executed(files, tmp_path, how):
    source, target = files
    trace = tmp_path / "trace"
    content = {"w": torch.ones(2), "x": Malicious(trace)}
    if how == "pickle":
        source.write_bytes(pickle.dumps(content))
    elif how == "nested":
        torch.save({"model": {"w": torch.ones(2)}, "optimizer": [Malicious(trace)]}, source)
    else:
        torch.save(content, source, _use_new_zipfile_serialization=how == "zip")
    with pytest.raises(InputError) as error:
        convert(source, target)
    assert "holds more than tensors" in str(error.value)
    assert "\n" not in str(error.value)
    assert not trace.exists()
    assert not target.exists()


def test_the_malicious_file_would_do_harm_if_it_were_opened_plainly(files, tmp_path):
    source, _ = files
    source.write_bytes(pickle.dumps(Malicious(tmp_path / "trace")))
    with source.open("rb") as file:
        pickle.load(file).close()
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    "content",
    [
        torch.ones(3),
        [torch.ones(3)],
        {},
        {"epoch": 3},
        {"w": torch.ones(3), "epoch": 3},
        {3: torch.ones(3)},
        {"model": {"inner": {"w": torch.ones(3)}}},
        {"w": torch.ones(3).to_sparse()},
    ],
)
def test_what_is_no_state_dict_is_refused(files, content):
    source, target = files
    torch.save(content, source)
    with pytest.raises(InputError, match="name the state dict by its key"):
        convert(source, target)
    assert not target.exists()


def test_a_whole_network_is_refused_with_the_remedy(files):
    source, target = files
    torch.save(nn.Linear(2, 3), source)
    with pytest.raises(InputError, match=r"save model.state_dict\(\)"):
        convert(source, target)


def test_files_that_are_absent_or_cut_short_are_refused(files):
    source, target = files
    with pytest.raises(InputError, match="cannot be read"):
        convert(source, target)
    torch.save(model().state_dict(), source)
    source.write_bytes(source.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"is no torch.save file"):
        convert(source, target)
