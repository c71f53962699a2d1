import gzip

import pytest

from holdfast.benchmark.instances import Instance, InstanceRow, InstanceTable, read_instances
from holdfast.core.errors import InputError
from holdfast.core.results import Verdict


def test_lists_with_and_without_a_header(tmp_path):
    plain, named, packed = (tmp_path / name for name in ("a.csv", "b.csv", "c.csv.gz"))
    plain.write_text("n.onnx,p.vnnlib,116\n\n")
    named.write_text("network, property,timeout_s,verdict\r\nn.onnx,p.vnnlib,116,holds\r\n")
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbfn.onnx, p.vnnlib, 116"))
    wanted = Instance("n.onnx", "p.vnnlib", 116.0)
    assert read_instances(plain) == read_instances(packed) == [wanted]
    assert read_instances(named) == [Instance("n.onnx", "p.vnnlib", 116.0, Verdict.HOLDS)]


@pytest.mark.parametrize(
    "line",
    ["n.onnx,p.vnnlib", "n.onnx,p.vnnlib,soon", "n,p,1,perhaps", "n,p,-1", "n,p,nan", ",p,1"],
)
def test_a_bad_line_is_named(line, tmp_path):
    (tmp_path / "a.csv").write_text(f"n.onnx,p.vnnlib,116\n{line}\n")
    with pytest.raises(InputError, match=r"a\.csv:2"):
        read_instances(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", b""), ("b.csv", b"network,property,timeout_s\n"), ("c.csv.gz", b"no gzip")],
)
def test_a_list_without_queries_is_refused(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=r"holds no query|cannot be read"):
        read_instances(tmp_path / name)


def test_the_table_counts_and_finds_contradictions():
    def row(number, verdict, seconds, expected, **more):
        return InstanceRow(Instance("n", "p", 9.0, expected), verdict, number, seconds, **more)

    holds, violated = Verdict.HOLDS, Verdict.VIOLATED
    table = InstanceTable(
        (
            row(0, holds, 3.0, holds, proved=True),
            row(1, violated, 1.0, holds, confirmed=False, replayed="onnxruntime 1"),
            row(2, Verdict.TIMEOUT, 9.0, violated),
            row(3, holds, 2.0, None),
        )
    )
    assert table.count(holds) == 2
    assert [each.seconds for each in table.contradictions] == [1.0]
    assert table.cactus() == [(1, 1.0), (2, 2.0), (3, 3.0)]
    found = table.to_dict()
    assert found["counts"] == {"holds": 2, "violated": 1, "timeout": 1, "unknown": 0}
    assert (found["proved"], found["unconfirmed"], found["contradictions"]) == (1, 1, [1])
    assert [each["expected"] for each in found["queries"]] == ["holds", "holds", "violated", None]
