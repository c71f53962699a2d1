from holdfast.certify import BOUNDS, Interval
from holdfast.core.recipes import build, kind_of, to_dict


def test_every_entry_loads_and_says_what_it_is_worth():
    for entry in BOUNDS.values():
        assert callable(entry.load().bound)
        assert entry.source
        assert entry.guarantee
        assert entry.cost


def test_interval_is_built_from_a_table_and_back():
    method = build(BOUNDS["interval"].load(), {"mode": "fast"})
    assert method == Interval(mode="fast")
    assert kind_of(method, BOUNDS) == "interval"
    assert to_dict(method) == {"mode": "fast", "first_layer": "hull"}
