"""What a reproduction is made of: sizes, rows, published numbers, claims; and what a run finds.

A *row* is one attack on one network, one training (`trainings.TrainedRow`), or a computation
(`computations.ComputedRow`); a *line* is what a table shows, by default one per row. All are frozen
records; the only verb is `holdfast.reproduce.running.run`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor

from holdfast.attacks.attack import Attack
from holdfast.core.errors import unknown_name
from holdfast.measures.queries import Queries
from holdfast.reproduce.computations import ComputedRow
from holdfast.reproduce.subjects import Subject
from holdfast.reproduce.trainings import TrainedRow, line_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SizeName = Literal["quick", "scaled", "published"]
Figures = Mapping[str, float | None]
Lines = dict[str, dict[str, float | None]]

MEASURES = ("failure_rate", "mean_queries", "median_queries")
NOT_PUBLISHED = "not the published setting"


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a run is.

    Args:
        name: `quick` is for tests and judges no claim; `scaled` runs on a laptop; `published`.
        images: attacked or measured, of each subject.
        subjects: the networks and their data.
        recipes: of the networks that are trained.
        changes: of every one of these recipes, dotted.
        threats: their texts, in the order that the entry expects.
        fractions: the attack's first fraction of the image, one for each threat.
        queries: of a run of the attack.
        restarts: runs of the attack.
        seeds: repetitions with other seeds.
        minutes: CPU time on one core, roughly.
        note: how this differs from what was published; empty where it does not.
    """

    name: SizeName
    images: int
    minutes: float
    subjects: tuple[Subject, ...] = ()
    recipes: tuple[str, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)
    threats: tuple[str, ...] = ()
    queries: int = 0
    fractions: tuple[float, ...] = ()
    restarts: int = 1
    seeds: int = 1
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The size as plain data."""
        return {
            "size": self.name,
            "subjects": [each.name for each in self.subjects],
            "recipes": list(self.recipes),
            "changes": {key: str(value) for key, value in self.changes.items()},
            "threats": list(self.threats),
            "fractions": list(self.fractions),
            "images": self.images,
            "queries": self.queries,
            "restarts": self.restarts,
            "seeds": self.seeds,
            "minutes": self.minutes,
            "note": self.note,
        }


@dataclass(frozen=True, kw_only=True)
class Row:
    """One attack on one network.

    Args:
        name: unlike that of any other row.
        subject: the network and its data.
        threat: its text.
        attack: with all its hyperparameters.
        targeted: aims at a class drawn uniformly from the wrong ones, one per image.
        seed: added to the run's.
        again: asks once more, on fresh draws, at the point found: for networks that draw.
        keep: keeps the points found and their margins, for pictures.
    """

    name: str
    subject: Subject
    threat: str
    attack: Attack
    targeted: bool = False
    seed: int = 0
    again: bool = False
    keep: bool = False


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A property that the source claims, such as an ordering, judged at any size but `quick`.

    Args:
        text: what is claimed.
        holds: from the lines to whether it does; None where a figure that it needs is absent.
    """

    text: str
    holds: Callable[[Lines], bool | None]

    def judge(self, lines: Lines) -> bool | None:
        """Whether it holds; None where a line or a figure is absent."""
        if not lines:
            return None
        try:
            return self.holds(lines)
        except (KeyError, TypeError):
            return None


@dataclass(frozen=True, kw_only=True, eq=False)
class Finding:
    """What a run found.

    Args:
        outcomes: of each attack that ran, example by example.
        lines: the figures of each line.
        columns: all that was kept of each row: of an attack by example (`index`, `queries`,
            `x_adv`, ...), of a training by seed (see `trainings.trained`), of a
            computation as it says.
        skipped: why a row did not run.
        seconds: of each row that ran in this process from the beginning.
        size: how large it was.
    """

    outcomes: Mapping[str, Queries]
    lines: Lines
    columns: Mapping[str, Mapping[str, Tensor]]
    size: Size
    skipped: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


def line_per_row(
    outcomes: Mapping[str, Queries], columns: Mapping[str, Mapping[str, Tensor]]
) -> Lines:
    """The statistics of each attack, the figures of each training."""
    return {
        name: outcomes[name].statistics() if name in outcomes else line_of(each)
        for name, each in columns.items()
    }


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A published table or figure, and how to compute it again.

    Args:
        id: how users call it.
        title: what it shows.
        thesis: author and year.
        source: section, table, figure.
        needs: data, models, packages of the published setting.
        setting: what was published, in words.
        sizes: at which it runs.
        rows: the attacks, trainings or computations of a size, in order.
        published: figures by line and measure.
        measures: the columns of its table.
        claims: what the source claims, judged at any size but `quick`.
        draw: the figure of a finding.
        lines: from the rows' outcomes to the table's lines.
        tolerance: by measure, absolute and relative; judged in the published setting alone.
        remarks: what a reader should know of the published numbers.
    """

    id: str
    title: str
    thesis: str
    source: str
    needs: tuple[str, ...]
    setting: str
    sizes: tuple[Size, ...]
    rows: Callable[[Size], Sequence[Row | TrainedRow | ComputedRow]]
    published: Mapping[str, Figures]
    claims: tuple[Claim, ...]
    draw: Callable[[Finding, "Reproduction"], "Figure"]
    measures: tuple[str, ...] = MEASURES
    lines: Callable[[Mapping[str, Queries], Any], Lines] = line_per_row
    tolerance: Mapping[str, tuple[float, float]] = field(
        default_factory=lambda: {
            "failure_rate": (0.015, 0.0),
            "robust_accuracy": (0.03, 0.0),
            "mean_queries": (0.0, 0.2),
            "median_queries": (2.0, 0.2),
        }
    )
    remarks: str = ""

    def size(self, name: str) -> Size:
        """The size of that name.

        Raises:
            InputError: the entry does not run at it.
        """
        known = {each.name: each for each in self.sizes}
        if name not in known:
            raise unknown_name("size", name, known)
        return known[name]

    def compare(self, lines: Lines) -> list[dict[str, Any]]:
        """Published, ours, and the difference (ours less published), line by line."""
        found: list[dict[str, Any]] = []
        for name in dict.fromkeys((*lines, *self.published)):
            ours, theirs = lines.get(name, {}), self.published.get(name, {})
            figures = {}
            for measure in self.measures:
                one, other = ours.get(measure), theirs.get(measure)
                both = one is not None and other is not None
                gap = one - other if one is not None and other is not None else None
                close = self._close(measure, gap, other) if both else None
                if one is not None or other is not None:
                    figures[measure] = {
                        "published": other,
                        "ours": one,
                        "difference": gap,
                        "within_tolerance": close,
                    }
            found.append({"line": name, "figures": figures})
        return found

    def _close(self, measure: str, gap: float | None, published: float | None) -> bool | None:
        if gap is None or published is None or measure not in self.tolerance:
            return None
        absolute, relative = self.tolerance[measure]
        return abs(gap) <= max(absolute, relative * abs(published))

    def to_dict(self) -> dict[str, Any]:
        """The entry as plain data, without what computes it."""
        return {
            "id": self.id,
            "title": self.title,
            "thesis": self.thesis,
            "source": self.source,
            "needs": list(self.needs),
            "published_setting": self.setting,
            "sizes": [each.to_dict() for each in self.sizes],
            "published": {name: dict(each) for name, each in self.published.items()},
            "claims": [each.text for each in self.claims],
            "tolerance": {name: list(each) for name, each in self.tolerance.items()},
            "remarks": self.remarks,
        }
