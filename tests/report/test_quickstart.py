import pytest

from holdfast.report.quickstart import EPOCHS, Quickstart, Step, quickstart
from holdfast.runs.directory import Run


@pytest.mark.slow
def test_a_short_one_leaves_runs_and_a_page(tmp_path):
    heard = []
    epochs = dict.fromkeys(EPOCHS, 2)
    found = quickstart(tmp_path / "q", epochs=epochs, limit=20, on_event=heard.append)
    assert isinstance(found, Quickstart)
    assert found.report == tmp_path / "q" / "report.html"
    assert [run.name for run in found.runs] == [f"evaluate-{name}-digits-1" for name in EPOCHS]
    assert [row[0] for row in found.table.rows] == list(EPOCHS)
    steps = [event for event in heard if isinstance(event, Step)]
    assert [step.number for step in steps] == [1, 2, 3, 4, 5, 6]
    assert len(heard) > 20
    page = found.report.read_text()
    assert "Learning curves" in page
    assert str(found).endswith("report.html")
    for run, row in zip(found.runs, found.table.rows, strict=True):
        result = Run.open(run).read_result()
        assert result["robust_accuracy"] == row[6]
        assert result["examples"] == 20
        assert (run / result["trained_in"] / "metrics.jsonl").is_file()


@pytest.mark.slow
def test_the_three_models_tell_three_stories(tmp_path):
    found = quickstart(tmp_path)
    names = ("clean", "robust", "certified")
    standard, pgd, interval = (
        {name: row[place] for name, place in zip(names, (4, 6, 8), strict=True)}
        for row in found.table.rows
    )
    assert min(standard["clean"], pgd["clean"], interval["clean"]) > 0.85
    assert pgd["robust"] > standard["robust"] + 0.15
    assert interval["certified"] > 0.4
    assert max(standard["certified"], pgd["certified"]) < 0.1
    for model in (standard, pgd, interval):
        assert model["certified"] <= model["robust"] <= model["clean"]
