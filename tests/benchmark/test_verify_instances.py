import gzip

import pytest

from holdfast.benchmark.verify_attack import BoxDescent
from holdfast.benchmark.verify_instances import (
    Instance,
    InstanceRow,
    InstanceTable,
    read_instances,
    verify_instances,
)
from holdfast.certify.linear import CROWN
from holdfast.core.errors import InputError
from holdfast.core.results import Verdict

ATTACK = BoxDescent(steps=5, samples=64)


def test_lists_with_and_without_a_header(tmp_path):
    plain, named, packed = (tmp_path / name for name in ("a.csv", "b.csv", "c.csv.gz"))
    plain.write_text("n.onnx,p.vnnlib,116\n\n")
    named.write_text("network,property,timeout_s,verdict\nn.onnx,p.vnnlib,116,holds\n")
    packed.write_bytes(gzip.compress(b"n.onnx, p.vnnlib, 116"))
    wanted = Instance("n.onnx", "p.vnnlib", 116.0)
    assert read_instances(plain) == read_instances(packed) == [wanted]
    assert read_instances(named) == [Instance("n.onnx", "p.vnnlib", 116.0, Verdict.HOLDS)]


@pytest.mark.parametrize("line", ["n.onnx,p.vnnlib", "n.onnx,p.vnnlib,soon", "n,p,1,perhaps"])
def test_a_bad_line_is_named(line, tmp_path):
    (tmp_path / "a.csv").write_text(f"n.onnx,p.vnnlib,116\n{line}\n")
    with pytest.raises(InputError, match=r"a\.csv:2"):
        read_instances(tmp_path / "a.csv")


def test_the_table_counts_and_finds_contradictions():
    def row(verdict, seconds, expected):
        return InstanceRow(Instance("n", "p", 9.0, expected), verdict, seconds)

    holds, violated = Verdict.HOLDS, Verdict.VIOLATED
    table = InstanceTable(
        (
            row(holds, 3.0, holds),
            row(violated, 1.0, holds),
            row(Verdict.TIMEOUT, 9.0, violated),
            row(holds, 2.0, None),
        )
    )
    assert table.count(holds) == 2
    assert [each.seconds for each in table.contradictions] == [1.0]
    assert table.cactus() == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert table.columns()["expected"] == ["holds", "holds", "violated", ""]


def test_a_list_is_answered_once_and_gone_on_with(data_dir, tmp_path):
    pytest.importorskip("onnx")
    path = data_dir / "vnncomp2021" / "instances.csv"
    seen = []

    def run(names, falsifier=ATTACK):
        seen.clear()
        return verify_instances(
            path,
            folder=tmp_path,
            falsifier=falsifier,
            select=lambda each: each.network in [f"test/test_{name}.onnx" for name in names],
            on_row=seen.append,
        )

    first = run(["nano", "sat"])
    assert [row.verdict for row in first.rows] == [Verdict.HOLDS, Verdict.VIOLATED]
    assert not first.contradictions
    assert all(row.proved for row in first.rows)
    (text,) = [each.read_text() for each in (tmp_path / "counterexamples").iterdir()]
    assert text.startswith("sat\n((X_0 ")
    chunks = len(list((tmp_path / "journal").iterdir()))
    again = run(["nano", "tiny", "sat"])
    assert len(list((tmp_path / "journal").iterdir())) == chunks + 1  # only the new one
    assert (again.rows[0], again.rows[2]) == first.rows  # the seconds are those of the first run
    assert tuple(seen) == again.rows
    run(["nano"], BoxDescent(steps=6, samples=64))  # other settings are another run
    assert len(list((tmp_path / "journal").iterdir())) == chunks + 2


def test_a_query_that_cannot_be_asked_says_why_and_is_asked_again(tmp_path):
    (tmp_path / "a.csv").write_text("missing.onnx,p.vnnlib,1\n")
    pytest.importorskip("onnx")
    for _ in range(2):
        (row,) = verify_instances(tmp_path / "a.csv", folder=tmp_path / "run").rows
        assert row.verdict is Verdict.UNKNOWN
        assert "missing.onnx" in row.problem
        assert not row.decided


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
