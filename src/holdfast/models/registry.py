"""Networks by name, with their architecture recorded.

`build_model` makes a registered network, or calls a factory of the user (`package.module:factory`).
What it made is written on the model as an `Architecture`, from which a checkpoint can be rebuilt.
"""

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from holdfast.core.errors import InputError, described, unknown_name
from holdfast.models.catalogue import MODELS
from holdfast.models.normalize import STATISTICS, Normalize, Normalized, plain
from holdfast.models.options import reason

Statistics = tuple[float | Sequence[float], float | Sequence[float]]

_UNRECORDED = ("pretrained",)  # where weights come from is no part of the architecture


@dataclass(frozen=True)
class Architecture:
    """What `build_model` needs to make a network of the same shape, as plain data.

    Args:
        name: a registered name, or `package.module:factory`.
        options: the options of the constructor, with its defaults filled in where it is registered.
        normalize: mean and standard deviation by channel, or None.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    normalize: tuple[tuple[float, ...], tuple[float, ...]] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", {key: _fixed(v) for key, v in self.options.items()})
        object.__setattr__(self, "normalize", _fixed(self.normalize))

    @property
    def foreign(self) -> bool:
        """Whether building it runs a factory from outside the library."""
        return ":" in self.name


def build_model(
    name: str,
    *,
    seed: int = 0,
    normalize: Statistics | str | None = None,
    **options: Any,
) -> nn.Module:
    """A new network on the CPU, in training mode.

    Args:
        name: a registered name, or `package.module:factory`, which is imported and called with
            `options`.
        seed: of the initial weights.
        normalize: mean and standard deviation, each a number or one per channel, in input units; or
            the name of known statistics: mnist, cifar10, cifar10-wong-kolter, imagenet.
        options: of the constructor: `input_shape`, `classes`, and the network's own.

    Returns:
        the network; `Normalized(Normalize(mean, std), network)` where `normalize` is given.

    Guarantee: equal arguments give equal bits of a registered network; the global random state of
        the CPU is as before.

    Raises:
        InputError: an unknown name or option, a wrong value, a factory that is missing, fails or
            returns no module.
        MissingExtra: the network comes from an optional package that cannot be imported.

    Example:
        >>> model = build_model("digits_conv", classes=3)
        >>> architecture_of(model).options["classes"]
        3
    """
    make = _foreign(name) if ":" in name else MODELS[name].load()
    _check_options(name, make, options)
    statistics = _statistics(normalize)
    with _seeded(seed):
        network = _call_foreign(name, make, options) if ":" in name else make(**options)
    recorded = options if ":" in name else _with_defaults(make, options)
    kept = {key: value for key, value in recorded.items() if key not in _UNRECORDED}
    if statistics is not None:
        network = Normalized(Normalize(*statistics), network)
    return record(network, Architecture(name, kept, statistics))


def record(model: nn.Module, architecture: Architecture) -> nn.Module:
    """Writes the architecture on the model, where checkpoints look for it; the same model."""
    model.__dict__["architecture"] = architecture
    return model


def architecture_of(model: nn.Module) -> Architecture | None:
    """The architecture that `build_model` wrote on the model, or None."""
    found = model.__dict__.get("architecture")
    return found if isinstance(found, Architecture) else None


def _fixed(value: Any) -> Any:
    """Lists as tuples, so that an architecture that was read from a file equals the written one."""
    return tuple(_fixed(each) for each in value) if isinstance(value, list | tuple) else value


def _statistics(
    normalize: Statistics | str | None,
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    if normalize is None:
        return None
    if isinstance(normalize, str):
        if normalize not in STATISTICS:
            raise unknown_name("normalize", normalize, STATISTICS)
        return STATISTICS[normalize]
    if not isinstance(normalize, Sequence) or len(normalize) != 2:
        raise InputError("normalize", normalize, "is not a pair", "give (mean, std)")
    pair: list[Any] = [[each] if isinstance(each, int | float) else each for each in normalize]
    layer = Normalize(*pair)
    if any(each.shape[1:] != (1, 1) for each in (layer.mean, layer.std)):
        raise InputError("normalize", normalize, "is not by channel", "give one pair per channel")
    return plain(layer.mean), plain(layer.std)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Weights drawn inside come from `seed`, on the CPU; the generator is restored."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise InputError("seed", seed, "is not a seed", "give a whole number from 0")
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        yield


def _check_options(name: str, make: Callable[..., Any], options: Mapping[str, Any]) -> None:
    try:
        parameters = inspect.signature(make).parameters
    except (TypeError, ValueError):  # a builtin without a signature: its own error will do
        return
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return
    for key in options:
        if key not in parameters:
            raise unknown_name(f"option of {name}", key, parameters)


def _with_defaults(make: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    bound = inspect.signature(make).bind(**options)
    bound.apply_defaults()
    return dict(bound.arguments)


def _foreign(name: str) -> Callable[..., Any]:
    """The user's factory."""
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise InputError("model", name, "is not package.module:factory", "name both parts")
    try:
        module = importlib.import_module(module_name)
    except Exception as cause:
        problem = f"{module_name} cannot be imported ({reason(cause)})"
        remedy = "check its name, and that it lies in the current directory or is installed"
        raise InputError("model", name, problem, remedy) from cause
    found: object = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            names = [each for each in dir(found) if not each.startswith("_")] or ["nothing"]
            error = unknown_name("model", part, names)
            problem = f"{module_name} has no {part}"
            raise InputError("model", name, problem, error.remedy)
        found = getattr(found, part)
    if isinstance(found, nn.Module) or not callable(found):
        problem = f"is a {type(found).__name__}, not a function that makes a network"
        raise InputError("model", name, problem, "name a function or a class")
    return found


def _call_foreign(name: str, make: Callable[..., Any], options: Mapping[str, Any]) -> nn.Module:
    try:
        network = make(**options)
    except Exception as cause:
        problem = f"the factory failed ({reason(cause)})"
        raise InputError("model", name, problem, "correct it or its options") from cause
    if not isinstance(network, nn.Module):
        kind = described(f"{name} returned {type(network).__name__}")
        raise InputError("model", kind, "is not a torch.nn.Module", "return one")
    return network
