import dataclasses

import pytest

from holdfast.training.events import Warned


def test_events_are_records():
    event = Warned("look")
    assert event == Warned("look")
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.text = "away"
