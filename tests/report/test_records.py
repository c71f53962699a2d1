import pytest

from holdfast.core.errors import InputError
from holdfast.report.records import distinct, read_record
from holdfast.runs.directory import Run


def test_an_evaluation_is_read_whole(make_run):
    run = make_run()
    record = read_record(run)
    assert record.name == "net"
    assert record.evaluation == run.read_result()
    assert len(record.metrics) == 6
    assert len(record.examples["index"]) == 37
    assert record.gallery["clean"].shape == (4, 1, 7, 6)
    assert record.settings["block"] == 64
    assert record.notes == ()
    assert read_record(run.path).folder == "evaluate-net-toy-1"


def test_missing_pieces_are_absent_and_not_noted(make_run):
    run = make_run(gallery=False, metrics=False)
    run.examples_file.unlink()
    record = read_record(run)
    assert (record.gallery, record.examples, record.metrics) == (None, None, [])
    assert record.notes == ()


@pytest.mark.parametrize("file", ["gallery.safetensors", "examples.parquet", "metrics.jsonl"])
def test_damaged_pieces_are_left_out_and_noted(make_run, file):
    run = make_run()
    (run.path / file).write_bytes(b"{damaged\n{}\n")
    record = read_record(run)
    assert record.evaluation is not None
    assert len(record.notes) == 1
    assert file in record.notes[0]


def test_a_damaged_result_is_an_error(make_run):
    run = make_run()
    run.result_file.write_text("{")
    with pytest.raises(InputError, match="JSON"):
        read_record(run)


def test_an_empty_run_has_nothing_to_report(tmp_path, write_metrics):
    run = Run.create("train", "net", "toy", root=tmp_path)
    with pytest.raises(InputError, match="nothing to report"):
        read_record(run)
    write_metrics(run.metrics_file)
    record = read_record(run)
    assert record.evaluation is None
    assert "not finished" in record.notes[0]


def test_a_training_run_may_hold_an_evaluation(make_run, tmp_path):
    evaluation = make_run().read_result()
    run = Run.create("train", "net", "toy", root=tmp_path)
    run.write_result({"best": {"epoch": 3, "clean": 0.9, "robust": 0.5}, "evaluation": evaluation})
    record = read_record(run)
    assert record.evaluation == evaluation
    assert record.training == {"best": {"epoch": 3, "clean": 0.9, "robust": 0.5}}


def test_curves_are_borrowed_from_where_the_model_was_trained(make_run, tmp_path, write_metrics):
    trained = Run.create("train", "net", "toy", root=tmp_path / "runs")
    write_metrics(trained.metrics_file)
    run = make_run(metrics=False, extra={"trained_in": f"../{trained.path.name}"})
    assert len(read_record(run).metrics) == 6
    gone = make_run(metrics=False, extra={"trained_in": "../nowhere"})
    assert read_record(gone).metrics == []


def test_command_and_environment_are_found_where_they_were_recorded(make_run):
    run = make_run(extra={"command": ["holdfast", "evaluate"], "environment": {"torch": "9"}})
    record = read_record(run)
    assert record.command == "holdfast evaluate"
    assert record.environment == {"torch": "9"}
    assert read_record(make_run()).command is None


def test_equal_names_get_their_folders(make_run):
    one, two, other = (
        read_record(make_run(model=model, gallery=False)) for model in ("net", "net", "other")
    )
    assert distinct([one, two, other]) == [
        "net (evaluate-net-toy-1)",
        "net (evaluate-net-toy-2)",
        "other",
    ]
