"""The schedules that users can name."""

from holdfast.core.catalogue import Catalogue, Entry

_WONG = "Wong 2020, sec 4.3.2"
_HOME = "holdfast.schedules"

SCHEDULES = Catalogue(
    "schedule",
    Entry(name="constant", target=f"{_HOME}.constant:Constant", summary="the same value"),
    Entry(
        name="piecewise",
        target=f"{_HOME}.piecewise:Piecewise",
        summary="a value multiplied by a factor at given fractions of training",
        source=_WONG,
    ),
    Entry(
        name="steps",
        target=f"{_HOME}.piecewise:Steps",
        summary="given values on plateaus, of equal length unless said otherwise",
        source=_WONG,
    ),
    Entry(
        name="linear",
        target=f"{_HOME}.linear:Linear",
        summary="a straight line, held before and after",
        source=_WONG,
    ),
    Entry(
        name="cyclic",
        target=f"{_HOME}.linear:Cyclic",
        summary="a triangle from 0 up to a peak and back to 0",
        source="Wong 2020, sec 4.2.2",
    ),
    Entry(
        name="knots",
        target=f"{_HOME}.linear:Knots",
        summary="straight lines through given points",
        source="Wong 2020, sec 4.2.3",
    ),
    Entry(
        name="cosine",
        target=f"{_HOME}.cosine:Cosine",
        summary="half a cosine from one value to another",
        source="Loshchilov and Hutter 2017, arXiv:1608.03983",
    ),
    Entry(
        name="power",
        target=f"{_HOME}.growth:Power",
        summary="growth as a power of progress",
        source="Andriushchenko 2024, sec 6.4",
    ),
    Entry(
        name="exponential",
        target=f"{_HOME}.growth:Exponential",
        summary="growth or decay at a constant rate",
        source="Andriushchenko 2024, sec 6.4",
    ),
    Entry(
        name="warmup",
        target=f"{_HOME}.composed:Warmup",
        summary="another schedule, brought in linearly",
        source="Andriushchenko 2024, sec 2.9",
    ),
    Entry(
        name="clipped",
        target=f"{_HOME}.composed:Clipped",
        summary="another schedule, kept between two values",
        source="Liu 2022, eq 4.29",
    ),
    Entry(
        name="periodic",
        target=f"{_HOME}.composed:Periodic",
        summary="another schedule, started again at given fractions of training",
        source="Liu 2022, sec 4.2.4",
    ),
    Entry(
        name="held",
        target=f"{_HOME}.composed:Held",
        summary="another schedule, looked at once per epoch",
        source="Liu 2022, sec 4.2.4",
    ),
    Entry(
        name="budget",
        target=f"{_HOME}.budget:Budget",
        summary="the share of the radius, rising beyond its target and clipped there",
        source="Liu 2022, eq 4.29",
    ),
    Entry(
        name="drops",
        target=f"{_HOME}.composed:Drops",
        summary="another schedule until a drop, then constants",
        source="Andriushchenko 2024, sec 6.4",
    ),
)
