import re

import pytest

from holdfast.core.errors import InputError
from holdfast.report.page import write_report
from holdfast.report.verification import claim, families, write_verification
from holdfast.runs.directory import Run


def query(number, verdict, seconds=0.5, **more):
    row = {
        "number": number,
        "network": f"a/net{number % 2}.onnx",
        "property": f"a/p{number}.vnnlib",
        "timeout": 9.0,
        "expected": None,
        "verdict": verdict,
        "proved": verdict in ("holds", "violated"),
        "method": "",
        "boxes": 3,
        "seconds": seconds,
        "replayed": "",
        "confirmed": None,
        "problem": "",
    }
    return row | more


def listed(rows):
    return {"verb": "verify", "instances": "x/list.csv", "queries": rows, "command": "holdfast v"}


@pytest.fixture
def run(tmp_path):
    return Run.create("verify", "x", "list", path=tmp_path / "run")


def test_the_page_of_a_list_names_every_query_and_doubt(run):
    rows = [
        query(0, "holds", expected="violated"),
        query(1, "violated", confirmed=False, replayed="onnxruntime 1"),
        query(2, "unknown", problem="<b>missing</b>"),
        query(3, "holds", proved=False, network="b/<i>.onnx"),
    ]
    run.write_result(listed(rows))
    text = write_verification(run).read_text()
    assert "Of 4 queries 2 hold and 1 is violated, 2 of these answers proved; 1 is open." in text
    assert "against the agreed violated" in text
    assert "not confirmed by onnxruntime 1" in text
    assert "&lt;b&gt;missing" in text
    assert "<i>" not in text
    assert "no proof" in text
    assert all(f"a/p{number}.vnnlib" in text for number in range(4))
    assert text.count("<figure>") == 1
    assert not re.search(r'(?:src|href)="https?:', text)
    assert text == write_verification(run).read_text()


def test_the_page_of_one_query_says_how_it_was_replayed(run):
    replayed = {"by": "onnxruntime 1.2", "confirmed": True, "excess": -0.1}
    row = query(0, "violated", method="attack", replay=replayed, counterexample_file="c/0000.txt")
    run.write_result({"verb": "verify", **row})
    text = write_report(run).read_text()  # the general verb knows the page
    assert "The property is violated, proved with rounding accounted for." in text
    assert "onnxruntime 1.2: confirmed" in text
    assert "c/0000.txt" in text


def test_verifications_are_not_compared(run, tmp_path):
    run.write_result(listed([query(0, "holds")]))
    other = Run.create("verify", "y", "list", path=tmp_path / "other")
    with pytest.raises(InputError, match="its own page"):
        write_report([run, other])


def test_families_count_their_verdicts():
    rows = [query(0, "holds", 1.0), query(1, "timeout", 3.0), query(2, "holds", 2.0)]
    table = families([*rows, query(3, "violated", network="b/n.onnx")])
    assert table.rows[0] == ("a", 3, 2, 0, 1, 0, 2.0, 3.0)
    assert table.rows[1][:4] == ("b", 1, 0, 1)


def test_the_claim_of_an_open_query_claims_nothing():
    assert claim([query(0, "timeout")]) == "Not decided: the time ran out."
