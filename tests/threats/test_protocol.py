import pytest
import torch

from holdfast.threats import L1, L2, Linf
from holdfast.threats.protocol import Boundable, Membership, Searchable, Threat


@pytest.mark.parametrize("kind", [Linf, L2, L1])
def test_balls_offer_every_operation(kind):
    threat: Threat = kind(torch.tensor([0.1, 0.2]))
    for protocol in (Membership, Searchable, Boundable):
        assert isinstance(threat, protocol)
    asked = {name for base in Threat.__mro__ for name in vars(base) if not name.startswith("_")}
    assert {"project", "hull", "text"} <= asked
    assert asked <= set(dir(threat))


def test_a_text_is_not_a_threat():
    assert not isinstance("linf:0.3", Membership)
