import math

import pytest

from holdfast.report.flags import QUESTION, audit_sentence, flag_lines, trust

SEVERE = {
    "code": "zero-gradients",
    "severity": "severe",
    "evidence": "The gradient was zero for 7 of 37 examples.",
    "advice": "Attack with square.",
    "examples": list(range(100, 117)),
}
NOTE = {"code": "small_sample", "severity": "info", "evidence": "37 examples."}
AUDIT = {"sampled": 95, "found": 2, "bound": 0.074, "discarded": 200, "protocol": "standard"}


def test_old_results_say_nothing():
    assert trust({}) is None
    assert trust({"flags": None, "audit": None}) is None
    assert flag_lines({}) == []


def test_no_flag_is_said_and_is_no_proof():
    found = trust({"flags": []})
    assert found.flags == ()
    assert not found.severe
    assert found.verdict.startswith("No flag fired")
    assert "no proof" in found.verdict


def test_the_most_severe_comes_first_and_decides():
    found = trust({"flags": [NOTE, SEVERE | {"severity": "warning"}, SEVERE]})
    assert [flag.severity for flag in found.flags] == ["severe", "warning", "info"]
    assert [flag.word for flag in found.flags] == ["severe", "warning", "note"]
    assert found.severe
    assert found.verdict.startswith("Not as it stands")
    assert trust({"flags": [NOTE]}).verdict.startswith("As far as was checked")
    assert trust({"flags": [SEVERE | {"severity": "grave"}]}).flags[0].severity == "warning"


def test_a_flag_shows_its_code_as_words_and_some_of_its_examples():
    flag, note = trust({"flags": [SEVERE, NOTE]}).flags
    assert (flag.title, note.title) == ("Zero gradients", "Small sample")
    assert flag.examples.startswith("100, 101, 102")
    assert flag.examples.endswith("111 and 5 more")
    assert (note.advice, note.examples) == ("", "")
    assert trust({"flags": [{}]}).flags[0].title == "Flag"


@pytest.mark.parametrize("bound", [0.0301, 0.031, 0.0741, 1 / 3, 1.0])
def test_the_audit_never_rounds_its_bound_down(bound):
    said = audit_sentence({"examples": 617, "audit": AUDIT | {"bound": bound}})
    share, points = (float(part.split()[-1].strip("%")) for part in _around(said))
    assert bound <= share / 100 <= bound + 0.001
    missed = math.floor(bound * 200 + 1e-9)
    assert missed / 617 <= points / 100 <= missed / 617 + 0.001
    assert f"({missed})" in said


def _around(said):
    """The texts that end in the share and in the points."""
    before, _, rest = said.partition("% of the 200")
    return before, rest.partition(" percentage points")[0]


def test_the_audit_tells_what_it_did():
    said = audit_sentence({"examples": 617, "audit": AUDIT})
    assert "of the 200 examples that were set aside" in said
    assert "95 were drawn at random and attacked with all of the protocol standard; 2 fell." in said
    assert "percentage points" not in audit_sentence({"audit": AUDIT})
    assert "nothing is known" in audit_sentence({"audit": AUDIT | {"sampled": 0, "bound": None}})
    assert "no example was set aside" in audit_sentence({"audit": AUDIT | {"discarded": 0}})
    assert audit_sentence({"audit": None}) == ""
    assert trust({"audit": AUDIT}).verdict == ""


@pytest.mark.parametrize("width", [40, 72, 100])
def test_lines_for_a_terminal_fit_and_hold_everything(width):
    lines = flag_lines({"flags": [SEVERE, NOTE], "audit": AUDIT, "examples": 617}, width)
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    for said in (
        QUESTION,
        "severe: zero gradients",
        "seen: The gradient",
        "to do: Attack",
        "Audit:",
    ):
        assert said in text
    assert text.index("severe:") < text.index("note: small sample") < text.index("Audit:")


def test_no_control_character_reaches_the_terminal():
    lines = flag_lines({"flags": [SEVERE | {"evidence": "\x1b[2J\nwiped\x07", "code": "\x1b]0;x"}]})
    assert all(line.isprintable() for line in lines)
    assert any("wiped" in line for line in lines)
