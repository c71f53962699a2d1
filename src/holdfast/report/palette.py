"""The one style of figures and pages: colours by role, light and dark.

A figure is drawn in the light colours; in a page each stands for a CSS variable, so that the same
figure follows the reader's colour scheme. Series differ in lightness and hue so that the common
forms of colour blindness keep them apart, and every figure tells them apart by marker or dash as
well. Text and lines reach a contrast of 4.5 on the page (WCAG 2, level AA), both ways.

Source: Okabe and Ito 2008, Color Universal Design (the hues, darkened for text).
"""

LIGHT = {
    "paper": "#fdfdfb",
    "card": "#f4f5f2",
    "ink": "#1c2630",
    "muted": "#55616d",
    "line": "#d5dade",
    "series-0": "#0a5fa3",
    "series-1": "#b04508",
    "series-2": "#00756a",
    "series-3": "#7d3c9b",
    "series-4": "#6e5f00",
    "series-5": "#b0286a",
    "certified": "#00766b",
    "undecided": "#7a8792",
    "broken": "#b04509",
    "misclassified": "#4a5560",
}

DARK = {
    "paper": "#13181d",
    "card": "#1b2228",
    "ink": "#e6eaed",
    "muted": "#a3aeb8",
    "line": "#343d46",
    "series-0": "#74b9f4",
    "series-1": "#f2a065",
    "series-2": "#4cc7b5",
    "series-3": "#cba3ea",
    "series-4": "#d6c65a",
    "series-5": "#f490bd",
    "certified": "#4cc7b5",
    "undecided": "#8c98a3",
    "broken": "#f2a065",
    "misclassified": "#aab4bd",
}

SERIES = tuple(name for name in LIGHT if name.startswith("series-"))
MARKERS = ("o", "s", "^", "D", "v", "P")


def series(number: int) -> str:
    """The colour role of the n-th series; from the seventh on they repeat."""
    return SERIES[number % len(SERIES)]


def variables(colours: dict[str, str]) -> str:
    """The CSS declarations of a scheme."""
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())


def contrast(one: str, other: str) -> float:
    """The WCAG contrast ratio of two colours `#rrggbb`, 1 to 21."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
