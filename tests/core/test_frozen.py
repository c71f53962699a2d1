import pytest
import torch
from torch import Tensor, nn

from holdfast.core.errors import InputError, OutOfMemory
from holdfast.core.frozen import FrozenModel, check_logits, device_of, evaluation_mode
from holdfast.core.random import Keys

B, K, C, H, W = 3, 5, 2, 7, 6


class Net(nn.Module):
    """Convolution, batch norm, dropout, and a submodule that the user keeps in another mode."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(C, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.frozen_norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4 * (H - 2) * (W - 2), K)
        self.shapes: list[tuple[int, ...]] = []
        self.fails = False

    def forward(self, x: Tensor) -> Tensor:
        self.shapes.append(tuple(x.shape))
        if self.fails:
            raise RuntimeError("layer 3 is broken")
        z = self.frozen_norm(self.norm(self.conv(x)).relu())
        return self.head(self.drop(z).flatten(1))


@pytest.fixture
def net() -> Net:
    net = Net()
    for i, value in enumerate(net.parameters()):
        value.data = Keys.of(i, [0]).normal(value.shape)[0] / 3
    net.frozen_norm.eval()
    net.head.bias.requires_grad_(False)
    return net


@pytest.fixture
def x() -> Tensor:
    return Keys.of(9, range(B)).uniform((C, H, W))


def traits(net: nn.Module) -> dict[str, object]:
    """Everything of a module that a frozen view must leave alone."""
    return {
        "modes": [module.training for module in net.modules()],
        "identities": [id(value) for value in (*net.parameters(), *net.buffers())],
        "values": [value.detach().clone() for value in (*net.parameters(), *net.buffers())],
        "flags": [value.requires_grad for value in net.parameters()],
        "grads": [value.grad for value in net.parameters()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules()],
    }


def same(before: dict[str, object], after: dict[str, object]) -> bool:
    values = zip(before.pop("values"), after.pop("values"), strict=True)  # type: ignore[call-overload]
    return before == after and all(torch.equal(a, b) for a, b in values)


def first(logits: Tensor) -> Tensor:
    return logits[:, 0]


def test_logits_are_those_of_the_model_in_evaluation_mode(net, x):
    with FrozenModel(net) as frozen:
        found = frozen.logits(x)
    assert torch.equal(found, net.eval()(x))
    assert not found.requires_grad


def test_gradients_are_those_of_autograd(net, x):
    with FrozenModel(net) as frozen:
        logits, values, gradient = frozen.value_and_grad(x, first)
    leaf = x.clone().requires_grad_()
    net.eval()
    (expected,) = torch.autograd.grad(net(leaf)[:, 0].sum(), leaf)
    assert torch.allclose(gradient, expected, atol=1e-6)
    assert torch.equal(values, logits[:, 0])
    assert not any(tensor.requires_grad for tensor in (logits, values, gradient))


@pytest.mark.parametrize("mode", ["eval", "batch"])
def test_nothing_of_the_model_changes(net, x, mode):
    before = traits(net)
    with FrozenModel(net, mode=mode) as frozen:
        frozen.logits(x)
        frozen.value_and_grad(x, first)
    assert same(before, traits(net))


@pytest.mark.parametrize("mode", ["eval", "batch", "train"])
def test_nothing_but_buffers_changes_after_an_exception(net, x, mode):
    before = traits(net)
    net.fails = True
    with pytest.raises(RuntimeError, match="layer 3 is broken"), FrozenModel(net, mode=mode) as f:
        f.value_and_grad(x, first)
    assert same(before, traits(net))


def test_an_exception_of_the_caller_restores_the_modes(net):
    before = traits(net)

    def inside():
        with FrozenModel(net):
            assert not any(module.training for module in net.modules())
            raise KeyError

    with pytest.raises(KeyError):
        inside()
    assert same(before, traits(net))


def test_no_gradient_accumulates_in_parameters_or_input(net, x):
    net.conv.weight.grad = torch.ones_like(net.conv.weight)
    x.requires_grad_()
    with FrozenModel(net) as frozen:
        frozen.value_and_grad(x, first)
    assert torch.equal(net.conv.weight.grad, torch.ones_like(net.conv.weight))
    assert net.head.weight.grad is None
    assert x.grad is None


def test_no_graph_leads_to_the_parameters(net, x):
    def value(logits: Tensor) -> Tensor:
        parameters = [value for value in net.parameters() if value.requires_grad]
        loss = logits.sum()
        found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        assert set(found) == {None}
        return logits[:, 0]

    with FrozenModel(net) as frozen:
        frozen.value_and_grad(x, value)


def test_gradients_are_found_under_no_grad(net, x):
    with torch.no_grad(), FrozenModel(net) as frozen:
        _, _, gradient = frozen.value_and_grad(x, first)
    assert gradient.abs().sum() > 0


def test_batch_mode_uses_batch_statistics_and_updates_nothing(net, x):
    net.drop.eval()
    with FrozenModel(net, mode="batch") as frozen:
        found = [frozen.logits(x) for _ in range(2)]
    assert torch.equal(*found)
    assert (net.norm.running_mean == 0).all()
    assert net.norm.num_batches_tracked == 0
    assert torch.equal(found[0], net(x))


def test_train_mode_updates_the_buffers_of_what_is_in_training(net, x):
    with FrozenModel(net, mode="train") as frozen:
        frozen.logits(x)
    assert net.norm.num_batches_tracked == 1
    assert (net.norm.running_mean != 0).all()
    assert (net.frozen_norm.running_mean == 0).all()


def test_later_changes_of_the_weights_are_seen(net, x):
    frozen = FrozenModel(net.eval())
    before = frozen.logits(x)
    with torch.no_grad():
        net.head.weight.mul_(2)
    assert not torch.equal(frozen.logits(x), before)


def test_shared_weights_stay_shared(x):
    layer = nn.Linear(C * H * W, C * H * W)
    net = nn.Sequential(nn.Flatten(), layer, nn.ReLU(), layer)
    with FrozenModel(net) as frozen:
        assert torch.equal(frozen.logits(x), net(x))
    assert net[1].weight is net[3].weight


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7])
def test_a_model_sees_one_fixed_block_shape(net, rows):
    x = Keys.of(1, range(rows)).uniform((C, H, W))
    with FrozenModel(net, block=3) as frozen:
        found = frozen.logits(x)
    assert set(net.shapes) == {(3, C, H, W)}
    assert found.shape == (rows, K)
    torch.testing.assert_close(found, net.eval()(x))


def test_bits_do_not_depend_on_how_many_rows_there_are(net):
    x = Keys.of(1, range(7)).uniform((C, H, W))
    with FrozenModel(net, block=3) as frozen:
        everything = frozen.logits(x)
        for count in range(1, 8):
            assert torch.equal(frozen.logits(x[:count]), everything[:count])
        assert torch.equal(frozen.logits(x[2:3]), everything[2:3])


def test_passes_are_counted_in_rows_and_padding_apart(net):
    x = Keys.of(1, range(7)).uniform((C, H, W))
    with FrozenModel(net, block=3) as frozen:
        frozen.logits(x)
        assert (frozen.passes.forwards, frozen.passes.padding) == (7, 2)
        frozen.value_and_grad(x[:3], first)
    assert (frozen.passes.forwards, frozen.passes.backwards) == (10, 3)
    assert frozen.passes.padding == 2


def test_any_callable_is_a_model(x):
    weight = Keys.of(0, [0]).normal((C * H * W, K))[0]
    with FrozenModel(lambda z: z.flatten(1) @ weight) as frozen:
        _, _, gradient = frozen.value_and_grad(x, first)
    torch.testing.assert_close(gradient.flatten(1), weight[:, 0].expand(B, -1))


def test_an_unknown_mode_is_refused(net):
    with pytest.raises(InputError, match="use 'eval', 'batch' or 'train'"):
        FrozenModel(net, mode="evil")  # type: ignore[arg-type]


def test_running_out_of_memory_names_the_flag(x):
    def model(z: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(OutOfMemory, match=r"3 rows .* --block"):
        FrozenModel(model).logits(x)


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        (lambda z: [z], "not a tensor"),
        (lambda z: z.flatten(1)[:, :1], "does not fit"),
        (lambda z: z.flatten(1).sum(1), "does not fit"),
        (lambda z: z.flatten(1)[:2], "does not fit"),
        (lambda z: z.flatten(1).long(), "is not float"),
    ],
)
def test_an_output_that_is_no_logits_is_described(x, output, problem):
    with pytest.raises(InputError, match=problem) as caught:
        FrozenModel(output).logits(x)
    assert caught.value.argument == "model"


def test_check_logits_returns_what_fits():
    logits = torch.zeros(B, K)
    assert check_logits(logits, B) is logits


def test_the_device_is_that_of_the_first_tensor():
    assert device_of(nn.Linear(2, 3)) == torch.device("cpu")
    assert device_of(nn.Linear(2, 3, device="meta")) == torch.device("meta")
    assert device_of(nn.BatchNorm1d(3, affine=False, device="meta")) == torch.device("meta")
    assert device_of(nn.ReLU()) == device_of(lambda z: z) == torch.device("cpu")


def test_evaluation_mode_of_a_function_does_nothing():
    with evaluation_mode(lambda z: z):
        pass


def test_evaluation_mode_restores_each_submodule(net):
    before = traits(net)
    with evaluation_mode(net):
        assert not any(module.training for module in net.modules())
    assert same(before, traits(net))


class Restless(nn.Module):
    """Counts its calls in a buffer, replaces another, registers a third."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("kept", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        self.kept = self.kept + 1
        if "late" not in self._buffers:
            self.register_buffer("late", torch.ones(()))
        return self.linear(x)


@pytest.mark.parametrize("mode", ["eval", "batch"])
def test_buffers_that_forward_changes_stay_as_they_were(mode):
    model = Restless()
    with FrozenModel(model, mode=mode) as frozen:
        frozen.logits(torch.rand(4, 3))
        frozen.value_and_grad(torch.rand(4, 3), lambda z: z[:, 0])
    assert {name: float(b) for name, b in model.named_buffers()} == {"calls": 0.0, "kept": 0.0}


def test_a_cache_of_parametrised_weights_is_not_filled_with_stand_ins():
    from torch.nn.utils import parametrizations, parametrize

    model = parametrizations.weight_norm(nn.Linear(3, 2))
    x = torch.rand(4, 3)
    with parametrize.cached():
        with FrozenModel(model) as frozen:
            frozen.value_and_grad(x, lambda z: z[:, 0])
        model(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_parameters_that_are_not_there_yet_are_named():
    with pytest.raises(InputError, match="not initialised"):
        FrozenModel(nn.LazyLinear(2))
