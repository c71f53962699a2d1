import pytest

from holdfast.core.errors import InputError, RunConflict
from holdfast.runs import settings

HEADER = {"model": "ab12", "threat": {"kind": "linf", "eps": 8 / 255}, "seed": 0, "pool": (1, 2)}


def test_equal_settings_pass_whatever_their_order(tmp_path):
    file = tmp_path / "run" / "settings.json"
    settings.fix(file, HEADER)
    settings.fix(file, dict(reversed(HEADER.items())))
    settings.fix(file, HEADER | {"pool": [1, 2], "seed": 0.0})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"threat": {"kind": "linf", "eps": 4 / 255}}, ["threat.eps=0.031", "threat.eps=0.015"]),
        ({"seed": 1}, ["seed=0 ", "seed=1;"]),
        ({"seed": False}, ["seed=0 ", "seed=False;"]),
        ({"threads": 2}, ["threads=(absent)", "threads=2"]),
        ({"threat": None}, ["threat={'kind'", "threat=None"]),
        ({"pool": [2, 1]}, ["pool=[1, 2]", "pool=[2, 1]"]),
    ],
)
def test_a_difference_is_named_with_both_values(tmp_path, change, words):
    file = tmp_path / "settings.json"
    settings.fix(file, HEADER)
    before = file.read_bytes()
    with pytest.raises(RunConflict) as caught:
        settings.fix(file, HEADER | change)
    assert all(word in str(caught.value) for word in [*words, "without --resume"])
    assert "\n" not in str(caught.value)
    assert file.read_bytes() == before


def test_a_setting_left_out_is_a_difference_and_the_first_one_is_named(tmp_path):
    file = tmp_path / "settings.json"
    settings.fix(file, HEADER)
    with pytest.raises(RunConflict, match=r"pool=\[1, 2\].*pool=\(absent\)"):
        settings.fix(file, {key: HEADER[key] for key in ("model", "threat", "seed")})
    with pytest.raises(RunConflict, match="seed=0 and"):
        settings.fix(file, {"seed": 5, "model": "cd34"} | {})


def test_damaged_settings_name_the_file(tmp_path):
    file = tmp_path / "settings.json"
    file.write_text("{")
    with pytest.raises(InputError, match=r"settings\.json"):
        settings.fix(file, HEADER)
