import threading

import pytest

from holdfast.core.errors import InputError, RunConflict
from holdfast.runs import Run, atomic


def make(tmp_path, **options):
    return Run.create("evaluate", "cnn", "digits", root=tmp_path / "runs", **options)


def test_names_count_up_and_fill_gaps(tmp_path):
    runs = [make(tmp_path) for _ in range(3)]
    assert [run.path.name for run in runs] == [f"evaluate-cnn-digits-{n}" for n in (1, 2, 3)]
    (runs[1].path / "run.json").unlink()
    runs[1].path.rmdir()
    assert make(tmp_path).path.name == "evaluate-cnn-digits-2"


def test_names_are_safe_for_file_systems(tmp_path):
    run = Run.create("train", "../../x/my net:v1?.safetensors", "", root=tmp_path)
    assert run.path == tmp_path / "train-my-net-v1-unnamed-1"
    run = Run.create("train", "..", "d" * 300, root=tmp_path)
    assert run.path == tmp_path / f"train-unnamed-{'d' * 60}-1"


def test_creators_at_once_get_directories_of_their_own(tmp_path):
    made, start = [], threading.Barrier(8)

    def create():
        start.wait()
        made.extend(make(tmp_path).path.name for _ in range(4))

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == sorted(f"evaluate-cnn-digits-{n}" for n in range(1, 33))


def test_a_given_path_must_be_absent_or_empty(tmp_path):
    assert make(tmp_path, path=tmp_path / "a" / "b").path == tmp_path / "a" / "b"
    (tmp_path / "empty").mkdir()
    assert make(tmp_path, path=tmp_path / "empty").path == tmp_path / "empty"
    with pytest.raises(RunConflict, match=r"empty is not empty.*--resume"):
        make(tmp_path, path=tmp_path / "empty")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file.*cannot be written"):
        make(tmp_path, path=tmp_path / "file")


def test_open_wants_a_run_directory(tmp_path):
    run = make(tmp_path)
    assert Run.open(str(run.path)) == run
    assert run.describe() == {
        "schema": "holdfast-run/1",
        "verb": "evaluate",
        "model": "cnn",
        "data": "digits",
    }
    with pytest.raises(InputError, match="does not exist"):
        Run.open(tmp_path / "absent")
    with pytest.raises(InputError, match="not a run directory"):
        Run.open(tmp_path)
    with pytest.raises(InputError, match="not a folder"):
        Run.open(run.path / "run.json")


def test_files_have_the_documented_names(tmp_path):
    run = make(tmp_path)
    files = [
        run.recipe_file,
        run.metrics_file,
        run.checkpoints,
        run.result_file,
        run.examples_file,
        run.report_file,
        run.journal,
        run.ranks,
    ]
    assert [file.name for file in files] == [
        "recipe.toml",
        "metrics.jsonl",
        "checkpoints",
        "result.json",
        "examples.parquet",
        "report.html",
        "journal",
        "ranks",
    ]
    assert {file.parent for file in files} == {run.path}


def test_result_carries_its_schema_and_is_read_back(tmp_path):
    run = make(tmp_path)
    assert not run.finished
    with pytest.raises(InputError, match=r"no result yet.*--resume"):
        run.read_result()
    run.write_result({"robust": 0.25, "gap": float("nan")})
    assert run.finished
    assert list(run.read_result().items()) == [
        ("schema", "holdfast-result/1"),
        ("robust", 0.25),
        ("gap", None),
    ]
    run.write_result(run.read_result())
    assert next(iter(run.read_result())) == "schema"


def test_a_result_of_another_version_or_damaged_is_refused(tmp_path):
    run = make(tmp_path)
    atomic.write_json(run.result_file, {"schema": "holdfast-result/9"})
    with pytest.raises(InputError, match=r"result\.json.*holdfast-result/9"):
        run.read_result()
    run.result_file.write_text('{"schema":')
    with pytest.raises(InputError, match=r"result\.json.*JSON"):
        run.read_result()


def test_recipe_and_examples_and_settings_are_those_of_the_folder(tmp_path):
    run = make(tmp_path)
    with pytest.raises(InputError, match="no recipe"):
        run.read_recipe()
    with pytest.raises(InputError, match="no examples"):
        run.read_examples()
    run.write_recipe({"seed": 3})
    run.write_examples({"index": [4, 2]})
    run.settings({"seed": 3})
    assert run.read_recipe() == {"seed": 3}
    assert run.read_examples()["index"].tolist() == [4, 2]
    with pytest.raises(RunConflict, match="seed=3 and is resumed with seed=4"):
        run.settings({"seed": 4})
