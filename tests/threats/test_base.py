import copy
import math
import pickle

import pytest
import torch

from holdfast.core.errors import InputError, UnsupportedThreat
from holdfast.core.random import Keys
from holdfast.threats import L1, L2, Linf
from holdfast.threats.base import unboxed

torch.set_num_threads(1)
KINDS = (Linf, L2, L1)
RADIUS = {Linf: 0.1, L2: 0.6, L1: 2.0}
B, EVENT = 3, (2, 5, 4)
N = math.prod(EVENT)
kinds = pytest.mark.parametrize("kind", KINDS)


def inputs(dtype=torch.float64, event=EVENT):
    keys = Keys.of(0, range(B))
    x = keys.fold("x").uniform(event, low=-0.2, high=1.2).clamp(0, 1).to(dtype)
    return x, x + keys.fold("far").normal(event).to(dtype)


def radii(kind):
    weights = Keys.of(1, range(B)).uniform(EVENT, low=0.2, high=2.0).double() * RADIUS[kind]
    return {
        "number": RADIUS[kind],
        "text": "8/255",
        "example": torch.tensor([0.5, 1.0, 1.7]).double() * RADIUS[kind],
        "event": weights[0],
        "both": weights,
    }


def scaled(radius, factor):
    return radius * factor.view(B, 1, 1, 1)


@kinds
@pytest.mark.parametrize("which", ["number", "text", "example", "event", "both"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("box", [(0.0, 1.0), None])
@pytest.mark.parametrize("projection", ["exact", "clip"])
def test_projections_and_samples_are_contained_and_in_the_hull(kind, which, dtype, box, projection):
    threat = kind(radii(kind)[which], box=box, projection=projection)
    x, far = inputs(dtype)
    low, high = threat.hull(x)
    assert threat.contains(x, x).all()
    for point in (threat.project(far, x), threat.sample(x, keys=Keys.of(2, range(B)))):
        assert point.dtype == dtype
        assert threat.contains(point, x).all()
        size = threat.size(point, x).double()
        grown = size if which in ("number", "text", "example") else scaled(threat.radius, size)
        assert threat.at(grown).contains(point, x).all()
        assert not threat.at(0.999 * grown - 1e-5).contains(point, x).any()
        assert ((point >= low) & (point <= high)).all()
    assert not threat.contains(far, x).any()


@kinds
def test_per_example_and_per_feature_radii_equal_a_loop_over_numbers(kind):
    """A constant tensor of any shape acts as the number; rows of (B,) act one by one."""
    x, far = inputs()
    each = radii(kind)["example"]
    v = Keys.of(3, range(B)).normal((4, *EVENT)).double()
    keys = Keys.of(2, range(B))

    def everything(threat, rows):
        x_, far_, v_ = x[rows], far[rows], v[rows]
        return [
            threat.project(far_, x_),
            threat.contains(far_, x_).double(),
            threat.size(threat.project(far_, x_), x_)
            / torch.as_tensor(threat.reach, dtype=x.dtype),
            threat.sample(x_, keys=keys[rows]),
            threat.steepest(far_ - x_, threat.reach),
            *threat.hull(x_),
            threat.support(v_, x_),
        ]

    together = everything(kind(each), slice(None))
    features = everything(kind(each.view(B, 1, 1, 1).expand(B, *EVENT)), slice(None))
    for i in range(B):
        alone = everything(kind(each[i].item()), slice(i, i + 1))
        shared = everything(kind(each[i].expand(EVENT)), slice(i, i + 1))
        for a, t, f, s in zip(alone, together, features, shared, strict=True):
            for other in (t[i : i + 1], f[i : i + 1], s):
                torch.testing.assert_close(other, a, atol=1e-12, rtol=1e-12)


@kinds
def test_contains_has_the_stated_tolerance(kind):
    x = torch.full((1, 2), 0.5, dtype=torch.float64)
    along = torch.tensor([[1.0, 0.0]]).double()
    for radius, tolerance in ((0.25, 1e-6), (3.0, 3e-6)):
        threat = kind(radius, box=None)
        assert threat.contains(x + along * (radius + 0.99 * tolerance), x).all()
        assert not threat.contains(x + along * (radius + 1.01 * tolerance), x).any()
    features = kind(torch.tensor([[0.25, 0.0]]).double(), box=None)
    assert features.contains(x + along * (0.25 + 0.99e-6), x).all()
    assert not features.contains(x + along * (0.25 + 1.01e-6), x).any()
    assert not features.contains(x + along.flip(1) * 1.01e-6, x).any()
    threat = kind(3.0)
    assert threat.contains(x + along * (0.5 + 0.99e-6), x).all()
    assert not threat.contains(x + along * (0.5 + 1.01e-6), x).any()
    assert not threat.contains(x - along * (0.5 + 1.01e-6), x).any()


@kinds
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_is_never_contained(kind, bad):
    x, _ = inputs()
    spoiled = x.clone()
    spoiled[1, 0, 0, 0] = bad
    for threat in (kind(0.1), kind(math.inf), kind(math.inf, box=None)):
        assert threat.contains(spoiled, x).tolist() == [True, False, True]


def test_size_is_the_norm_or_the_smallest_factor_on_the_radii():
    x = torch.zeros(2, 3)
    move = torch.tensor([[0.3, -0.4, 0.0], [0.0, 0.0, 0.0]])
    for kind, size in ((Linf, 0.4), (L2, 0.5), (L1, 0.7)):
        torch.testing.assert_close(kind(9.0).size(move, x), torch.tensor([size, 0.0]))
        factor = kind(torch.tensor([[0.3, 0.4, 0.0]])).size(move, x)
        expected = {Linf: 1.0, L2: math.sqrt(2), L1: 2.0}[kind]
        torch.testing.assert_close(factor, torch.tensor([expected, 0.0]))
    fixed = Linf(torch.tensor([[0.0, 1.0, 1.0]]))
    assert fixed.size(move, x).tolist() == [math.inf, 0.0]


@kinds
@pytest.mark.parametrize("which", ["number", "example", "event", "both"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_hull_covers_the_extreme_points_that_contains_accepts(kind, which, dtype):
    """Along each axis, the farthest accepted point lies in the hull and hardly inside it."""
    x, _ = inputs(dtype)
    threat = kind(radii(kind)[which])
    low, high = threat.hull(x)
    for side, bound in ((-1.0, low), (1.0, high)):
        for place in range(0, N, 7):
            along = torch.zeros(N, dtype=dtype)
            along[place] = side
            along = along.view(EVENT)
            near, far = torch.zeros(B, 1, 1, 1), torch.full((B, 1, 1, 1), 9.0)
            for _ in range(40):
                half = (near + far) / 2
                good = threat.contains((x + along * half).to(dtype), x).view(B, 1, 1, 1)
                near, far = torch.where(good, half, near), torch.where(good, far, half)
            reached = (x + along * near).to(dtype)[..., :].flatten(1)[:, place]
            gap = side * (bound.flatten(1)[:, place] - reached)
            assert (gap >= 0).all()
            assert (gap <= 1e-6).all()


@kinds
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_first_number_outside_the_hull_is_not_accepted(kind, dtype):
    x = Keys.of(0, range(3000)).uniform((1,), low=-5, high=5).to(dtype)
    for tenths in range(1, 30):
        threat = kind(tenths / 10, box=None)
        low, high = threat.hull(x)
        assert not threat.contains(torch.nextafter(low, low - 1), x).any()
        assert not threat.contains(torch.nextafter(high, high + 1), x).any()


@kinds
def test_accepted_is_the_set_of_contains_as_a_threat(kind):
    x, far = inputs()
    for radius in (RADIUS[kind], radii(kind)["both"]):
        threat = kind(radius)
        wide = threat.accepted()
        edge = wide.project(far, x)
        inner = x + (edge - x) * (1 - 1e-9)
        assert threat.contains(inner, x).all()
        assert not threat.contains(x + (edge - x) * 1.00001, x).any()
        low, high = threat.hull(x)
        unit = torch.eye(N, dtype=x.dtype).view(1, N, *EVENT).expand(B, N, *EVENT)
        torch.testing.assert_close(wide.support(unit, x), high.flatten(1), atol=1e-14, rtol=0)
        torch.testing.assert_close(-wide.support(-unit, x), low.flatten(1), atol=1e-14, rtol=0)


@kinds
@pytest.mark.parametrize("which", ["number", "example", "event", "both"])
def test_rows_follow_their_examples(kind, which):
    x, far = inputs()
    threat = kind(radii(kind)[which])
    whole = threat.project(far, x)
    mask = torch.tensor([True, False, True])
    once = threat.rows(mask)
    assert torch.equal(once.project(far[mask], x[mask]), whole[mask])
    twice = once.rows(torch.tensor([1, 0, 1]))
    order = torch.tensor([2, 0, 2])
    assert torch.equal(twice.project(far[order], x[order]), whole[order])
    assert torch.equal(twice.accepted().hull(x[order])[0], threat.accepted().hull(x)[0][order])


def test_rows_of_a_shared_radius_are_the_threat_itself():
    threat = L2(0.5)
    assert threat.rows(torch.tensor([True, False])) is threat


@kinds
def test_equal_content_is_equal_and_hashes_equally(kind):
    values = torch.tensor([0.1, 0.2])
    same = [kind(values), kind(values.clone()), copy.deepcopy(kind(values))]
    same.append(pickle.loads(pickle.dumps(kind(values))))
    same.append(kind(torch.tensor([0.1, 0.9, 0.2])).rows(torch.tensor([0, 2])))
    assert len(set(same)) == 1
    others = [kind(values + 0.1), kind(values.view(2, 1)), kind(0.1), kind(values, box=None)]
    others += [kind(values, projection="clip"), *(k(values) for k in KINDS if k is not kind)]
    assert len({same[0], *others}) == 1 + len(others)
    assert kind("8/255") == kind(8 / 255)
    assert hash(kind("8/255")) == hash(kind(8 / 255))


@kinds
def test_hull_and_support_pass_gradients_to_the_radius(kind):
    x, _ = inputs()
    v = Keys.of(3, range(B)).normal((4, *EVENT)).double()
    radius = radii(kind)["both"].clone().requires_grad_(True)
    threat = kind(radius)
    low, high = threat.hull(x)
    (high.sum() - low.sum() + threat.support(v, x).sum()).backward()
    assert (radius.grad >= 0).all()
    assert (radius.grad > 0).any()


@kinds
def test_bad_input_names_the_argument_and_the_remedy(kind):
    x, _ = inputs()
    for radius, words in (
        (-0.1, "negative"),
        (math.nan, "not a number"),
        ("wide", "not a number"),
        (torch.tensor([0.1, -0.1]), "negative"),
        (torch.tensor([0.1, math.nan]), "NaN"),
        (torch.tensor([1, 2]), "int64"),
    ):
        with pytest.raises(InputError, match=rf"^radius=.*{words}"):
            kind(radius)
    for box in ((1, 0), (0, math.inf), (0, 1, 2), 3):
        with pytest.raises(InputError, match=r"^box="):
            kind(0.1, box=box)
    with pytest.raises(InputError, match="did you mean 'clip'"):
        kind(0.1, projection="clipp")
    with pytest.raises(InputError, match=r"give one per example, \(3,\), or per feature"):
        kind(torch.rand(4)).project(x, x)
    with pytest.raises(InputError, match=r"^x_adv=.*shape \(3, 2, 5, 4\)"):
        kind(0.1).contains(x[:1], x)
    with pytest.raises(InputError, match="random start"):
        kind(math.inf).sample(x, keys=Keys.of(0, range(B)))


def test_a_tensor_with_one_axis_is_per_example_also_where_it_would_fit_the_features():
    x = torch.full((2, 2), 0.5)
    radius = torch.tensor([0.1, 0.3])
    assert Linf(radius).hull(x)[1][1, 0].item() == pytest.approx(0.8, abs=1e-5)
    with pytest.raises(InputError, match=r"\(1, 2\)"):
        Linf(radius).hull(x[:1])
    assert Linf(radius[None]).hull(x[:1])[1][0, 1].item() == pytest.approx(0.8, abs=1e-5)


@kinds
def test_a_number_in_a_tensor_is_a_number(kind):
    assert kind(torch.tensor(0.5)) == kind(0.5)
    assert kind(0.5).at(torch.tensor([0.5])) != kind(0.5)
    assert kind(0.5, box=None, projection="clip").at(2) == kind(2.0, box=None, projection="clip")


def test_without_its_box_a_ball_is_the_same_ball():
    x, keys = torch.zeros(3, 50), Keys.of(0, range(3))
    assert (Linf(0.1).unboxed().sample(x, keys=keys) < 0).any()
    assert unboxed(L2(0.1, projection="clip"), "-") == L2(0.1, box=None, projection="clip")
    some = Linf(torch.tensor([0.1, 0.2, 0.3])).rows(torch.tensor([2, 0]))
    assert torch.equal(some.unboxed().radius, some.radius)
    with pytest.raises(UnsupportedThreat, match="object is no norm ball without its box; do this"):
        unboxed(object(), "do this")


@kinds
def test_a_random_start_has_the_layout_of_the_inputs(kind):
    x = torch.rand(B, *EVENT)
    wide, keys = x.to(memory_format=torch.channels_last), Keys.of(0, range(B))
    found = kind(RADIUS[kind]).sample(wide, keys=keys)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(found, kind(RADIUS[kind]).sample(x, keys=keys))
