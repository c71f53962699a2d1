"""Statistical tests use fixed keys; each is made so that a correct generator with other keys would
fail it with probability below 1e-6."""

import math

import pytest
import torch
from scipy import stats
from scipy.special import ndtri

from holdfast.core.random import Keys, permutation

ALARM = 1e-6
MASK = (1 << 64) - 1


def splitmix(z: int) -> int:
    """The finaliser of SplitMix64 on unsigned words."""
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    return z ^ z >> 31


DRAWS = {
    "bits": lambda keys, step=0: keys.bits(7, step),
    "uniform": lambda keys, step=0: keys.uniform((3, 2), step),
    "sign": lambda keys, step=0: keys.sign((5,), step),
    "normal": lambda keys, step=0: keys.normal((2, 3), step),
    "integers": lambda keys, step=0: keys.integers(10**6, (4,), step),
    "permutation": lambda keys, step=0: keys.permutation(11, step),
}


@pytest.fixture(params=DRAWS)
def draw(request):
    return DRAWS[request.param]


def test_the_finaliser_is_splitmix64():
    # the first outputs of SplitMix64 from state 1234567, as published with the generator
    golden = 0x9E3779B97F4A7C15
    states = [(1234567 + i * golden) & MASK for i in (1, 2, 3)]
    assert [splitmix(state) for state in states] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def test_a_draw_is_the_documented_hash_of_key_step_and_place():
    keys, step = Keys.of(5, [0, 41]), 3
    for state, row in zip(keys.state.tolist(), keys.bits(4, step).tolist(), strict=True):
        base = splitmix((state + (step + 1) * 0x94D049BB133111EB) & MASK)
        for place, word in enumerate(row, start=1):
            assert splitmix((base + place * 0x9E3779B97F4A7C15) & MASK) == word & MASK


def test_golden_bits_do_not_change():
    keys = Keys.of(0, [0, 7, 123456789012])
    assert keys.state.tolist() == [428093169341779936, 2457223108256892581, -790493052415553058]
    keys = keys.fold("square").fold(3)
    assert keys.bits(2, step=5)[0].tolist() == [-892075034021826978, 8842859650795903014]
    assert (keys.uniform((2,)) * 2**24).tolist()[1] == [148767, 10220727]
    assert keys.sign((5,))[2].tolist() == [-1, -1, 1, 1, -1]
    assert keys.integers(10, (6,))[0].tolist() == [0, 6, 1, 1, 0, 0]
    assert keys.permutation(6)[1].tolist() == [2, 0, 3, 1, 4, 5]
    assert permutation(0, "epoch", 1, size=8).tolist() == [7, 1, 0, 6, 5, 2, 3, 4]
    content = Keys.by_content(0, torch.tensor([[0.25, 0.5], [1.0, -1.0]]))
    assert content.state.tolist() == [-1705672304284776171, 3395073006144852714]


def test_an_example_draws_the_same_in_any_batch_and_order(draw):
    keys = Keys.of(0, range(9))
    everything = draw(keys)
    order = torch.tensor([4, 0, 8, 3, 1, 2, 7, 6, 5])
    assert torch.equal(draw(Keys.of(0, order)), everything[order])
    for i in range(9):
        assert torch.equal(draw(Keys.of(0, [i]))[0], everything[i])
    chosen = torch.tensor([True, False, True] * 3)
    assert torch.equal(draw(keys[chosen]), everything[chosen])
    assert torch.equal(draw(keys[2:5]), everything[2:5])


def test_draws_leave_no_state_behind(draw):
    before = torch.get_rng_state()
    keys = Keys.of(0, range(4))
    first = draw(keys)
    draw(keys.fold("other"))
    assert torch.equal(draw(keys), first)
    assert torch.equal(torch.get_rng_state(), before)


def test_steps_may_differ_by_example(draw):
    keys = Keys.of(0, range(4))
    steps = torch.tensor([0, 3, 3, 12])
    together = draw(keys, steps)
    for i, step in enumerate(steps.tolist()):
        assert torch.equal(together[i], draw(keys, step)[i])
        assert torch.equal(together[i], draw(keys[i : i + 1], step)[0])


def test_seed_index_fold_step_and_place_all_matter():
    keys = Keys.of(0, range(50))
    words = [
        keys.bits(3),
        keys.bits(3, step=1),
        Keys.of(1, range(50)).bits(3),
        keys.fold("a").bits(3),
        keys.fold("b").bits(3),
        keys.fold("a").fold("b").bits(3),
        keys.fold("b").fold("a").bits(3),
        keys.fold(0).bits(3),
        keys.fold(1).bits(3),
        keys.fold("1").bits(3),
        keys.fold(torch.arange(50)).bits(3),
    ]
    assert torch.cat(words).unique().numel() == len(words) * 150


def test_a_token_per_example_is_that_of_each_alone():
    keys, tokens = Keys.of(0, range(4)), torch.tensor([5, 0, 5, 9])
    together = keys.fold(tokens).bits(2)
    for i in range(4):
        assert torch.equal(together[i], keys[i : i + 1].fold(tokens[i : i + 1]).bits(2)[0])


def test_keys_by_content_follow_the_bytes_of_each_example():
    x = Keys.of(3, range(6)).uniform((2, 3))
    state = Keys.by_content(0, x).state
    assert state.unique().numel() == 6
    assert torch.equal(Keys.by_content(0, x[4:]).state, state[4:])
    assert torch.equal(Keys.by_content(0, x.double()).state, state)
    assert torch.equal(Keys.by_content(0, x.flatten(1)).state, state)
    assert not (Keys.by_content(1, x).state == state).any()
    assert not (Keys.by_content(0, x.flip(1)).state == state).any()


@pytest.mark.parametrize("other", ["index", "fold", "step", "seed"])
def test_streams_are_uncorrelated(other):
    n = 40_000
    keys = Keys.of(0, range(n))
    first = keys.fold("a").normal(())
    second = {
        "index": lambda: Keys.of(0, range(1, n + 1)).fold("a").normal(()),
        "fold": lambda: keys.fold("b").normal(()),
        "step": lambda: keys.fold("a").normal((), step=1),
        "seed": lambda: Keys.of(1, range(n)).fold("a").normal(()),
    }[other]()
    product = float((first.double() * second.double()).mean()) * math.sqrt(n)
    assert abs(product) < stats.norm.isf(ALARM / 2)


def test_every_bit_of_a_word_is_fair():
    n = 20_000
    words = Keys.of(0, range(n // 4)).bits(4).flatten()
    for bit in range(64):
        ones = int((words >> bit & 1).sum())
        assert stats.binomtest(ones, n).pvalue > ALARM / 64


def test_uniforms_are_uniform():
    u = Keys.of(0, range(2000)).uniform((25,)).flatten()
    assert u.min() >= 0
    assert u.max() < 1
    assert u.dtype == torch.float32
    assert stats.kstest(u.double(), "uniform").pvalue > ALARM


def test_uniforms_of_other_limits_are_scaled():
    keys = Keys.of(0, range(500))
    scaled = keys.uniform((9,), low=-0.3, high=0.5)
    torch.testing.assert_close(scaled, keys.uniform((9,)) * 0.8 - 0.3)
    assert scaled.min() >= -0.3
    assert scaled.max() <= 0.5


def test_signs_are_fair():
    signs = Keys.of(0, range(2000)).sign((25,))
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert stats.binomtest(int((signs > 0).sum()), signs.numel()).pvalue > ALARM


def test_normals_are_normal():
    z = Keys.of(0, range(2000)).normal((25,)).flatten()
    assert stats.kstest(z.double(), "norm").pvalue > ALARM


def test_normals_agree_with_scipy_to_four_units_in_the_last_place():
    keys = Keys.of(2, range(3000))
    words = keys.bits(7).flatten().numpy()
    expected = torch.from_numpy(ndtri(((words >> 11 & (1 << 53) - 1) + 0.5) * 2.0**-53))
    found = keys.normal((7,)).flatten()
    unit = torch.nextafter(expected.float().abs(), torch.tensor(math.inf)) - expected.float().abs()
    assert ((found.double() - expected).abs() <= 4 * unit.double()).all()


@pytest.mark.parametrize("high", [1, 3, 10])
def test_integers_are_equally_frequent(high):
    values = Keys.of(0, range(3000)).integers(high, (10,)).flatten()
    counts = values.bincount(minlength=high)
    assert counts.numel() == high
    assert high == 1 or stats.chisquare(counts.numpy()).pvalue > ALARM


def test_integers_with_a_limit_per_example():
    limits = torch.tensor([[1], [2], [1000]])
    values = Keys.of(0, range(3)).integers(limits, (400,))
    assert (values >= 0).all()
    assert (values < limits).all()
    assert values[2].max() > 900
    for i in range(3):
        alone = Keys.of(0, [i]).integers(int(limits[i]), (400,))
        assert torch.equal(alone[0], values[i])


def test_integers_reach_the_largest_limit():
    values = Keys.of(0, range(1000)).integers(2**31, (5,))
    assert (values >= 0).all()
    assert values.max() > 2**31 * 0.99


def test_permutations_are_permutations_and_equally_frequent():
    orders = Keys.of(0, range(12_000)).permutation(4)
    assert (orders.sort(dim=1).values == torch.arange(4)).all()
    codes = orders @ torch.tensor([64, 16, 4, 1])
    counts = codes.unique(return_counts=True)[1]
    assert counts.numel() == 24
    assert stats.chisquare(counts.numpy()).pvalue > ALARM


def test_the_order_of_an_epoch_depends_on_its_path():
    one, two = permutation(0, "epoch", 1, size=97), permutation(0, "epoch", 2, size=97)
    assert torch.equal(one.sort().values, torch.arange(97))
    assert torch.equal(one, permutation(0, "epoch", 1, size=97))
    assert not torch.equal(one, two)


@pytest.mark.parametrize("shape", [(), (3,), (2, 1, 4)])
def test_shapes_are_those_asked_for(shape):
    keys = Keys.of(0, range(5))
    assert keys.uniform(shape).shape == (5, *shape)
    assert keys.normal(shape).shape == (5, *shape)
    assert keys.sign(shape).shape == (5, *shape)
    assert keys.integers(7, shape).shape == (5, *shape)
    assert len(keys) == 5


def test_no_examples_draw_nothing(draw):
    assert len(draw(Keys.of(0, []))) == 0


@pytest.mark.gpu
@pytest.mark.parametrize("name", DRAWS)
def test_a_gpu_draws_the_same(name):
    keys = Keys.of(0, range(200)).fold("gpu")
    here, there = DRAWS[name](keys), DRAWS[name](keys.to("cuda")).cpu()
    if name == "normal":
        unit = torch.nextafter(here.abs(), torch.tensor(math.inf)) - here.abs()
        assert ((here - there).abs() <= 4 * unit).all()
    else:
        assert torch.equal(here, there)
