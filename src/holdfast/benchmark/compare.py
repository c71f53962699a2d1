"""Two runs on the same examples, compared pair by pair.

For each of clean, robust and certified accuracy, only the examples on which the runs differ say
anything: with b of them right in the first run alone and c in the second alone, under the
hypothesis that neither is better b is binomial with n = b + c and probability 1/2.

Source: McNemar 1947, Note on the sampling error of the difference between correlated proportions;
the exact form, without the chi-squared approximation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from holdfast.core.errors import InputError
from holdfast.runs.atomic import shown
from holdfast.runs.directory import Run

_LOST = {
    "clean": ("misclassified",),
    "robust": ("misclassified", "broken"),
    "certified": ("misclassified", "broken", "undecided"),
}


@dataclass(frozen=True)
class Difference:
    """One accuracy of two runs.

    Args:
        measure: `clean`, `robust` or `certified`.
        first: accuracy of the first run.
        second: accuracy of the second.
        difference: second minus first.
        only_first: examples that stand in the first run alone.
        only_second: examples that stand in the second run alone.
        p_value: of the exact two-sided test; 1 where the runs do not differ.
    """

    measure: str
    first: float
    second: float
    difference: float
    only_first: int
    only_second: int
    p_value: float


@dataclass(frozen=True)
class Comparison:
    """Two runs compared.

    Args:
        names: of the two runs.
        examples: how many examples they share: all.
        rows: one difference per accuracy that both runs hold.
        warnings: what makes the comparison less than one of models alone.
    """

    names: tuple[str, str]
    examples: int
    rows: tuple[Difference, ...]
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "runs": list(self.names),
            "examples": self.examples,
            "differences": [asdict(row) for row in self.rows],
            "warnings": list(self.warnings),
        }


def compare(first: Run, second: Run) -> Comparison:
    """Compares two evaluations of the same examples.

    Raises:
        InputError: a run without an evaluation; runs on different examples.

    Cost: reads the two runs; nothing is computed anew.
    """
    results = [evaluation_of(each) for each in (first, second)]
    hashes = [str(result.get("settings", {}).get("data")) for result in results]
    if hashes[0] != hashes[1]:
        problem = f"holds other examples than {shown(first.path)} (data {hashes[0][:12]})"
        raise InputError("run", str(second.path), problem, "evaluate both on the same data")
    outcomes = [_outcomes(each) for each in (first, second)]
    if outcomes[0].keys() != outcomes[1].keys():
        problem = f"has rows of other examples than {shown(first.path)}"
        raise InputError("run", str(second.path), problem, "evaluate both on the same data")
    names = (first.path.name, second.path.name)
    measures = [name for name in _LOST if _both(name, results)]
    rows = tuple(_difference(name, results, outcomes) for name in measures)
    return Comparison(names, len(outcomes[0]), rows, tuple(_warnings(names, results)))


def evaluation_of(run: Run) -> dict[str, Any]:
    """The evaluation that the run's `result.json` holds, itself or under `evaluation`.

    Raises:
        InputError: it holds none, or has not finished.
    """
    result = run.read_result()
    for place in (result, result.get("evaluation")):
        if isinstance(place, Mapping) and "robust_accuracy" in place:
            return dict(place)
    remedy = "give a run of `holdfast evaluate` or `holdfast certify`"
    raise InputError("run", shown(run.path), "holds no evaluation", remedy)


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided p-value of b and c discordant pairs.

    Example:
        >>> mcnemar(0, 5)
        0.0625
    """
    if only_first + only_second == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(only_first, only_first + only_second, 0.5).pvalue)


def _outcomes(run: Run) -> dict[int, str]:
    columns = run.read_examples()
    if not {"index", "outcome"} <= columns.keys():
        remedy = "run again with --resume"
        raise InputError("run", shown(run.path), "has no outcomes of examples", remedy)
    return dict(zip(columns["index"].tolist(), columns["outcome"].tolist(), strict=True))


def _both(name: str, results: Sequence[Mapping[str, Any]]) -> bool:
    return all(result.get(f"{name}_accuracy") is not None for result in results)


def _difference(
    name: str, results: Sequence[Mapping[str, Any]], outcomes: Sequence[Mapping[int, str]]
) -> Difference:
    lost = _LOST[name]
    first, second = outcomes
    stands = [(first[i] not in lost, second[i] not in lost) for i in first]
    only_first = sum(one and not other for one, other in stands)
    only_second = sum(other and not one for one, other in stands)
    before, after = (float(result[f"{name}_accuracy"]) for result in results)
    p_value = mcnemar(only_first, only_second)
    return Difference(name, before, after, after - before, only_first, only_second, p_value)


def _warnings(names: Sequence[str], results: Sequence[Mapping[str, Any]]) -> list[str]:
    """What else differs than the model, and which number is in doubt."""
    said = []
    if results[0].get("threat") != results[1].get("threat"):
        said.append(f"the threats differ: {results[0].get('threat')}, {results[1].get('threat')}")
    protocols = [protocol_of(result) for result in results]
    if protocols[0] != protocols[1]:
        told = ", ".join(name or "a list of attacks" for name in protocols)
        said.append(f"the protocols differ: {told}; part of a difference may be theirs")
    settings = [result.get("settings", {}) for result in results]
    same = [settings[0].get(key) == settings[1].get(key) for key in ("protocol", "attacks")]
    if protocols[0] == protocols[1] and not all(same):
        named = "attacks" if same[0] else "settings of the protocol"
        said.append(f"the {named} differ: part of a difference may be theirs")
    if settings[0].get("bounds") != settings[1].get("bounds"):
        said.append("the bounds differ: part of a difference may be theirs")
    for name, result in zip(names, results, strict=True):
        severe = [flag["code"] for flag in flags_of(result) if flag.get("severity") == "severe"]
        if severe:
            said.append(f"{name} has severe flags ({', '.join(severe)}): its number is in doubt")
    return said


def protocol_of(result: Mapping[str, Any]) -> str:
    """The version of an evaluation's protocol, such as `standard/1`; empty for a list of attacks.

    Example:
        >>> protocol_of({"protocol": {"name": "fast", "version": "fast/1"}})
        'fast/1'
    """
    protocol = result.get("protocol")
    return str(protocol.get("version", "")) if isinstance(protocol, Mapping) else ""


def flags_of(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The flags of an evaluation; none where it was not checked."""
    return [flag for flag in result.get("flags") or () if isinstance(flag, Mapping)]
