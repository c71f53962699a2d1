import copy
import itertools
import math
import pickle

import pytest
import torch

from holdfast.attacks.pgd import PGD
from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.threats.l0 import L0
from holdfast.threats.protocol import Boundable, Membership, Searchable
from nets import examples, small_net

torch.set_num_threads(1)
B, R, N, IMAGE = 3, 4, 6, (2, 5, 4)
boxes = pytest.mark.parametrize("box", [(0.0, 1.0), None])
counts = pytest.mark.parametrize("count", [0, 1, 3, N, math.inf])
pers = pytest.mark.parametrize("per", ["feature", "pixel"])


def inputs(event=(N,), dtype=torch.float64, seed=0):
    keys = Keys.of(seed, range(B))
    x = keys.fold("x").uniform(event, low=-0.2, high=1.2).clamp(0, 1).to(dtype)
    return x, x + keys.fold("far").normal(event).to(dtype)


def supports(count, n=N):
    for size in range(int(min(count, n)) + 1):
        yield from itertools.combinations(range(n), size)


@boxes
@counts
def test_the_projection_is_the_nearest_point_of_all_supports(box, count):
    x, far = inputs()
    point = L0(count, box=box).project(far, x)
    valid = far if box is None else far.clamp(*box)
    for b in range(B):
        least = math.inf
        for places in supports(count):
            other = x[b].clone()
            other[list(places)] = valid[b, list(places)]
            least = min(least, (far[b] - other).norm().item())
        assert (far[b] - point[b]).norm().item() == pytest.approx(least, abs=1e-12)
        assert (point[b] != x[b]).sum() <= count


def test_ranking_by_length_is_the_option_clip_and_not_the_nearest():
    x, far = torch.tensor([[0.95, 0.5]]), torch.tensor([[1.9, 0.1]])
    torch.testing.assert_close(L0(1).project(far, x), torch.tensor([[0.95, 0.1]]))
    clipped = L0(1, projection="clip").project(far, x)
    torch.testing.assert_close(clipped, torch.tensor([[1.0, 0.5]]))


def test_a_pixel_counts_once_with_all_its_channels():
    x = torch.full((1, *IMAGE), 0.5)
    one = x.clone()
    one[0, :, 3, 1] = torch.tensor([0.1, 0.9])
    assert L0(1, per="pixel").contains(one, x).item()
    assert not L0(1).contains(one, x).item()
    assert L0(1, per="pixel").size(one, x).item() == 1
    assert L0(1).size(one, x).item() == 2
    other = one.clone()
    other[0, 1, 0, 0] = 0.95
    torch.testing.assert_close(L0(1, per="pixel").project(other, x), one)
    assert L0(2, per="pixel").size(other, x).item() == 2


@counts
def test_the_support_function_is_the_best_vertex_of_all_supports(count):
    x, _ = inputs()
    v = Keys.of(3, range(B)).normal((R, N)).double()
    v[0, 0, :2] = 0
    ours = L0(count).support(v, x)
    for b, r in itertools.product(range(B), range(R)):
        gain = torch.maximum(v[b, r] * (1 - x[b]), -v[b, r] * x[b])
        best = max(gain[list(places)].sum().item() for places in supports(count))
        assert ours[b, r].item() == pytest.approx((v[b, r] @ x[b]).item() + best, abs=1e-12)


@pers
def test_no_member_exceeds_the_support_and_its_own_vertex_attains_it(per):
    x, _ = inputs(IMAGE)
    threat = L0(torch.tensor([1.0, 2.0, 4.0]), per=per)
    v = Keys.of(4, range(B)).normal((R, *IMAGE)).double()
    bound = threat.support(v, x)
    for step in range(50):
        point = threat.sample(x, keys=Keys.of(2, range(B)), step=step)
        assert ((v * point.unsqueeze(1)).flatten(2).sum(2) <= bound + 1e-9).all()
    assert bool((threat.accepted().support(v, x) > bound).all())
    for r in range(R):
        face = torch.where(v[:, r] > 0, 1.0, 0.0).double()
        gain = (v[:, r] * (face - x)).flatten(1)
        if per == "pixel":
            gain = gain.view(B, IMAGE[0], -1).sum(1)
        expected = (v[:, r] * x).flatten(1).sum(1)
        for b, count in enumerate((1, 2, 4)):
            expected[b] += gain[b].sort(descending=True).values[:count].sum()
        torch.testing.assert_close(bound[:, r], expected)


def test_gradients_of_the_support_are_those_of_finite_differences():
    x, _ = inputs()
    v = Keys.of(5, range(B)).normal((R, N)).double().requires_grad_(True)
    x = x.clamp(0.07, 0.93).requires_grad_(True)
    assert torch.autograd.gradcheck(L0(2).support, (v, x))


@pers
@boxes
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_projections_and_samples_are_contained_and_in_the_hull(per, box, dtype):
    x, far = inputs(IMAGE, dtype)
    for radius in (3, torch.tensor([0.0, 2.0, 5.0])):
        threat = L0(radius, box=box, per=per)
        low, high = threat.hull(x)
        assert threat.contains(x, x).all()
        for point in (threat.project(far, x), threat.sample(x, keys=Keys.of(2, range(B)))):
            assert point.dtype == dtype
            assert threat.contains(point, x).all()
            assert ((point >= low) & (point <= high)).all()
            assert torch.equal(threat.project(point, x), point)
            smaller = threat.at((threat.size(point, x) - 1).clamp_min(0))
            assert (smaller.contains(point, x) == (threat.size(point, x) == 0)).all()
        assert not threat.contains(far, x).any()


def test_the_hull_is_the_box_and_x_where_nothing_may_change():
    x, _ = inputs()
    low, high = L0(torch.tensor([0.0, 1.0, 9.0])).hull(x)
    assert torch.equal(low[0], x[0])
    assert torch.equal(high[0], x[0])
    torch.testing.assert_close(low[1:], torch.zeros(2, N).double(), atol=2e-6, rtol=0)
    assert (low[1:] < 0).all()
    assert (high[1:] > 1).all()
    assert (high[1:] < 1 + 2e-6).all()
    low, high = L0(1, box=None).hull(x)
    assert low.isneginf().all()
    assert high.isposinf().all()
    v = torch.zeros(B, 2, N).double()
    v[:, 1, 0] = -1
    bound = L0(1, box=None).support(v, x)
    assert (bound[:, 0] == 0).all()
    assert bound[:, 1].isposinf().all()


def test_a_change_of_any_size_counts_and_the_box_has_its_tolerance():
    x = torch.full((1, N), 0.5).double()
    near = x.clone()
    near[0, 2] += 1e-12
    assert not L0(0).contains(near, x).any()
    near[0, 2] = 1 + 5e-7
    assert L0(1).contains(near, x).all()
    near[0, 2] = 1 + 5e-6
    assert not L0(1).contains(near, x).any()
    near[0, 2] = math.nan
    assert not L0(1, box=None).contains(near, x).any()


@pers
def test_the_steepest_step_is_the_best_of_all_supports(per):
    g = Keys.of(0, range(B)).normal(IMAGE).double()
    length = torch.tensor([0.1, 2.0, 0.5]).double()
    step = L0(3, per=per).steepest(g, length)
    gain = g.abs() if per == "feature" else g.abs().sum(1)
    best = gain.flatten(1).sort(descending=True).values[:, :3].sum(1)
    torch.testing.assert_close((g * step).flatten(1).sum(1), best * length)
    assert (L0(3, per=per).size(step, 0 * step) == 3).all()
    assert L0(1).steepest(torch.zeros(B, N), 0.3).eq(0).all()
    assert L0(1, box=(-1, 3)).reach == 4
    assert L0(1, box=None).reach == 1


def test_samples_are_those_of_the_key_and_change_uniform_places():
    x = torch.full((B, *IMAGE), 0.5)
    threat, keys = L0(torch.tensor([1.0, 2.0, 3.0]), per="pixel"), Keys.of(5, range(B))
    start = threat.sample(x, keys=keys)
    assert threat.size(start, x).tolist() == [1, 2, 3]
    order = torch.tensor([2, 0])
    alone = threat.rows(order).sample(x[order], keys=keys[order])
    assert torch.equal(alone, start[order])
    moved = threat.sample(x, keys=keys, step=torch.tensor([0, 1, 0])) != start
    assert moved.flatten(1).any(1).tolist() == [False, True, False]
    count = 3000
    many = L0(2).sample(torch.full((count, N), 0.5), keys=Keys.of(0, range(count))) != 0.5
    share = many.double().mean(0)
    assert (share - 2 / N).abs().max() < 4 * math.sqrt(2 / 9 / count)
    values = L0(N).sample(torch.full((count, N), 0.5), keys=Keys.of(0, range(count)))[:, 0]
    ranks = torch.arange(1, count + 1) / count
    assert (values.sort().values - ranks).abs().max() < 0.036


def test_gradient_attacks_run_on_it():
    net = small_net()
    x, y = examples(B, net)
    threat = L0(4, per="pixel")
    result = PGD(steps=5, restarts=1).run(net, x, y, threat)
    assert threat.contains(result.x_adv, x).all()
    assert (result.size <= 4).all()


@pytest.mark.gpu
@pers
def test_cuda_agrees_with_the_cpu(per):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    x, far = inputs(IMAGE)
    keys, v = Keys.of(2, range(B)), Keys.of(4, range(B)).normal((R, *IMAGE)).double()
    for radius in (3, torch.tensor([0.0, 2.0, 5.0])):
        threat = L0(radius, per=per)
        assert torch.equal(threat.project(far.cuda(), x.cuda()).cpu(), threat.project(far, x))
        assert threat.contains(threat.project(far, x).cuda(), x.cuda()).all()
        drawn = threat.sample(x.cuda(), keys=keys.to("cuda"))
        torch.testing.assert_close(drawn.cpu(), threat.sample(x, keys=keys))
        torch.testing.assert_close(threat.support(v.cuda(), x.cuda()).cpu(), threat.support(v, x))
        assert torch.equal(threat.steepest(far.cuda(), 0.3).cpu(), threat.steepest(far, 0.3))
        assert torch.equal(threat.hull(x.cuda())[0].cpu(), threat.hull(x)[0])


def test_offers_every_operation_of_a_ball():
    assert all(isinstance(L0(1), protocol) for protocol in (Membership, Searchable, Boundable))


def test_equal_content_is_equal_and_prints():
    assert L0(3) == L0("3") != L0(3, per="pixel")
    assert len({L0(3), L0(3.0), L0(2)}) == 2
    assert L0(5, per="pixel").text == "l0:5,per=pixel"
    assert L0(5, box=None, per="pixel").text == "l0:5,box=none,per=pixel"
    assert L0(math.inf).text == "l0:inf"
    for threat in (L0(2, per="pixel"), L0(torch.tensor([1.0, 2.0]))):
        assert pickle.loads(pickle.dumps(threat)) == copy.deepcopy(threat) == threat


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"radius": 0.5}, "radius=0.5: is not a whole number"),
        ({"radius": "8/255"}, "is not a whole number"),
        ({"radius": -1}, "is negative"),
        ({"radius": torch.tensor([1.0, 1.5])}, r"shape \(2,\): is not a whole number"),
        ({"radius": torch.ones(2, 3)}, "is one per feature"),
        ({"radius": 1, "per": "pixels"}, "did you mean 'pixel'"),
        ({"radius": 1, "projection": "clipped"}, "did you mean 'clip'"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(InputError, match=message):
        L0(**arguments)


def test_errors_where_inputs_do_not_fit():
    x, _ = inputs()
    with pytest.raises(InputError, match="has no pixels"):
        L0(1, per="pixel").project(x, x)
    with pytest.raises(InputError, match="has no random start"):
        L0(math.inf).sample(x, keys=Keys.of(0, range(B)))
    with pytest.raises(InputError, match="differs from x"):
        L0(1).size(x[:, :2], x)
    with pytest.raises(InputError, match="does not fit inputs"):
        L0(torch.tensor([1.0, 2.0])).support(x.unsqueeze(1), x)
