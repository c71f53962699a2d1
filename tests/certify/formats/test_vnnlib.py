import gzip
import random
from contextlib import suppress

import pytest
import torch

from holdfast.certify.formats.sexpr import Atom, Document
from holdfast.certify.formats.vnnlib import counterexample_text, parse_vnnlib, read_vnnlib
from holdfast.core.errors import InputError

HEAD = """(declare-const X_0 Real)
(declare-const X_1 Real)
(declare-const Y_0 Real) (declare-const Y_1 Real) (declare-const Y_2 Real)
"""
BOX = "(assert (and (>= X_0 -1) (<= X_0 1) (<= 0.25 X_1) (>= 0.5 X_1)))\n"
END = "(assert (<= Y_0 Y_1))"


def rows(text):
    """The rows and limits of each case."""
    return [
        [(*row, limit) for row, limit in zip(c.rows.tolist(), c.limits.tolist(), strict=True)]
        for c in parse_vnnlib(HEAD + BOX + text).cases
    ]


def test_bounds_are_read_from_either_side():
    (case,) = parse_vnnlib(HEAD + BOX + END).cases
    assert case.lower.tolist() == [-1.0, 0.25]
    assert case.upper.tolist() == [1.0, 0.5]


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("(<= Y_0 Y_1)", (1, -1, 0, 0)),
        ("(>= Y_0 Y_1)", (-1, 1, 0, 0)),
        ("(<= Y_2 3.5)", (0, 0, 1, 3.5)),
        ("(<= 3.5 Y_2)", (0, 0, -1, -3.5)),
        ("(<= (+ (* 2 Y_0) (* Y_1 -0.5) 1) (- Y_2 4))", (2, -0.5, -1, -5)),
        ("(>= (- Y_0) (/ Y_1 4))", (1, 0.25, 0, 0)),
        ("(<= (* 2 (+ Y_0 (- 1 Y_1 Y_2))) 0)", (2, -2, -2, -2)),
        ("(<= (+ 0.1 0.2 Y_0) (+ Y_0 Y_1 -.3e0))", (0, -1, 0, -0.6)),
    ],
)
def test_a_comparison_becomes_one_row(text, row):
    assert rows(f"(assert {text})") == [[row]]


def test_an_equality_is_two_comparisons():
    assert rows("(assert (= Y_0 (+ Y_1 2)))") == [[(1, -1, 0, 2), (-1, 1, 0, -2)]]
    (case,) = parse_vnnlib(HEAD + BOX + END + "(assert (= X_0 0.5))").cases
    assert case.lower.tolist() == [0.5, 0.25]
    assert case.upper.tolist() == [0.5, 0.5]


def test_nests_of_and_and_or_are_multiplied_out():
    a, b, c, d = (f"(<= Y_0 {i})" for i in range(4))
    text = f"(assert (or {a} (and {b} (or {c} {d}))))"
    limits = [[each[-1] for each in case] for case in rows(text)]
    assert limits == [[0], [1, 2], [1, 3]]
    twice = rows(text + f"(assert (or {c} {d}))(assert {a})")
    assert [[each[-1] for each in case] for case in twice] == [
        [0, 0, 2], [0, 0, 3], [0, 1, 2, 2], [0, 1, 2, 3], [0, 1, 3, 2], [0, 1, 3, 3]
    ]  # fmt: skip


def test_alternatives_may_have_boxes_of_their_own():
    text = "(assert (or (and (<= X_0 0) (<= Y_0 1)) (and (>= X_0 0.5) (<= Y_1 2)) (<= X_0 -7)))"
    first, second = parse_vnnlib(HEAD + BOX + END + text).cases  # the third box is empty
    assert (first.lower.tolist(), first.upper.tolist()) == ([-1, 0.25], [0, 0.5])
    assert (second.lower.tolist(), second.upper.tolist()) == ([0.5, 0.25], [1, 0.5])


@pytest.mark.parametrize(("constant", "count"), [("(<= 1 2)", 1), ("(<= 2 1)", 0)])
def test_a_constraint_without_variables_is_true_or_false(constant, count):
    assert len(parse_vnnlib(HEAD + BOX + END + f"(assert {constant})").cases) == count


def truth(part, point):
    """A direct evaluation of an expression at a point, apart from the parser's own."""
    if isinstance(part, Atom):
        return point[part.text] if part.text in point else float(part.text)
    values = [truth(each, point) for each in part.parts[1:]]
    head = part.head
    if head in ("<=", ">="):
        return values[0] <= values[1] if head == "<=" else values[0] >= values[1]
    return all(values) if head == "and" else any(values)


def expression(draw, depth):
    if depth == 0 or draw.random() < 0.3:
        sides = [draw.choice(["X_0", "X_1", "Y_0", "Y_1", "Y_2"]), str(draw.randint(-3, 3))]
        if sides[0][0] == "Y" and draw.random() < 0.5:
            sides[1] = draw.choice(["Y_0", "Y_1", "Y_2"])
        draw.shuffle(sides)
        return f"({draw.choice(['<=', '>='])} {' '.join(sides)})"
    parts = [expression(draw, depth - 1) for _ in range(draw.randint(1, 3))]
    return f"({draw.choice(['and', 'or'])} {' '.join(parts)})"


@pytest.mark.parametrize("seed", range(25))
def test_the_normal_form_means_what_the_file_says(seed):
    draw = random.Random(seed)
    box = "(and (>= X_0 -3) (<= X_0 3) (>= X_1 -3) (<= X_1 3) (<= Y_0 9))"
    asserts = [box, *(expression(draw, 3) for _ in range(2))]
    text = HEAD + "".join(f"(assert {each})" for each in asserts)
    parsed = parse_vnnlib(text)
    forms = [form.parts[1] for form in Document("t", text).forms() if form.head == "assert"]
    names = ["X_0", "X_1", "Y_0", "Y_1", "Y_2"]
    for _ in range(60):
        point = {name: float(draw.randint(-4, 4)) for name in names}
        values = torch.tensor([list(point.values())], dtype=torch.float64)
        found = bool(parsed.violated(values[:, :2], values[:, 2:]))
        assert found == all(truth(form, point) for form in forms)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("(assert (<= Y_3 0))", 5, "'Y_3' is not declared"),
        ("(assert (<= Y_0 1..2))", 5, "no number"),
        ("(assert (<= Y_0 1e999))", 5, "no number"),
        ("(assert (<= Y_0 0) (<= Y_1 0))", 5, "one expression"),
        ("(assert (< Y_0 0))", 5, "'<' is not supported"),
        ("(assert (not (<= Y_0 0)))", 5, "'not' is not supported"),
        ("(assert (<= Y_0))", 5, "compares two terms"),
        ("(assert (<= (* Y_0 Y_1) 0))", 5, "no linear term"),
        ("(assert (<= (/ Y_0 0) 0))", 5, "no linear term"),
        ("(assert (<= (+ X_0 X_1) 0))", 5, "relates an input"),
        ("(assert (<= X_0 Y_0))", 5, "relates an input"),
        ("(assert (or))", 5, "joins nothing"),
        ("(assert true)", 5, "no constraint"),
        ("(declare-const Y_0 Real)", 5, "declared twice"),
        ("(declare-const Z_0 Real)", 5, "no name"),
        ("(declare-const X_2 Int)", 5, "no declaration"),
        ("(declare-const X_2 Real)", 5, "X_2 has no lower bound"),
        ("(declare-const X_3 Real)", 1, "X_2 is not declared"),
        ("(prove everything)", 5, "'prove' is not known"),
        ("(assert (<= Y_0 0)", 5, "no end"),
        ("(assert (<= Y_0 (* 1e300 1e300)))", 5, "too large"),
        ("", 5, "nothing of the outputs"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(text, line, problem):
    with pytest.raises(InputError, match=f"p.vnnlib, line {line}: .*{problem}"):
        parse_vnnlib(HEAD + BOX + text, "p.vnnlib")


@pytest.mark.slow
def test_alternatives_that_multiply_to_too_many_are_refused():
    two = "(or (<= Y_0 0) (<= Y_1 0))"
    with pytest.raises(InputError, match="multiply"):
        parse_vnnlib(HEAD + BOX + f"(assert {two})" * 20)


@pytest.mark.parametrize("seed", range(30))
def test_damaged_texts_are_read_or_refused(seed):
    draw = random.Random(seed)
    text = HEAD + BOX + "(assert (or (and (<= Y_0 Y_1) (>= Y_2 1e-3)) (<= (+ Y_0 1) Y_2)))"
    for _ in range(20):
        at = draw.randrange(len(text))
        junk = draw.choice(["", "(", ")", "X_9", "\0", "\N{SNOWMAN}", "-", "1e9", ";", "and "])
        damaged = text[:at] + junk + text[at + draw.randrange(9) :]
        with suppress(InputError):
            parse_vnnlib(damaged)


def test_the_files_of_the_competition_are_read(data_dir):
    folder = data_dir / "vnncomp2021"
    first = read_vnnlib(folder / "acasxu" / "prop_1.vnnlib")
    assert first.cases[0].rows.tolist() == [[-1, 0, 0, 0, 0]]
    assert first.cases[0].limits.tolist() == [-3.991125645861615]
    image = read_vnnlib(folder / "mnistfc" / "prop_3_0.05.vnnlib")
    assert (image.inputs, image.outputs, len(image.cases)) == (784, 10, 9)
    assert all(case.rows.sum() == 0 for case in image.cases)


def test_compressed_files_are_read(tmp_path):
    path = tmp_path / "p.vnnlib.gz"
    path.write_bytes(gzip.compress((HEAD + BOX + END).encode()))
    assert read_vnnlib(path).name == "p.vnnlib.gz"


def test_a_counterexample_keeps_every_digit():
    x = torch.tensor([1 / 3, -0.1], dtype=torch.float64)
    y = torch.tensor([1e-17], dtype=torch.float64)
    (form,) = Document("t", counterexample_text(x, y).removeprefix("sat\n")).forms()
    found = {name.text: float(value.text) for name, value in (p.parts for p in form.parts)}
    assert found == {"X_0": 1 / 3, "X_1": -0.1, "Y_0": 1e-17}
