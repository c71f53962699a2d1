import pytest
import torch
import torch.nn.functional as F

from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.core.recipes import build, to_dict
from holdfast.data.augment import Augment, Cutout, Flip, PadCrop
from holdfast.data.catalogue import AUGMENTATIONS

SHAPE = (2, 7, 6)
STEPS = [
    PadCrop(padding=2),
    PadCrop(padding=3, mode="reflect"),
    PadCrop(padding=1, mode="value", value=0.5),
    Flip(),
    Cutout(length=3),
]
ALL = Augment(steps=(PadCrop(padding=2), Flip(), Cutout(length=3)))
CHAINS = [*(Augment(steps=(step,)) for step in STEPS), ALL, Augment()]


def keys(*index, seed=0):
    return Keys.of(seed, list(index))


def images(rows, kind=torch.float32, seed=0):
    levels = torch.randint(1, 256, (rows, *SHAPE), generator=torch.Generator().manual_seed(seed))
    return levels.to(kind) if kind == torch.uint8 else levels.to(kind) / 255


def survived(augment, params, rows):
    return augment.invert(augment.apply(torch.ones(rows, *SHAPE), params), params)


@pytest.mark.parametrize("augment", CHAINS)
@pytest.mark.parametrize("kind", [torch.float32, torch.uint8])
def test_apply_then_invert_is_the_image_on_what_survived(augment, kind):
    x = images(40, kind)
    params = augment.draw(keys(*range(40)), SHAPE)
    back = augment.invert(augment.apply(x, params), params)
    seen = survived(augment, params, 40)
    assert set(seen.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(back, torch.where(seen.bool(), x, 0))
    assert back.dtype == kind
    assert seen.mean() > 0.4


@pytest.mark.parametrize("augment", CHAINS)
def test_invert_then_apply_is_the_perturbation_on_what_survived(augment):
    delta = images(40)
    params = augment.draw(keys(*range(40)), SHAPE)
    mirrored = [step for step in augment.steps if isinstance(step, PadCrop) and step.mode != "zero"]
    if mirrored:
        augment = Augment(steps=(PadCrop(padding=mirrored[0].padding),))
    again = augment.apply(augment.invert(delta, params), params)
    assert torch.equal(again[again != 0], delta[again != 0])
    assert (again != 0).float().mean() > 0.4


@pytest.mark.parametrize("augment", CHAINS)
def test_an_example_does_not_depend_on_its_batch(augment):
    x = images(5)
    params = augment.draw(keys(8, 3, 11, 0, 6), SHAPE)
    alone = augment.draw(keys(11), SHAPE)
    assert all(torch.equal(a[2:3], b) for a, b in zip(params, alone, strict=True))
    assert torch.equal(augment.apply(x, params)[2:3], augment.apply(x[2:3], alone))
    turned = augment.draw(keys(6, 0, 11, 3, 8), SHAPE)
    assert torch.equal(augment.apply(x.flip(0), turned).flip(0), augment.apply(x, params))


@pytest.mark.parametrize("step", STEPS)
def test_same_key_same_params_and_other_epoch_other_params(step):
    one = keys(*range(30))
    assert torch.equal(step.draw(one.fold(1), SHAPE), step.draw(one.fold(1), SHAPE))
    assert not torch.equal(step.draw(one.fold(1), SHAPE), step.draw(one.fold(2), SHAPE))
    other = keys(*range(30), seed=1)
    assert not torch.equal(step.draw(one, SHAPE), step.draw(other, SHAPE))


def test_no_global_generator_is_read_or_set():
    state = torch.get_rng_state()
    ALL.apply(images(3), ALL.draw(keys(1, 2, 3), SHAPE))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("mode", "name"), [("zero", "constant"), ("reflect", "reflect")])
def test_pad_crop_is_padding_then_cropping(mode, name):
    step = PadCrop(padding=3, mode=mode)
    x = images(9)
    params = step.draw(keys(*range(9)), SHAPE)
    padded = F.pad(x, (3, 3, 3, 3), mode=name)
    wanted = [padded[i, :, a : a + 7, b : b + 6] for i, (a, b) in enumerate(params.tolist())]
    assert torch.equal(step.apply(x, params), torch.stack(wanted))


def test_pad_crop_with_a_value():
    step = PadCrop(padding=2, mode="value", value=0.5)
    params = torch.tensor([[0, 4], [2, 2]])
    out = step.apply(images(2), params)
    assert (out[0, :, :2] == 0.5).all()
    assert (out[0, :, :, 4:] == 0.5).all()
    assert torch.equal(out[1], images(2)[1])


def test_offsets_are_uniform_over_the_whole_padded_image():
    # 2,000 draws over 5 offsets: 400 each, sd 17.9; all ten counts within 5 sd.
    params = PadCrop(padding=2).draw(keys(*range(2000)), SHAPE)
    for axis in range(2):
        counts = params[:, axis].bincount(minlength=5)
        assert len(counts) == 5
        assert ((counts - 400).abs() < 90).all()


def test_flip_mirrors_half():
    x = images(2000)
    step = Flip()
    params = step.draw(keys(*range(2000)), SHAPE)
    assert abs(params.float().mean() - 0.5) < 0.056  # 5 sd
    out = step.apply(x, params)
    assert torch.equal(out[params], x[params].flip(-1))
    assert torch.equal(out[~params], x[~params])
    assert not Flip(p=0).draw(keys(*range(99)), SHAPE).any()
    assert Flip(p=1).draw(keys(*range(99)), SHAPE).all()


def test_cutout_zeroes_one_square_inside():
    x = images(500)
    step = Cutout(length=3)
    params = step.draw(keys(*range(500)), SHAPE)
    out = step.apply(x, params)
    assert ((out == 0).flatten(2).sum(-1) == 9).all()
    assert params.amin(0).tolist() == [0, 0]
    assert params.amax(0).tolist() == [4, 3]
    a, b = params[7].tolist()
    assert not out[7, :, a : a + 3, b : b + 3].any()
    whole = Cutout(length=6)
    assert (whole.apply(x, whole.draw(keys(*range(500)), (2, 6, 6))) == 0).any()


def test_cutout_of_any_length_has_its_area_and_none_is_the_identity():
    x = torch.ones(40, 2, 7, 6)
    for length in range(7):
        step = Cutout(length=length)
        out = step.apply(x, step.draw(keys(*range(40)), SHAPE))
        assert ((out == 0).flatten(2).sum(-1) == length**2).all()
    assert torch.equal(Cutout(length=0).apply(images(3), torch.tensor([[7, 0]] * 3)), images(3))


def test_steps_in_one_chain_are_independent():
    pair = Augment(steps=(Flip(), Flip()))
    one, two = pair.draw(keys(*range(200)), SHAPE)
    assert 60 < (one == two).sum() < 140  # 100 expected, sd 7.1
    longer = Augment(steps=(Flip(), Flip(), Cutout(length=2))).draw(keys(*range(200)), SHAPE)
    assert torch.equal(one, longer[0])


@pytest.mark.parametrize("augment", CHAINS)
def test_carry_and_store_are_the_identity_on_the_window(augment):
    frame = augment.frame(SHAPE)
    stored = torch.rand(9, *frame, generator=torch.Generator().manual_seed(0))
    params = augment.draw(keys(*range(9)), SHAPE)
    seen = augment.carry(stored, params)
    assert seen.shape == (9, *SHAPE)
    assert torch.equal(augment.store(stored, seen, params), stored)
    new = augment.store(stored, seen + 1, params)
    assert torch.equal(augment.carry(new, params), seen + 1)
    assert ((new != stored).flatten(1).sum(1) == 2 * 7 * 6).all()


def test_the_kept_frame_is_the_padded_image():
    assert ALL.frame(SHAPE) == (2, 11, 10)
    assert Augment(steps=(PadCrop(padding=1), PadCrop(padding=2))).frame(SHAPE) == (2, 13, 12)
    step = PadCrop(padding=2)
    x = images(9)
    params = step.draw(keys(*range(9)), SHAPE)
    assert torch.equal(step.carry(F.pad(x, (2, 2, 2, 2)), params), step.apply(x, params))


def test_gradients_pass():
    x = images(3).requires_grad_()
    params = ALL.draw(keys(0, 1, 2), SHAPE)
    ALL.apply(x, params).sum().backward()
    assert torch.equal(x.grad, survived(ALL, params, 3))


def test_recipes_build_and_print_it():
    table = {"steps": [{"kind": "pad-crop", "padding": 2}, "flip", {"kind": "cutout", "length": 3}]}
    assert build(Augment, table) == ALL
    assert build(Augment, to_dict(ALL)) == ALL
    assert to_dict(ALL)["steps"][0]["kind"] == "pad-crop"
    assert list(AUGMENTATIONS) == ["pad-crop", "flip", "cutout"]


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="padding=6: is too wide"):
        PadCrop(padding=6, mode="reflect").draw(keys(0), SHAPE)
    with pytest.raises(InputError, match="length=7: is larger than images of 7x6"):
        Cutout(length=7).draw(keys(0), SHAPE)
    with pytest.raises(InputError, match="value="):
        PadCrop(value=0.5)
    with pytest.raises(InputError, match="p="):
        Flip(p=1.5)
    with pytest.raises(InputError, match="is no batch of images"):
        ALL.apply(torch.zeros(3, 5), ALL.draw(keys(0, 1, 2), SHAPE))
