import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.errors import InputError
from holdfast.threats import L1, L2, Linf, as_threat, parse

finite = st.floats(-100, 100, allow_nan=False)
boxes = st.one_of(
    st.none(), st.just((0.0, 1.0)), st.tuples(finite, finite).filter(lambda box: box[0] < box[1])
)


@given(
    st.sampled_from([Linf, L2, L1]),
    st.one_of(st.floats(0, 1e6), st.integers(0, 300).map(lambda k: k / 255), st.just(math.inf)),
    boxes,
    st.sampled_from(["exact", "clip"]),
)
def test_round_trip(kind, radius, box, projection):
    threat = kind(radius, box=box, projection=projection)
    assert parse(threat.text) == threat
    assert str(threat) == threat.name == threat.text


@pytest.mark.parametrize(
    ("text", "threat"),
    [
        ("linf:8/255", Linf(8 / 255)),
        ("linf:0.3", Linf(0.3)),
        ("l2:0.5,box=none", L2(0.5, box=None)),
        ("linf:0.1,box=-1:1", Linf(0.1, box=(-1, 1))),
        ("l1:12,projection=clip", L1(12, projection="clip")),
        ("l2:inf", L2(math.inf)),
    ],
)
def test_known_texts(text, threat):
    assert parse(text) == threat
    assert threat.text == text


def test_spaces_and_capitals_do_not_matter():
    assert parse(" Linf : 8/255 , box = none ") == Linf("8/255", box=None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("linff:0.3", "did you mean 'linf'"),
        ("l2", "has no radius"),
        ("l2:", "has no radius"),
        ("l2:wide", "radius='wide': is not a number"),
        ("l2:-1", "radius=.*negative"),
        ("l2:0.5,bix=none", "did you mean 'box'"),
        ("l2:0.5,box", "write box=value"),
        ("l2:0.5,box=0", "write box=0:1"),
        ("l2:0.5,box=1:0", "is not an interval"),
        ("l2:0.5,box=none,box=none", "given twice"),
        ("l2:0.5,projection=clipped", "did you mean 'clip'"),
        ("l2:0.5,", "threat option"),
    ],
)
def test_errors_say_what_to_write(text, message):
    with pytest.raises(InputError, match=message):
        parse(text)


def test_as_threat_takes_threats_and_texts():
    threat = L2(0.5)
    assert as_threat(threat) is threat
    assert as_threat("l2:0.5") == threat
    for other in (0.5, None):
        with pytest.raises(InputError, match="is not a threat"):
            as_threat(other)
    with pytest.raises(InputError, match="is not a text"):
        parse(0.5)


def test_a_tensor_radius_has_no_text():
    import torch

    threat = Linf(torch.tensor([0.1, 0.2]))
    for attribute in ("text", "name"):
        with pytest.raises(InputError, match="no text form"):
            getattr(threat, attribute)
    assert str(threat) == "linf:tensor of shape (2,)"
