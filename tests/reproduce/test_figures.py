import pytest
import torch

from holdfast.measures.queries import Queries
from holdfast.reproduce import REPRODUCTIONS
from holdfast.reproduce.figures import bars, pictures, seeds, success_curves, sweep, tradeoff
from holdfast.reproduce.records import Finding

ENTRY = REPRODUCTIONS["square-ablation"].load()
RIGHT = torch.tensor([True, True, True])


def finding(outcomes, size="scaled"):
    lines = {name: each.statistics() for name, each in outcomes.items()}
    return Finding(outcomes=outcomes, lines=lines, columns={}, size=ENTRY.size(size))


FIRST, LAST = "linf: square, c signs, vertical", "l2: two bumps, grid"
OUTCOMES = {
    FIRST: Queries(RIGHT, RIGHT, torch.tensor([4, 5, 9])),
    LAST: Queries(RIGHT, RIGHT & False, torch.tensor([40, 40, 40])),
}


@pytest.mark.slow
def test_bars_are_as_long_as_the_figures():
    figure = bars(finding(OUTCOMES), ENTRY)
    panels = {axes.get_xlabel(): axes for axes in figure.axes}
    assert list(panels) == [
        "failure rate",
        "mean queries",
        "median queries",
        "queries with failures",
    ]
    widths = [bar.get_width() for bar in panels["mean queries"].patches]
    assert widths == [6.0]
    assert [float(x) for x in panels["mean queries"].lines[0].get_xdata()] == [73, 616]
    assert "published (another setting)" in [t.get_text() for t in figure.legends[0].get_texts()]
    published = bars(finding(OUTCOMES, "published"), ENTRY)
    assert "published" in [text.get_text() for text in published.legends[0].get_texts()]


def test_a_sweep_shows_the_values_that_are_there():
    figure = sweep({"linf": {0.1: FIRST, 0.4: "absent"}}, "p")(finding(OUTCOMES), ENTRY)
    (line,) = figure.axes[1].lines
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([0.1], [6.0])


def test_success_curves_end_at_the_success_rate():
    draw = success_curves({"a": [FIRST, LAST, "absent"], "none": ["absent"]})
    figure = draw(finding(OUTCOMES), ENTRY)
    assert len(figure.axes) == 2
    first, last = figure.axes[0].lines
    assert (first.get_ydata()[0], first.get_ydata()[-1]) == (0, 1)
    assert first.get_ydata()[4] == pytest.approx(2 / 3)
    assert set(last.get_ydata()) == {0}


def test_seeds_show_each_run_and_their_mean():
    outcomes = dict.fromkeys(("a: seed 0", "a: seed 1"), OUTCOMES[FIRST])
    figure = seeds({"a": list(outcomes)}, ["mean_queries"])(finding(outcomes), ENTRY)
    dots, mean = figure.axes[0].lines
    assert (list(dots.get_xdata()), list(mean.get_xdata())) == ([6.0, 6.0], [6.0])


def test_pictures_are_laid_out_as_given():
    grey, colour = torch.zeros(1, 4, 5), torch.ones(3, 4, 5)
    figure = pictures([[grey, grey], [colour]], [["a", "b"], ["c"]])
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "c", ""]
    assert len(figure.axes[3].images) == 0


def test_a_tradeoff_has_ours_and_the_published_points_of_each_series():
    groups = {"all": [FIRST, LAST, "absent"], "none": ["absent"]}
    figure = tradeoff(groups, ("mean_queries", "failure_rate"))(finding(OUTCOMES), ENTRY)
    ours, theirs, *others = figure.axes[0].lines
    assert (list(ours.get_xdata()), list(ours.get_ydata())) == ([6.0], [0.0])
    assert len(theirs.get_xdata()) == 2
    assert [len(each.get_xdata()) for each in others] == [0, 0]
    assert figure.axes[0].get_ylabel() == "failure rate"


def test_a_sweep_may_set_one_measure_against_another():
    values = {"linf": {0.1: FIRST, 0.4: LAST}}
    against = ("mean_queries", "failure_rate")
    draw = sweep(values, "p", measures=["mean_queries"], against=against)
    panel, last = draw(finding(OUTCOMES), ENTRY).axes
    assert list(panel.lines[0].get_xdata()) == [0.1]
    assert list(last.lines[0].get_xdata()) == [6.0]
    assert last.get_xlabel() == "mean queries"
