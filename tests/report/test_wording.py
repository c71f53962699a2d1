import math

from holdfast.report import wording

ROBUST = {"threat": "linf:0.3", "examples": 1000, "clean_accuracy": 0.97, "robust_accuracy": 0.723}
ATTACKS = [{"name": "fgsm"}, {"name": "pgd-20-2"}]


def test_a_percentage_is_exact_at_the_ends_only():
    for good in range(5001):
        shown = wording.percent(good / 5000)
        assert (shown == "0.0%") == (good == 0)
        assert (shown == "100.0%") == (good == 5000)
        assert abs(float(shown.strip("%<>")) - good / 50) <= 0.1


def test_shares_too_near_the_ends_are_bounds():
    assert wording.percent(1e-9) == "<0.1%"
    assert wording.percent(1 - 1e-9) == ">99.9%"
    assert wording.percent(0.4, digits=0) == "40%"
    assert wording.percent(math.nan) == wording.ABSENT


def test_durations_carry_into_the_next_unit():
    assert wording.duration(59.96) == "1 min 0 s"
    assert wording.duration(119.7) == "2 min 0 s"
    assert wording.duration(0.9996) == "1.0 s"
    assert wording.duration(3600) == "1 h 0 min"


def test_the_claim_names_both_sides():
    result = ROBUST | {"certified_accuracy": 0.61, "attacks": ATTACKS}
    assert wording.claim(result) == (
        "At linf:0.3 on 1,000 examples: between 61.0% (certified) and 72.3% (attacked) robust; "
        "clean 97.0%"
    )


def test_a_missing_side_is_said_and_not_filled_in():
    attacked = wording.claim(ROBUST | {"certified_accuracy": None, "attacks": ATTACKS})
    assert "at most 72.3%" in attacked
    assert "nothing proved" in attacked
    proved = wording.claim(ROBUST | {"certified_accuracy": 0.61, "attacks": []})
    assert "at least 61.0%" in proved
    assert "not attacked" in proved
    assert "72.3%" not in proved
    neither = wording.claim(ROBUST | {"certified_accuracy": None, "attacks": []})
    assert "neither attacked nor certified" in neither


def test_what_each_side_rests_on():
    result = ROBUST | {"certified_accuracy": 0.61, "attacks": ATTACKS, "certified_by": ["interval"]}
    assert "fgsm and pgd-20-2" in wording.upper_side(result)
    assert "by interval" in wording.lower_side(result)
    assert wording.lower_side(ROBUST | {"certified_accuracy": None}).startswith("Not run")
    assert wording.upper_side(ROBUST | {"attacks": []}).startswith("No attack ran")


def _named(model, robust, certified):
    return {"model": model, "robust_accuracy": robust, "certified_accuracy": certified}


def test_a_comparison_is_certain_only_where_proof_exceeds_what_attacks_left():
    weak, strong = _named("weak", 0.55, 0.1), _named("strong", 0.74, 0.61)
    sure = wording.comparison([weak, strong])
    assert sure.startswith("strong is the most robust on these examples: 61.0%")
    assert "at most 55.0%" in sure
    rival = _named("rival", 0.84, 0.0)
    split = wording.comparison([weak, strong, rival])
    assert split == "Most is proved of strong (61.0%); the attacks leave most to rival (84.0%)."
    both = wording.comparison([_named("weak", 0.65, 0.1), strong])
    assert both.startswith("strong leads on both sides")
    assert wording.comparison([_named("a", 0.5, None), _named("b", 0.6, None)]).startswith(
        "Nothing is proved of any; the attacks leave most to b"
    )


def test_a_protocol_stands_for_its_steps():
    told = {"attacks": ATTACKS, "protocol": {"name": "fast", "version": "fast/1", "hash": "0a"}}
    assert "by the 2 steps of the protocol fast/1, each" in wording.upper_side(ROBUST | told)
    assert "fgsm and pgd-20-2" in wording.upper_side(ROBUST | told | {"protocol": None})
    assert wording.protocol({"protocol": {"name": "standard"}}) == "standard"
