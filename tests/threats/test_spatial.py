import copy
import math
import pickle

import pytest
import torch
from torch.nn.functional import pad

from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.threats.protocol import Searchable
from holdfast.threats.spatial import COLUMNS, Spatial

torch.set_num_threads(1)
B, EVENT = 3, (2, 7, 6)
FULL = Spatial(rotation=30, translation=3, scale=0.1, flip=True)
CROP = Spatial(rotation=10, scale=0.1, flip=True, crop=4, padding="reflect")
THREATS = {
    "spatial": Spatial(),
    "spatial:rot=30,shift=3,scale=0.1,flip=1": FULL,
    "spatial:shift=10%": Spatial(translation="10%"),
    "spatial:scale=0.8:1.1,padding=border,box=none": Spatial(
        scale=(0.8, 1.1), padding="border", box=None
    ),
    "spatial:rot=10,scale=0.1,flip=1,crop=4,padding=reflect": CROP,
    "spatial:rot=7.5,box=-1:1": Spatial(rotation=7.5, box=(-1, 1)),
}
threats = pytest.mark.parametrize("threat", THREATS.values(), ids=str)


def images(dtype=torch.float32):
    return Keys.of(0, range(B)).uniform(EVENT).to(dtype)


def params(rotation=0.0, shift_x=0.0, shift_y=0.0, scale=1.0, flip=0.0):
    return torch.tensor([rotation, shift_x, shift_y, scale, flip])


@pytest.mark.parametrize(("text", "threat"), THREATS.items())
def test_texts_round_trip(text, threat):
    assert threat.text == threat.name == str(threat) == text
    assert Spatial.from_text(text) == threat
    assert pickle.loads(pickle.dumps(threat)) == copy.deepcopy(threat) == threat
    assert hash(Spatial.from_text(text)) == hash(threat)


def test_spaces_and_capitals_of_the_name_do_not_matter():
    assert Spatial.from_text(" Spatial : rot = 30 , flip = true ") == Spatial(
        rotation=30, flip=True
    )
    assert Spatial.from_text("spatial:") == Spatial()


@threats
def test_the_identity_is_exact_and_in_the_set(threat):
    for dtype in (torch.float32, torch.float64):
        x = images(dtype)
        same = threat.identity(x)
        assert torch.equal(threat.apply(same, x), x)
        assert threat.contains(x, x, params=same).all()
        assert threat.size(same).eq(0).all()


@threats
def test_drawn_images_are_contained_with_their_parameters(threat):
    x, keys = images(), Keys.of(3, range(B))
    for step in range(4):
        drawn = threat.draw(keys, step)[:, 0]
        point = threat.sample(x, keys=keys, step=step)
        assert point.dtype == x.dtype
        assert threat.contains(point, x, params=drawn).all()
        assert threat.size(drawn).le(1 + 1e-5).all()
        assert threat.box is None or bool(((point >= 0) & (point <= 1)).all())
    if threat.size(drawn).any():
        assert not threat.contains(x, x, params=drawn).any()


def test_membership_needs_the_range_and_the_image():
    x = images()
    for bad in (
        params(rotation=31),
        params(shift_x=-3.1),
        params(scale=1.11),
        params(flip=0.6),
        params(rotation=math.nan),
    ):
        point = FULL.apply(bad, x)
        assert not FULL.contains(point, x, params=bad).any()
    good = params(rotation=-30, shift_y=3, scale=0.9, flip=1)
    point = FULL.apply(good, x)
    assert FULL.contains(point, x, params=good).all()
    point[1, 0, 2, 3] += 1e-5
    assert FULL.contains(point, x, params=good).tolist() == [True, False, True]


def test_one_warp_does_all_of_it_with_one_row_of_parameters_each():
    x = images()
    rows = torch.stack([params(), params(shift_x=2, shift_y=-1), params(flip=1, shift_x=1)])
    point = FULL.apply(rows, x)
    assert torch.equal(point[0], x[0])
    expected = pad(x[1], (2, 0, 0, 1))[:, 1:, :6]
    assert torch.equal(point[1], expected)
    assert torch.equal(point[2], pad(x[2].flip(2), (1, 0))[:, :, :6])
    assert torch.equal(FULL.apply(rows[1], x[1:2])[0], point[1])


def test_shares_of_the_side_shift_by_width_and_height():
    threat = Spatial(translation="50%")
    x = images()
    point = threat.apply(params(shift_x=0.5, shift_y=0.0), x)
    assert torch.equal(point, pad(x, (3, 0))[..., :6])
    point = threat.apply(params(shift_y=-0.5), images()[:, :, :4])
    assert torch.equal(point, pad(x[:, :, :4], (0, 0, 0, 2))[:, :, 2:])


def test_a_crop_is_that_of_the_padded_image():
    """At scale 1 the room is 8 pixels along each axis, whatever the side."""
    x = Keys.of(0, range(B)).uniform((2, 9, 7))
    large = pad(x, (4, 4, 4, 4), mode="reflect")
    for top, left in ((0, 0), (8, 3), (4, 4), (1, 8)):
        place = params(shift_x=1 - left / 4, shift_y=1 - top / 4)
        expected = large[:, :, top : top + 9, left : left + 7]
        assert torch.equal(CROP.apply(place, x), expected)
    scaled = CROP.apply(params(shift_x=1, scale=1.1), x)
    shifted = Spatial(translation=9, scale=0.1, padding="reflect")
    room = (7 + 8) * 1.1 - 7
    torch.testing.assert_close(scaled, shifted.apply(params(shift_x=room / 2, scale=1.1), x))


def test_draws_are_uniform_and_those_of_the_key():
    keys = Keys.of(1, range(B))
    three = FULL.draw(keys, count=3)
    assert torch.equal(FULL.draw(keys, count=2), three[:, :2])
    order = torch.tensor([2, 0])
    assert torch.equal(FULL.draw(keys[order], count=3), three[order])
    x = images()
    alone = FULL.sample(x[order], keys=keys[order])
    assert torch.equal(alone, FULL.sample(x, keys=keys)[order])
    steps = FULL.draw(keys, torch.tensor([0, 1, 0]), count=3) != three
    assert steps.flatten(1).any(1).tolist() == [False, True, False]
    many = CROP.draw(Keys.of(0, [0]), count=4000)[0].double()
    ranks = torch.arange(1, 4001) / 4000
    for column, (low, high) in enumerate(CROP.ranges[:4]):
        share = (many[:, column].sort().values - low) / (high - low)
        assert (share - ranks).abs().max() < 0.031
    assert many[:, 4].unique().tolist() == [0, 1]
    assert many[:, 4].mean().item() == pytest.approx(0.5, abs=0.032)
    alone = Spatial(rotation=5).draw(keys, count=4)
    assert torch.equal(alone[..., 1:], params()[1:].expand(B, 4, 4))


def test_the_grid_is_that_of_the_paper_and_holds_the_identity():
    grid = Spatial(rotation=30, translation=3).grid()
    assert grid.shape == (31 * 5 * 5, len(COLUMNS))
    assert grid[:, 0].unique().tolist() == list(range(-30, 31, 2))
    assert grid[:, 1].unique().tolist() == [-3, -1.5, 0, 1.5, 3]
    assert len(grid.unique(dim=0)) == len(grid)
    assert (grid == params()).all(1).sum() == 1
    full = FULL.grid(rotations=3, shifts=1, scales=5)
    assert len(full) == 3 * 5 * 2
    assert (full == params()).all(1).sum() == 1
    assert FULL.size(full).max().item() == 1
    assert len(Spatial().grid()) == 1


def test_size_is_the_largest_share_of_a_range():
    rows = torch.stack([params(rotation=-15), params(shift_x=1.5, scale=1.09), params(flip=1)])
    torch.testing.assert_close(FULL.size(rows), torch.tensor([0.5, 0.9, 1.0]))
    assert Spatial(rotation=5).size(params(shift_x=0.1)[None]).isposinf().all()
    uneven = Spatial(scale=(0.5, 1.2))
    torch.testing.assert_close(uneven.size(params(scale=0.75)[None]), torch.tensor([0.5]))


def test_gradients_reach_the_image_and_the_parameters():
    x = images(torch.float64)[:, :1, :4, :5].requires_grad_(True)
    rows = params(rotation=17.3, shift_x=0.37, shift_y=-0.81, scale=1.05).double()
    rows = rows.expand(B, -1).clone().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda w, x: FULL.apply(w, x)[:, 0], (rows, x))


def test_results_are_clipped_to_the_box():
    x = images().clamp(0.3, 0.8)
    point = Spatial(translation=3, box=(0.3, 0.8)).apply(params(shift_x=3), x)
    assert point.min().item() == pytest.approx(0.3)
    assert Spatial(translation=3, box=None).apply(params(shift_x=3), x).min() == 0


def test_gradient_attacks_do_not_take_it_for_a_ball():
    assert not isinstance(FULL, Searchable)
    assert FULL.rows(torch.tensor([0])) is FULL


@pytest.mark.gpu
@threats
def test_cuda_agrees_with_the_cpu(threat):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    x, keys = images(), Keys.of(3, range(B))
    here = threat.draw(keys)[:, 0]
    there = threat.draw(keys.to("cuda"))[:, 0]
    torch.testing.assert_close(there.cpu(), here)
    assert threat.contains(threat.apply(there, x.cuda()).cpu(), x, params=here).all()
    assert torch.equal(threat.apply(threat.identity(x.cuda()), x.cuda()).cpu(), x)
    assert threat.contains(threat.sample(x, keys=keys).cuda(), x.cuda(), params=here).all()
    for size in ((3, 32, 32), (3, 224, 224)):
        large = Keys.of(0, range(B)).uniform(size)
        point = threat.apply(here.cuda(), large.cuda())
        assert threat.contains(point.cpu(), large, params=here).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("spatal:rot=30", "did you mean 'spatial'"),
        ("spatial:rott=30", "did you mean 'rot'"),
        ("spatial:rot", "write rot=value"),
        ("spatial:rot=wide", "rotation='wide': is not a number"),
        ("spatial:rot=-3", "rotation=.*give a value >= 0"),
        ("spatial:rot=3,rot=3", "given twice"),
        ("spatial:shift=-1", "translation=.*is negative"),
        ("spatial:shift=-1%", "translation=.*is negative"),
        ("spatial:shift=a%", "translation='a': is not a number"),
        ("spatial:scale=1", "is no range of factors"),
        ("spatial:scale=1.1:1.3", "is no range of factors"),
        ("spatial:scale=1.2:0.8", "is no range of factors"),
        ("spatial:flip=2", "is neither 0 nor 1"),
        ("spatial:crop=4,shift=3", "give one of them"),
        ("spatial:padding=mirror", "padding='mirror': is not known"),
        ("spatial:box=1:0", "is not an interval"),
        ("spatial:rot=inf", "rotation=inf: has no end"),
        ("spatial:shift=inf%", "translation=inf: has no end"),
    ],
)
def test_errors_say_what_to_write(text, message):
    with pytest.raises(InputError, match=message):
        Spatial.from_text(text)


def test_bad_input():
    x = images()
    with pytest.raises(InputError, match=r"params=None: are needed.*kept with the result"):
        FULL.contains(x, x)
    with pytest.raises(InputError, match="holds no images"):
        FULL.apply(params(), x[0])
    with pytest.raises(InputError, match="do not fit 3 images"):
        FULL.apply(torch.zeros(2, 5), x)
    with pytest.raises(InputError, match="differs from x"):
        FULL.contains(x[:, :1], x, params=params())
    with pytest.raises(InputError, match="hold one below 1"):
        FULL.grid(rotations=0)
