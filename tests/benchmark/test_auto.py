from functools import partial

import pytest
import torch

from holdfast import facades
from holdfast.benchmark import auto as module
from holdfast.benchmark.auto import Auto, caveats, check_bounds, minimisers
from holdfast.benchmark.evaluate import evaluate
from holdfast.certify.bounds.linear import CROWN
from holdfast.certify.graphs.graph import capture
from holdfast.certify.spec import margin_rows
from holdfast.core.errors import InputError
from holdfast.core.results import Outcome
from holdfast.data.adapt import as_data
from holdfast.threats import L2, Linf

CLASSES, SIZE = 3, 5


@pytest.fixture(scope="module")
def linear():
    """A linear model, with inputs at known distances from its boundary."""
    draw = torch.Generator().manual_seed(0)
    layer = torch.nn.Linear(SIZE, CLASSES)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(CLASSES, SIZE, generator=draw))
        layer.bias.zero_()
    x = torch.rand(40, SIZE, generator=draw)
    y = layer(x).argmax(1)
    y[0] = (y[0] + 1) % CLASSES
    return layer, x, y


def distances(layer, x, y, dual):
    """How far each input is from another class, by formula; negative where misclassified."""
    rows = margin_rows(y, CLASSES)
    weights = rows @ layer.weight
    margin = (rows @ layer(x).unsqueeze(2)).squeeze(2)
    return (margin / torch.linalg.vector_norm(weights, ord=dual, dim=2)).amin(1).detach()


@pytest.mark.parametrize(("kind", "dual"), [(Linf, 1), (L2, 2)])
def test_linear_models_are_decided_in_both_directions(kind, dual, linear):
    layer, x, y = linear
    true = distances(layer, x, y, dual)
    radius = float(true.sort().values[20]) * 1.001
    ledger = Auto().decide(layer, x, y, kind(radius, box=None))
    expected = torch.where(true < radius, Outcome.BROKEN, Outcome.CERTIFIED)
    expected[true < 0] = Outcome.MISCLASSIFIED
    assert ledger.outcome.tolist() == expected.tolist()
    assert (ledger.outcome == Outcome.BROKEN).sum() == 20
    assert set(ledger.rows()["method"]) <= {"clean", "interval", "crown-ibp", "dual", "pgd-10-1"}
    assert bool((ledger.seconds > 0).all())
    broken = ledger.outcome == Outcome.BROKEN
    assert bool((layer(ledger.x_adv[broken]).argmax(1) != y[broken]).all())


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(3)
    model = torch.nn.Sequential(
        torch.nn.Linear(SIZE, 12), torch.nn.ReLU(), torch.nn.Linear(12, CLASSES)
    )
    x = torch.rand(24, SIZE)
    return model, x, model(x).argmax(1)


def test_a_result_does_not_depend_on_the_neighbours(net):
    model, x, y = net
    graph, threat = capture(model, (SIZE,)), Linf(0.12)
    whole = Auto().decide(model, x, y, threat, graph=graph)
    assert len(set(whole.outcome.tolist())) > 1
    for rows in (slice(3, 4), slice(5, 12)):
        part = Auto().decide(model, x[rows], y[rows], threat, graph=graph)
        assert part.outcome.tolist() == whole.outcome[rows].tolist()


def test_dear_methods_see_only_what_is_left(net, monkeypatch):
    model, x, y = net
    seen = {}

    class Counting(module.Prove):
        def run(self, data, at, emit):
            seen[self.method] = at.tolist()
            super().run(data, at, emit)

    monkeypatch.setattr(module, "Prove", Counting)
    ledger = Auto(hopeful=1e9).decide(model, x, y, Linf(0.12))
    sizes = [len(seen.get(name, ())) for name in ("interval", "crown-ibp", "dual", "crown")]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1]
    names = ledger.rows()["method"]
    later = set(seen.get("crown", ()))
    assert not any(i in later for i, name in enumerate(names) if name in ("interval", "pgd-10-1"))


def test_crown_ibp_is_not_tried_where_intervals_fail_by_far(net):
    model, x, y = net
    names = set(Auto(hopeful=0.0).decide(model, x, y, Linf(0.12)).rows()["method"])
    assert "crown-ibp" not in names


def test_the_minimiser_attains_the_bound_of_a_linear_model(linear):
    layer, x, y = linear
    graph, spec = capture(layer, (SIZE,)), margin_rows(y, CLASSES)
    for threat in (Linf(0.1), L2(0.2, box=None)):
        point = minimisers(graph, x, spec, threat)
        assert bool(threat.contains(point, x).all())
        margin = (spec @ layer(point).unsqueeze(2)).squeeze(2).amin(1)
        bound = CROWN(schedule="plain").bound(graph, x, threat, spec).lower.amin(1)
        assert torch.allclose(margin.double(), bound, atol=1e-5)


def test_unsound_bounds_prove_nothing(net, monkeypatch):
    model, x, y = net

    class Entry:
        def load(self):
            return partial(CROWN, mode="fast")

    monkeypatch.setattr(module, "BOUNDS", {name: Entry() for name in ("interval", "dual", "crown")})
    ledger = Auto(cheap=("interval", "dual"), dear=("crown",)).decide(model, x, y, Linf(0.001))
    assert ledger.count(Outcome.CERTIFIED) == 0


@pytest.mark.slow
def test_the_evaluation_and_the_facade_know_it(net, tmp_path):
    model, x, y = net
    direct = Auto().decide(model, x, y, Linf(0.12))
    data = as_data((x, y))
    found = evaluate(model, data, Linf(0.12), attacks="", bounds=("auto",), radii=(0.02,))
    assert found.ledger.outcome.tolist() == direct.outcome.tolist()
    assert found.ledger.rows()["method"] == direct.rows()["method"]
    by_radius = {point["radius"]: point["certified_accuracy"] for point in found.result["radii"]}
    assert by_radius[0.02] >= by_radius[0.12]
    again = facades.certify(model, x, y, "linf:0.12", method="auto", run=tmp_path / "run")
    assert again.certified_accuracy == found.certified_accuracy
    assert again.robust_accuracy == found.robust_accuracy
    resumed = facades.certify(
        model, x, y, "linf:0.12", method="auto", run=tmp_path / "run", resume=True
    )
    for name in ("outcome", "method", "bound", "seconds"):
        first, second = (str(each.ledger.rows()[name]) for each in (again, resumed))
        assert first == second


def test_names_are_checked():
    check_bounds(("auto", "crown"))
    with pytest.raises(InputError, match="did you mean 'auto'"):
        check_bounds(("aut",))
    with pytest.raises(InputError, match="did you mean 'crown'"):
        Auto(dear=("crwn",))


def test_certificates_that_are_no_proofs_are_said_to_be_none():
    (said,) = caveats(("interval", "milp", "auto"))
    assert said.startswith("what milp certifies")
