import json

import pytest
import torch
from safetensors.torch import save_file

from holdfast.core.errors import InputError
from holdfast.training import checkpoints
from holdfast.training.optimizers import SGD, Adam, set_learning_rate
from training.tiny import network, weights


def written(path):
    tensors = {"model": {"0.weight": torch.arange(6.0).view(2, 3)}, "chosen": {}}
    snapshot = checkpoints.Snapshot(tensors, {"done": 7, "history": [{"loss": 0.1}]})
    checkpoints.save(path, snapshot)
    return snapshot


def test_a_snapshot_reads_back_as_written(tmp_path):
    snapshot = written(tmp_path / "deep" / "last.safetensors")
    found = checkpoints.load(tmp_path / "deep" / "last.safetensors")
    assert found.facts == snapshot.facts
    assert torch.equal(found.tensors["model"]["0.weight"], snapshot.tensors["model"]["0.weight"])
    assert [each.name for each in (tmp_path / "deep").iterdir()] == ["last.safetensors"]


@pytest.mark.parametrize("place", [0.02, 0.5, 0.97])
def test_a_flipped_bit_is_found(tmp_path, place):
    path = tmp_path / "last.safetensors"
    written(path)
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"^checkpoint=.*start again in a new run$"):
        checkpoints.load(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a pickle", b"\x10" * 40])
def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "last.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="checkpoint") as caught:
        checkpoints.load(path)
    assert "\n" not in str(caught.value)


def test_a_torn_file_and_a_foreign_one_are_refused(tmp_path):
    path = tmp_path / "last.safetensors"
    written(path)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match="checkpoint"):
        checkpoints.load(path)
    save_file({"a": torch.zeros(2)}, path, metadata={"format": "pt", "state": json.dumps({})})
    with pytest.raises(InputError, match="format 'pt'"):
        checkpoints.load(path)


@pytest.mark.parametrize(
    "spec", [SGD(momentum=0.9, weight_decay=1e-3), Adam(), Adam(decoupled=True)]
)
def test_an_optimiser_goes_on_to_the_same_bits(spec):
    def step(net, optimizer, seed):
        generator = torch.Generator().manual_seed(seed)
        x = torch.rand(4, 2, 5, 4, generator=generator)
        optimizer.zero_grad()
        set_learning_rate(optimizer, 0.1 / seed)
        net(x).square().sum().backward()
        optimizer.step()

    whole, broken = network(), network()
    optimizer = spec.build(whole)
    for seed in (1, 2, 3, 4):
        step(whole, optimizer, seed)
    first = spec.build(broken)
    for seed in (1, 2):
        step(broken, first, seed)
    second = spec.build(broken)
    checkpoints.restore_optimizer(second, checkpoints.optimizer_tensors(first))
    for seed in (3, 4):
        step(broken, second, seed)
    assert torch.equal(weights(whole), weights(broken))
