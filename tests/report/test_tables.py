import csv
import io

import pytest

from holdfast.report import tables
from holdfast.report.tables import Column, Table


@pytest.fixture(scope="module")
def evaluation(evaluated):
    return evaluated(model="net_1")


def _read(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_the_summary_shows_the_three_accuracies(evaluation):
    (row,) = _read(tables.summary(evaluation).csv())
    assert (float(row["clean"]), float(row["robust"]), float(row["certified"])) == (
        34 / 37,
        19 / 37,
        11 / 37,
    )
    low, high = evaluation.result["robust_interval"]
    assert (float(row["robust 95% low"]), float(row["robust 95% high"])) == (low, high)
    assert row["examples"] == "37"


def test_csv_holds_the_results_own_numbers(evaluation):
    rows = _read(tables.radii(evaluation).csv())
    for row, point in zip(rows, evaluation.result["radii"], strict=True):
        assert float(row["radius"]) == point["radius"]
        assert float(row["robust"]) == point["robust_accuracy"]
        assert float(row["certified"]) == point["certified_accuracy"]


def test_classes_are_shares_of_their_own_examples(evaluation):
    table = tables.per_class(evaluation)
    assert len(table.rows) == 5
    examples = sum(row[2] for row in table.rows)
    assert examples == 37
    for place, accuracy in ((3, "clean"), (4, "robust"), (5, "certified")):
        total = sum(row[2] * row[place] for row in table.rows) / examples
        assert total == pytest.approx(evaluation.result[f"{accuracy}_accuracy"], abs=1e-12)


def test_what_was_not_certified_is_absent_and_not_zero(evaluated):
    result = evaluated(certified=False).result
    assert tables.summary(result).rows[0][-2:] == (None, None)
    assert all(row[5] is None for row in tables.per_class(result).rows)
    assert _read(tables.summary(result).csv())[0]["certified"] == ""
    assert tables.summary(result).shown()[0][-1] == "–"


def test_attacks_and_stages_keep_their_order_and_costs(evaluation):
    attacks = tables.attacks(evaluation)
    assert [row[1] for row in attacks.rows] == ["fgsm", "pgd-20-2"]
    assert [round(row[2] * 37) for row in attacks.rows] == [25, 19]
    assert [row[1] for row in tables.stages(evaluation).rows] == [
        "clean",
        "fgsm@linf:0.1",
        "pgd-20-2@linf:0.1",
    ]


def test_several_results_stand_one_below_the_other(evaluation, evaluated):
    table = tables.summary([evaluation, evaluated(model="other").result])
    assert [row[0] for row in table.rows] == ["net_1", "other"]


@pytest.fixture
def hostile():
    columns = (Column("a|b"), Column("share", "share"))
    return Table(columns, (("<b>|x_1\n&%$#{}~^\\", 0.25), ("=cmd()", None)))


def test_markdown_escapes_what_would_break_or_mark_up(hostile):
    lines = hostile.markdown().splitlines()
    assert len(lines) == 4
    assert all(line.replace("\\|", "").count("|") == 3 for line in lines)
    assert "&lt;b&gt;" in lines[2]
    assert "x\\_1" in lines[2]


def test_latex_escapes_every_special_character(hostile):
    text = hostile.latex()
    assert text.startswith("\\begin{tabular}{lr}\n\\toprule\n")
    assert text.endswith("\\bottomrule\n\\end{tabular}")
    assert (
        "\\textless{}b\\textgreater{}|x\\_1 \\&\\%\\$\\#\\{\\}\\textasciitilde{}"
        "\\textasciicircum{}\\textbackslash{} & 25.0\\% \\\\" in text
    )


def test_text_columns_are_aligned(hostile):
    lines = str(hostile).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1].endswith("25.0%")


def test_csv_survives_quotes_and_line_breaks():
    table = Table((Column("name"), Column("n", "count")), (('a "b",\nc', 3.0),))
    assert list(csv.reader(io.StringIO(table.csv()))) == [["name", "n"], ['a "b",\nc', "3"]]


def test_attacks_that_count_their_examples_show_them(evaluation):
    rows = [row | {"examples": 30, "broken": 7} for row in evaluation.result["attacks"]]
    counted = tables.attacks([evaluation.result | {"attacks": rows}, evaluation])
    assert [column.name for column in counted.columns][2:4] == ["examples", "broken"]
    assert counted.rows[0][2:4] == (30, 7)
    assert counted.shown()[-1][2] == "–"
    assert "examples" not in [column.name for column in tables.attacks(evaluation).columns]
