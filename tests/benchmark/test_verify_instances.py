import os
import pickle
import sys
import types

import pytest

from holdfast.benchmark import verify_instances as module
from holdfast.benchmark.instances import Instance
from holdfast.benchmark.verify_attack import BoxDescent
from holdfast.benchmark.verify_instances import answer_query, counterexample_file, verify_instances
from holdfast.certify.bounds.linear import CROWN
from holdfast.core.errors import InputError
from holdfast.core.results import Verdict

ATTACK = BoxDescent(steps=5, samples=64)
NAMES = ("nano", "tiny", "small", "sat")


@pytest.fixture(autouse=True)
def own_forward(monkeypatch):
    """The same replay wherever the tests run."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)


def chosen(*names):
    return lambda each: each.network in [f"test/test_{name}.onnx" for name in names]


def plain(row):
    """What of a row does not depend on the time."""
    found = row.to_dict()
    del found["seconds"], found["replayed"]
    return found


def test_a_list_is_answered_once_and_gone_on_with(data_dir, tmp_path):
    pytest.importorskip("onnx")
    path = data_dir / "vnncomp2021" / "instances.csv"
    seen = []

    def run(names, falsifier=ATTACK):
        seen.clear()
        return verify_instances(
            path, folder=tmp_path, falsifier=falsifier, select=chosen(*names), on_row=seen.append
        )

    first = run(["nano", "sat"])
    assert [row.verdict for row in first.rows] == [Verdict.HOLDS, Verdict.VIOLATED]
    assert not first.contradictions
    assert all(row.proved for row in first.rows)
    assert (first.rows[1].replayed, first.rows[1].confirmed) == ("float64 forward", True)
    assert first.rows[0].confirmed is None
    assert counterexample_file(tmp_path, first.rows[1].number).read_text().startswith("sat\n((X_0 ")
    chunks = len(list((tmp_path / "journal").iterdir()))
    again = run(["nano", "tiny", "sat"])
    assert len(list((tmp_path / "journal").iterdir())) == chunks + 1  # only the new one
    assert (again.rows[0], again.rows[2]) == first.rows  # the seconds are those of the first run
    assert sorted(row.number for row in seen) == [row.number for row in again.rows]
    run(["nano"], BoxDescent(steps=6, samples=64))  # other settings are another run
    assert len(list((tmp_path / "journal").iterdir())) == chunks + 2


@pytest.mark.slow
def test_two_processes_give_the_same_answers(data_dir, tmp_path):
    pytest.importorskip("onnx")
    path = data_dir / "vnncomp2021" / "instances.csv"
    tables = [
        verify_instances(
            path, folder=tmp_path / str(jobs), jobs=jobs, falsifier=ATTACK, select=chosen(*NAMES)
        )
        for jobs in (1, 2)
    ]
    one, two = ([plain(row) for row in table.rows] for table in tables)
    assert one == two
    assert not (tmp_path / "2" / "claims").exists()
    number = tables[0].rows[3].number
    texts = [counterexample_file(tmp_path / jobs, number).read_text() for jobs in ("1", "2")]
    assert texts[0].count("X_") == texts[1].count("X_") == 5


def test_a_query_that_cannot_be_asked_says_why_and_is_asked_again(tmp_path):
    (tmp_path / "a.csv").write_text("missing.onnx,p.vnnlib,1\n")
    pytest.importorskip("onnx")
    for _ in range(2):
        (row,) = verify_instances(tmp_path / "a.csv", folder=tmp_path / "run").rows
        assert row.verdict is Verdict.UNKNOWN
        assert "p.vnnlib" in row.problem
        assert not row.decided


def test_a_fault_in_one_query_leaves_the_others(tmp_path, monkeypatch):
    def answer(instance, *arguments, number, **options):
        if number == 0:
            raise ZeroDivisionError("by accident")
        return module.Answer(module.InstanceRow(instance, Verdict.HOLDS, number))

    monkeypatch.setattr(module, "answer_query", answer)
    (tmp_path / "a.csv").write_text("a.onnx,p.vnnlib,1\nb.onnx,p.vnnlib,1\nc.onnx,p.vnnlib,1\n")
    table = verify_instances(tmp_path / "a.csv", folder=tmp_path / "run", limit=2)
    assert [row.verdict for row in table.rows] == [Verdict.UNKNOWN, Verdict.HOLDS]
    assert table.rows[0].problem == "fault: ZeroDivisionError: by accident"


def test_an_interrupted_list_keeps_what_is_answered(tmp_path, monkeypatch):
    def answer(instance, *arguments, number, **options):
        if number == 1 and not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt
        return module.Answer(module.InstanceRow(instance, Verdict.HOLDS, number, 0.5 + number))

    interrupted = []
    monkeypatch.setattr(module, "answer_query", answer)
    (tmp_path / "a.csv").write_text("a.onnx,p.vnnlib,1\nb.onnx,p.vnnlib,1\n")
    with pytest.raises(KeyboardInterrupt):
        verify_instances(tmp_path / "a.csv", folder=tmp_path / "run")
    assert len(list((tmp_path / "run" / "journal").iterdir())) == 1
    table = verify_instances(tmp_path / "a.csv", folder=tmp_path / "run")
    assert [row.seconds for row in table.rows] == [0.5, 1.5]


def here(target, calls, *, threads=1, on_result=None):
    """What `run_on_ray` does, in this process, from the last call to the first."""
    found = {}
    for place, call in reversed(list(enumerate(calls))):
        found[place] = pickle.loads(pickle.dumps(target(*pickle.loads(pickle.dumps(call)))))
        on_result(place, found[place])
    return [found[place] for place in sorted(found)]


def test_a_cluster_answers_and_only_the_asking_process_writes(tmp_path, monkeypatch):
    def answer(instance, root, *, number, **options):
        assert root == tmp_path / "lists"
        if number == 2 and not asked:
            asked.append(number)
            raise InputError("path", "c.onnx", "cannot be read", "mend it")
        asked.append(number)
        row = module.InstanceRow(instance, Verdict.VIOLATED, number, 0.5 + number)
        return types.SimpleNamespace(row=row, counterexample=f"sat {number}")

    asked, seen = [], []
    monkeypatch.setattr(module, "answer_query", answer)
    monkeypatch.setattr(module, "run_on_ray", here)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lists").mkdir()
    listed = tmp_path / "lists" / "a.csv"
    listed.write_text("a.onnx,p.vnnlib,1\nb.onnx,p.vnnlib,1\nc.onnx,p.vnnlib,1\n")
    options = {"folder": "run", "ray": True, "on_row": lambda row: seen.append(row.number)}
    table = verify_instances("lists/a.csv", **options)
    assert seen == [2, 1, 0]
    assert [row.decided for row in table.rows] == [True, True, False]
    assert "mend it" in table.rows[2].problem
    kept = [counterexample_file("run", number) for number in range(3)]
    assert [file.exists() for file in kept] == [True, True, False]
    assert kept[1].read_text() == "sat 1\n"
    again = verify_instances("lists/a.csv", **options)
    assert asked == [2, 1, 0, 2]  # a query that failed is asked again, the others are not
    assert seen == [2, 1, 0, 0, 1, 2]
    assert again.rows[:2] == table.rows[:2]
    assert verify_instances("lists/a.csv", folder="run").rows == again.rows
    with pytest.raises(InputError, match="jobs=2: is given beside Ray"):
        verify_instances("lists/a.csv", folder="run", ray=True, jobs=2)


@pytest.mark.slow
def test_a_real_cluster_gives_the_same_answers(data_dir, tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # or busy cores let the workers starve
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(data_dir)

    def wanted(each):
        return chosen(*NAMES)(each) or (
            each.network.startswith("acasxu") and each.property.endswith("prop_2.vnnlib")
        )

    tables = [
        verify_instances(
            "vnncomp2021/instances.csv",
            folder=tmp_path / str(ray),
            ray=ray,
            falsifier=ATTACK,
            bound=CROWN(),
            select=wanted,
        )
        for ray in (False, True)
    ]
    one, two = ([plain(row) for row in table.rows] for table in tables)
    assert len(one) == 7
    assert one == two
    files = [sorted((tmp_path / str(ray) / "counterexamples").iterdir()) for ray in (False, True)]
    assert [file.read_text() for file in files[0]] == [file.read_text() for file in files[1]]
    assert len(files[0]) == 3


def test_one_query_comes_with_its_evidence(data_dir):
    pytest.importorskip("onnx")
    folder = data_dir / "vnncomp2021" / "test"
    found = answer_query(Instance("test_sat.onnx", "test_prop.vnnlib", 60.0), folder)
    assert found.row.verdict is Verdict.VIOLATED
    assert found.replay.confirmed
    assert found.counterexample.startswith("sat\n((X_0 ")
    assert answer_query(Instance("test_nano.onnx", "test_nano.vnnlib", 9), folder).replay is None


@pytest.mark.slow
def test_the_agreed_verdicts_of_acas_xu_are_found(data_dir, tmp_path):
    pytest.importorskip("onnx")
    table = verify_instances(
        data_dir / "vnncomp2021" / "instances.csv",
        folder=tmp_path,
        bound=CROWN(),
        select=lambda each: each.network.startswith(("acasxu", "test")),
    )
    assert len(table.rows) == 17
    assert [row.verdict for row in table.rows] == [row.instance.expected for row in table.rows]
    assert all(row.proved for row in table.rows)
    assert len(list((tmp_path / "counterexamples").iterdir())) == 3
