"""`holdfast verify` as a command, on networks of a verification competition."""

import json

import pytest

NET, SPEC = "test/test_{}.onnx", "test/test_{}.vnnlib"


@pytest.fixture
def folder(data_dir):
    found = data_dir / "vnncomp2021"
    if not found.is_dir():
        pytest.skip("no networks of the competition")
    return found


def rows_of(folder, prefix):
    lines = (folder / "instances.csv").read_text().splitlines()
    return lines[:1], [line for line in lines[1:] if line.startswith(prefix)]


def test_verdicts_are_exit_codes(folder, run_command, tmp_path):
    _, rows = rows_of(folder, "test/")
    for network, spec, _, agreed in (row.split(",") for row in rows):
        file = tmp_path / "witness.txt"
        answer = run_command(
            "verify", folder / network, folder / spec, "--counterexample", file, "--json"
        )
        found = json.loads(answer.out)
        assert found["verdict"] == agreed
        assert answer.code == {"holds": 0, "violated": 1}[agreed]
        assert found["proved"]
        assert file.exists() == (agreed == "violated")
        assert ("counterexample" in found) == (agreed == "violated")
        file.unlink(missing_ok=True)


def test_a_list_is_answered_and_goes_on(folder, run_command, tmp_path):
    head, rows = rows_of(folder, "test/")
    listed = tmp_path / "some.csv"
    paths = [row.split(",") for row in rows]
    lines = [f"{folder / net},{folder / spec},{t},{v}" for net, spec, t, v in paths]
    listed.write_text("\n".join([*head, *lines]) + "\n")
    arguments = ("verify", "--instances", listed, "--folder", tmp_path / "kept", "--json")
    first, again = run_command(*arguments), run_command(*arguments)
    assert first.code == again.code == 0
    table = json.loads(first.out)["columns"]
    assert table == json.loads(again.out)["columns"]
    assert table["verdict"] == table["expected"]
    assert f"{len(rows)} queries" in run_command(*arguments[:-1]).out


def test_what_is_missing_is_one_line(run_command, tmp_path):
    for arguments, said in (
        ((), "network=None: is missing"),
        (("net.onnx",), "property=None: is missing"),
        (("net.onnx", "p.vnnlib", "--instances", "x.csv"), "is given beside a network"),
        (("net.onnx", "p.vnnlib", "--timeout", "-1"), "is not positive"),
        (("net.onnx", "p.vnnlib", "--method", "crwn"), "did you mean 'crown'"),
    ):
        answer = run_command("verify", *arguments)
        assert answer.code == 2
        assert said in answer.err
        assert answer.err.count("\n") == 1
