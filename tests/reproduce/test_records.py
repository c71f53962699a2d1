import pytest

from holdfast.core.errors import InputError
from holdfast.reproduce import REPRODUCTIONS
from holdfast.reproduce.records import Claim, Row
from holdfast.reproduce.trainings import TrainedRow

ENTRIES = [entry.load() for entry in REPRODUCTIONS.values()]
TRAININGS = [entry for entry in ENTRIES if entry.sizes[0].recipes]
each_entry = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)


def lines(**costs):
    """Lines with one figure each."""
    return {name: {"mean_spent": cost} for name, cost in costs.items()}


@each_entry
def test_every_entry_says_what_it_is(entry):
    record = entry.to_dict()
    assert REPRODUCTIONS[entry.id].load() is entry
    for key in ("title", "thesis", "source", "published_setting", "claims", "needs"):
        assert record[key], key
    assert [size.name for size in entry.sizes][:2] == ["quick", "scaled"]


@each_entry
def test_sizes_that_are_not_the_published_ones_say_so(entry):
    for size in entry.sizes:
        assert size.note or size.name == "published"
        longest = {"quick": 0.34, "scaled": 60 if size.recipes else 5}
        assert size.name == "published" or size.minutes < longest[size.name]


@each_entry
def test_rows_have_names_of_their_own_and_published_figures_a_line(entry):
    for size in entry.sizes:
        rows = entry.rows(size)
        assert len({row.name for row in rows}) == len(rows)
        attacked = {row.subject for row in rows if isinstance(row, Row)}
        assert attacked == set(size.subjects)
        assert {row.recipe for row in rows if isinstance(row, TrainedRow)} <= set(size.recipes)


@pytest.mark.parametrize("entry", TRAININGS, ids=lambda entry: entry.id)
def test_every_recipe_of_a_training_builds(entry, tmp_path):
    for size in entry.sizes:
        for row in entry.rows(size):
            if isinstance(row, TrainedRow):
                assert row.build(0, tmp_path).seed == 0


@each_entry
def test_claims_of_absent_figures_are_not_judged(entry):
    assert [claim.judge({}) for claim in entry.claims] == [None] * len(entry.claims)


def test_a_claim_is_true_false_or_unknown():
    claim = Claim(text="a is less", holds=lambda lines: lines["a"]["x"] < lines["b"]["x"])
    assert claim.judge({"a": {"x": 1.0}, "b": {"x": 2.0}}) is True
    assert claim.judge({"a": {"x": 2.0}, "b": {"x": 2.0}}) is False
    assert claim.judge({"a": {"x": None}, "b": {"x": 2.0}}) is None
    assert claim.judge({"a": {"x": 2.0}}) is None


def test_comparison_has_published_ours_and_the_difference():
    entry = REPRODUCTIONS["square-seeds"].load()
    ours = {"robust MNIST linf 0.3": {"robust_accuracy": 0.88, "mean_queries": 500.0}}
    line = next(line for line in entry.compare(ours) if line["line"] == "robust MNIST linf 0.3")
    accuracy, queries = (line["figures"][each] for each in ("robust_accuracy", "mean_queries"))
    assert (accuracy["published"], accuracy["ours"]) == (0.87, 0.88)
    assert accuracy["difference"] == pytest.approx(0.01)
    assert accuracy["within_tolerance"] is True
    assert queries["difference"] == 201
    assert queries["within_tolerance"] is False
    median = line["figures"]["median_queries"]
    assert (median["published"], median["ours"], median["difference"]) == (52, None, None)


def test_an_unknown_size_names_the_known_ones():
    with pytest.raises(InputError, match="known are: quick, scaled"):
        REPRODUCTIONS["square-seeds"].load().size("published")
