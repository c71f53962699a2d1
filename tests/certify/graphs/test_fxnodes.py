import pytest
import torch
import torch.nn.functional as F
from torch import nn

from certify.nets import Function
from holdfast.certify.graphs.exporting import export
from holdfast.certify.graphs.fxnodes import (
    base_name,
    mutates,
    named_arguments,
    path,
    place,
    unpredictable,
)


def _calls(model):
    graph = export(model, torch.zeros(2, 6)).graph
    return [node for node in graph.nodes if node.op == "call_function"]


def test_names_lose_overload_and_in_place_mark():
    nodes = _calls(Function(lambda x: F.relu(x + 1, inplace=True)))
    assert [(base_name(node), mutates(node)) for node in nodes] == [("add", False), ("relu", True)]


def test_arguments_have_names_and_defaults():
    (node,) = _calls(Function(lambda x: torch.add(x, 3, alpha=2)))
    found = named_arguments(node, (node.args, node.kwargs))
    assert (found["other"], found["alpha"]) == (3, 2)
    (node,) = _calls(Function(lambda x: x.flatten(1)))
    assert named_arguments(node, (node.args, node.kwargs))["end_dim"] == -1


def test_places_name_the_module():
    inner, outer = _calls(nn.Sequential(nn.Linear(6, 3), Function(torch.relu)))
    assert (path(inner), path(outer)) == ("0", "1")
    assert place(inner) == "at '0' (node linear)"
    (own,) = _calls(Function(torch.relu))
    assert (path(own), place(own)) == ("", "in the model (node relu)")


@pytest.mark.parametrize(
    ("function", "word"),
    [
        (torch.rand_like, "random"),
        (lambda x: F.dropout(x, 0.5, True), "random"),
        (lambda x: F.dropout(x, 0.5, False), None),
        (torch.empty_like, "filled"),
        (torch.zeros_like, None),
    ],
)
def test_what_another_call_would_change_is_said(function, word):
    (node,) = _calls(Function(function))
    found = unpredictable(node)
    assert (found is None) == (word is None)
    assert word is None or word in found
