import gzip

import pytest

from holdfast.certify.formats.sexpr import Atom, Document
from holdfast.core.errors import InputError


def plain(part):
    return part.text if isinstance(part, Atom) else [plain(each) for each in part.parts]


def test_lists_atoms_and_comments_are_told_apart():
    text = "(a (b -1.5)) ; a comment (with lists\n(<=\tx_0\n1e-3)"
    assert [plain(form) for form in Document("t", text).forms()] == [
        ["a", ["b", "-1.5"]],
        ["<=", "x_0", "1e-3"],
    ]


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("(a)\n(b\n(c)", 2, "no end"),
        ("(a)\n)", 2, "outside"),
        ("\n\nword", 3, "outside"),
        ("\n" + "(" * 5000, 2, "too deeply"),
    ],
)
def test_an_error_names_the_line(text, line, problem):
    with pytest.raises(InputError, match=f"t.vnnlib, line {line}: .*{problem}"):
        Document("t.vnnlib", text).forms()


def test_files_are_read_plain_and_compressed(tmp_path):
    (tmp_path / "a.vnnlib").write_text("(a)")
    (tmp_path / "a.vnnlib.gz").write_bytes(gzip.compress(b"(a)"))
    assert Document.read(tmp_path / "a.vnnlib").text == "(a)"
    assert Document.read(tmp_path / "a.vnnlib.gz").text == "(a)"


@pytest.mark.parametrize(
    "data", [b"(a)", gzip.compress(b"(a)" * 99)[:-9], b""], ids=["plain", "cut", "empty"]
)
def test_a_damaged_compressed_file_is_refused(data, tmp_path):
    (tmp_path / "a.gz").write_bytes(data)
    if data:
        with pytest.raises(InputError, match=r"a\.gz"):
            Document.read(tmp_path / "a.gz")
