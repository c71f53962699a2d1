"""Stages emit every row once, whatever the order in which examples finish."""

import torch

from holdfast.attacks import PGD
from holdfast.benchmark.stages import Bound, Clean, Search, attack_result
from holdfast.certify.bounds.interval import Interval
from holdfast.certify.graphs.graph import capture
from holdfast.core.frozen import FrozenModel
from holdfast.data.adapt import as_data
from holdfast.threats import Linf
from nets import examples, small_net


def collect(stage, data, at):
    seen = {}

    def emit(rows, columns):
        for place, row in enumerate(rows.tolist()):
            assert row not in seen
            seen[row] = {name: column[place] for name, column in columns.items()}

    stage.run(data, at, emit)
    return seen


def stages():
    net = small_net()
    x, y = examples(13, net, wrong=2)
    data = as_data((x, y))
    frozen = FrozenModel(net, block=4)
    graph = capture(net, (2, 7, 6))
    bound = Bound(graph, Interval(), "interval", Linf(0.005), 4, torch.device("cpu"))
    search = Search(frozen, PGD(steps=3, restarts=2), "pgd", Linf(0.02), 0)
    return data, frozen, [Clean(frozen), bound, search]


def test_rows_do_not_depend_on_which_others_are_asked_for():
    data, frozen, all_stages = stages()
    with frozen:
        for stage in all_stages:
            whole = collect(stage, data, torch.arange(13))
            assert sorted(whole) == list(range(13))
            some = torch.tensor([11, 2, 5])
            part = collect(stage, data, some)
            assert sorted(part) == [2, 5, 11]
            for row, columns in part.items():
                for name, value in columns.items():
                    if name != "seconds":
                        assert torch.equal(value, whole[row][name]), (stage.name, name)


def test_names_carry_the_threat():
    _, _, (clean, bound, search) = stages()
    assert [clean.name, bound.name, search.name] == [
        "clean",
        "interval@linf:0.005",
        "pgd@linf:0.02",
    ]


def test_attack_rows_make_a_result_again():
    data, frozen, (_, _, search) = stages()
    parts = []
    with frozen:
        search.run(data, torch.arange(13), lambda at, rows: parts.append(rows))
    result = attack_result({k: torch.cat([p[k] for p in parts]) for k in parts[0]})
    assert result.x_adv.shape == (13, 2, 7, 6)
    assert result.success.dtype == torch.bool
