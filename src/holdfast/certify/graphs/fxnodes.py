"""What a node of an exported program says about itself: its operation, arguments and place."""

from typing import Any

import torch
from torch.fx import Node as FxNode

_UNFILLED = frozenset(("empty", "empty_like", "empty_strided", "empty_permuted")) | frozenset(
    ("new_empty", "new_empty_strided")
)


def base_name(node: FxNode) -> str:
    """The base name of the operation, without overload and in-place mark."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return getattr(node.target, "__name__", str(node.target))
    base = schema.name.rpartition("::")[2]
    return base.removesuffix("_") if schema.is_mutable else base


def named_arguments(node: FxNode, arguments: Any) -> dict[str, Any]:
    """The arguments by the names of the operation's schema, defaults filled in.

    Args:
        node: a call of an operation.
        arguments: its positional and named arguments, a pair.
    """
    target: Any = node.target
    args, kwargs = arguments
    named = {each.name: each.default_value for each in target._schema.arguments}
    named |= dict(zip((each.name for each in target._schema.arguments), args, strict=False))
    return named | kwargs


def mutates(node: FxNode) -> bool:
    """Whether the operation changes one of its arguments."""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable


def unpredictable(node: FxNode) -> str | None:
    """Why another call would give another value, if it would: it is random, or memory as found.

    A dropout that is told not to drop is neither.
    """
    if base_name(node) in _UNFILLED:
        return "reads memory that nothing has filled; use torch.zeros"
    if torch.Tag.nondeterministic_seeded not in getattr(node.target, "tags", ()):
        return None
    arguments = named_arguments(node, (node.args, node.kwargs))
    if arguments.get("train", True) is False:
        return None
    return "is random; a model that is bounded must be deterministic in evaluation mode"


def path(node: FxNode) -> str:
    """The path of the module that calls the operation; empty for the model itself."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return stack[-1][0] if stack and not stack[-1][0].startswith("_") else ""


def place(node: FxNode) -> str:
    """Where the node stands, for messages."""
    where = path(node)
    return f"at '{where}' (node {node.name})" if where else f"in the model (node {node.name})"
