import pytest
import torch
from torch import nn

from certify.radius_cases import SIZES, exact_linear, network
from holdfast.benchmark.certified_radii import CertifiedRadii, certified_radii, radius_search
from holdfast.certify import BOUNDS, SEARCHES, Projected
from holdfast.certify.radii.radius import Bisection
from holdfast.core.errors import CaptureError, InputError, UnsupportedThreat
from holdfast.data.adapt import as_data
from holdfast.runs.directory import Run
from holdfast.runs.executors import Shard
from holdfast.threats import Linf
from holdfast.threats.text import as_threat


def examples(count=7, sizes=SIZES, wrong=0, seed=1):
    x = torch.rand(count, sizes[0], generator=torch.Generator().manual_seed(seed))
    model = network(sizes).float()
    y = model(x).argmax(1)
    y[:wrong] = (y[:wrong] + 1) % sizes[-1]
    return model, as_data((x, y), box=(0.0, 1.0))


@pytest.mark.parametrize("name", sorted(SEARCHES))
def test_radii_of_a_linear_model_are_its_distances(name):
    sizes = (6, 3)
    model, data = examples(sizes=sizes, wrong=2)
    found = certified_radii(model, data, Linf(10.0, box=None), radius_search("crown", name))
    exact = exact_linear(data.inputs().double(), data.labels, sizes, 0, 1)
    assert found.sound
    assert found.correct.tolist() == [False] * 2 + [True] * 5
    assert (found.radius[:2] == 0).all()
    assert (found.radius[2:] <= exact[2:]).all()
    assert (found.radius[2:] >= exact[2:] - 2e-4).all()
    assert found.index.tolist() == list(range(7))


def test_blocks_processes_and_a_resume_give_the_same_rows(tmp_path):
    model, data = examples(wrong=1)
    search = radius_search("dual")
    whole = certified_radii(model, data, Linf(0.5), search, block=3)
    run = Run.create("radius", "x", "y", path=tmp_path / "run")
    for rank in (1, 0):
        found = certified_radii(
            model, data, Linf(0.5), search, block=3, run=run, shard=Shard(rank=rank, world=2)
        )
        own = Shard(rank=rank, world=2).rows(7, 3).tolist()
        assert found.index.tolist() == (own if rank else list(range(7)))
    assert found.radius.equal(whole.radius)
    assert found.evaluations.equal(whole.evaluations)
    seen = []
    again = certified_radii(model, data, Linf(0.5), search, block=3, run=run, on_event=seen.append)
    assert again.radius.equal(whole.radius)
    assert seen == []


def test_a_process_without_examples_waits_for_the_others(tmp_path):
    model, data = examples(count=3)
    run = Run.create("radius", "x", "y", path=tmp_path / "run")
    found = [
        certified_radii(
            model, data, Linf(0.5), radius_search("dual"), run=run, shard=Shard(rank=rank, world=2)
        )
        for rank in (1, 0)
    ]
    assert [each.index.tolist() for each in found] == [[], [0, 1, 2]]
    assert (found[1].radius > 0).all()


def test_events_count_the_examples():
    model, data = examples()
    seen = []
    found = certified_radii(
        model, data, Linf(0.5), radius_search("dual"), block=3, on_event=seen.append
    )
    assert [(each.done, each.total) for each in seen] == [(3, 7), (6, 7), (7, 7)]
    assert seen[-1].mean == pytest.approx(float(found.radius.mean()))


def found_radii(radius, correct):
    zeros = torch.zeros(len(radius), dtype=torch.int64)
    radius = torch.tensor(radius, dtype=torch.float64)
    correct = torch.tensor(correct)
    settings = {"threat": "linf:inf", "search": "s"}
    return CertifiedRadii(
        zeros, zeros, correct, radius, radius, zeros, float("inf"), True, settings
    )


def test_the_curve_counts_examples_not_bounds():
    found = found_radii([0.0, 0.2, 0.4, 0.0], [False, True, True, True])
    assert found.accuracy(0.0) == 0.75
    assert found.accuracy(0.2) == 0.5
    assert found.curve([0.3]) == [(0.3, 0.25)]
    assert [share for _, share in found.curve()] == [0.75] + [0.5] * 5 + [0.25] * 5
    assert found_radii([0.0, 0.0], [True, False]).curve() == [(0.0, 0.5)]
    told = found.to_dict([0.3])
    assert (told["mean_radius"], told["median_radius"], told["largest_radius"]) == (
        pytest.approx(0.15),
        0.0,
        0.4,
    )
    assert told["reach"] is None


def test_an_estimate_certifies_no_radius_and_no_mode_but_proofs_is_sound():
    model, data = examples()
    found = certified_radii(model, data, Linf(0.5), Bisection(method=Projected()))
    assert (found.radius == 0).all()
    assert not found.sound
    for mode in ("fast", "deployed"):  # deployed does not account for the radii's own rounding
        assert not Bisection(method=BOUNDS["crown"].load()(mode=mode)).sound
    assert not radius_search("milp").sound
    assert radius_search("lp").sound


def test_what_does_not_fit_is_refused(tmp_path):
    model, data = examples()
    with pytest.raises(InputError, match="needs a linear bound, not interval"):
        radius_search("interval", "newton")
    with pytest.raises(InputError, match="block"):
        certified_radii(model, data, Linf(0.5), radius_search("dual"), block=0)
    with pytest.raises(InputError, match="run"):
        certified_radii(model, data, Linf(0.5), radius_search("dual"), shard=Shard(0, 2))
    with pytest.raises(CaptureError, match="plain function"):
        certified_radii(lambda x: x, data, Linf(0.5), radius_search("dual"))
    with pytest.raises(UnsupportedThreat, match="norm"):
        certified_radii(nn.Flatten(), data, as_threat("spatial:rot=30"), radius_search("dual"))
