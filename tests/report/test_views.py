import pytest

from holdfast.report.records import Record, read_record
from holdfast.report.views import part
from holdfast.runs.directory import Run


@pytest.fixture
def view(make_run):
    return part(read_record(make_run(warnings=("look here",))), "net", "run-1", rows=10)


def test_numbers_of_the_answer(view):
    assert view.claim.startswith("At linf:0.1 on 37 examples: between 29.7% (certified) and 51.4%")
    assert [value for _, value, _ in view.tiles] == ["91.9%", "51.4%", "29.7%"]
    assert (view.strip.certified, view.strip.attacked) == (11 / 37, 19 / 37)
    assert view.warnings == ("look here",)
    assert view.proofs[0][0] == "interval"


def test_tables_drop_the_column_of_the_model(view):
    assert [name for name, _ in view.classes.heads][:2] == ["class", "examples"]
    assert [row[0].text for row in view.attacks.rows] == ["fgsm", "pgd-20-2"]
    assert len(view.stages.rows) == 3
    assert view.cost.startswith("3.2 s, 814 forward and 740 backward passes of one example")


def test_examples_are_named_on_the_page_and_whole_in_the_data(view):
    assert len(view.examples.rows) == 10
    assert view.examples.csv.count("\n") == 38
    heads = [name for name, _ in view.examples.heads]
    assert view.examples.rows[0][heads.index("label")].text == "ant"
    assert view.examples.csv.splitlines()[1].startswith("100,0,1,")
    assert "first 10 are shown" in view.examples_note


def test_a_one_sided_answer_has_no_lower_side(make_run):
    view = part(read_record(make_run(certified=False)), "net", "run-1")
    assert view.strip.certified is None
    assert view.tiles[2][1:] == ("–", "not run")
    assert view.proofs == ()
    assert view.lower.startswith("Not run")


def test_training_alone_claims_only_held_out_numbers(tmp_path):
    run = Run.create("train", "net", "toy", root=tmp_path)
    best = {"epoch": 3, "clean": 0.9, "robust": 0.5}
    history = [{"epoch": 1}]
    run.write_result(
        {"best": best, "selected_on": "validation", "history": history, "warnings": ["w"]}
    )
    view = part(read_record(run), "net", "run-1")
    assert "not evaluated: 50.0% robust, 90.0% clean on held-out examples at epoch 3" in view.claim
    assert view.strip is None
    assert view.outcomes is None
    assert view.warnings == ("w",)
    assert ("best.epoch", "3") in view.training
    assert not any(name.startswith("history") for name, _ in view.training)


def test_nested_settings_become_dotted_rows():
    record = Record("n", "f", settings={"a": {"b": 1, "c": [1, 2]}, "d": None})
    view = part(record, "n", "run-1")
    assert view.settings == (("a.b", "1"), ("a.c", "1, 2"), ("d", "–"))


@pytest.mark.slow
def test_new_views_are_left_out_where_a_run_has_nothing_for_them(view, make_run):
    assert view.trust is None
    assert view.sanity is None
    assert view.sizes is None
    assert len(view.flow.steps) == 5
    extra = {"flags": [], "sanity": {"radii": [0.1, 0.2], "robust": [0.5, 0.0]}}
    run = make_run(extra=extra)
    rows = {name: list(values) for name, values in run.read_examples().items()}
    run.write_examples(rows | {"size": [0.1 * at / len(rows["size"]) for at in range(37)]})
    full = part(read_record(run), "net", "run-1")
    assert full.trust.flags == ()
    assert full.sanity.name == "run-1-sanity"
    assert any(key.label == "radius 0.1" for key in full.sizes.keys)
