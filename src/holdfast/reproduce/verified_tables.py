"""The published tables of provable robustness, and what does not fit together in them.

Error rates in per cent, radii in input units, as printed. Of each row

    ACB = eps (1 - CRE)  for linear bounds and intervals,   ACB Lin <= ACB PEC <= eps (1 - CTE),
    CRE MIP <= min(CRE Lin, CRE IBP)

have to hold up to the printed digits; `inconsistencies` says where they do not.

Source: Liu 2022, sec 3.3.2 (Table 3.9) and sec 3.3.4 (Tables 3.6 to 3.8). In Table 3.8 linear
    bounds are those of CROWN.
"""

from collections.abc import Iterator, Mapping, Sequence

_SHORT = (
    "clean_error_rate",
    "pgd_error_rate",
    "linear_error_rate",
    "interval_error_rate",
    "linear_radius",
    "interval_radius",
    "envelope_radius",
)
_LONG = (*_SHORT[:4], "exact_error_rate", *_SHORT[4:])
_DIGITS = 5e-5

TABLES: Mapping[str, Mapping[str, Sequence[float]]] = {
    "MNIST FC1 linf 0.1": {
        "plain": (1.99, 98.37, 100, 100, 100, 0, 0, 0),
        "AT": (1.42, 9, 97.94, 100, 100, 0.0021, 0, 0.0099),
        "KW": (2.26, 8.59, 12.91, 69.2, 10.9, 0.0871, 0.0308, 0.0928),
        "IBP": (1.65, 9.67, 87.27, 15.2, 12.36, 0.0127, 0.0848, 0.0705),
        "CROWN-IBP": (1.98, 9.5, 67.39, 14.45, 11.39, 0.0326, 0.0855, 0.08),
        "MMR": (2.11, 17.82, 33.75, 99.88, 24.9, 0.0663, 0.0001, 0.0832),
        "MMR+at": (2.04, 10.39, 17.64, 95.09, 14.1, 0.0824, 0.0049, 0.0905),
        "L-PER": (1.6, 7.45, 11.71, 92.89, 7.69, 0.0883, 0.0071, 0.0935),
        "L-PER+at": (1.81, 7.73, 12.9, 99.9, 8.22, 0.0871, 0.0001, 0.0925),
        "I-PER": (1.6, 6.28, 11.96, 93.33, 8.1, 0.088, 0.0067, 0.0934),
        "I-PER+at": (1.54, 7.15, 13.96, 98.55, 8.48, 0.0868, 0.0014, 0.0927),
    },
    "MNIST CNN linf 0.1": {
        "plain": (1.28, 85.75, 100, 100, 100, 0, 0, 0),
        "AT": (1.02, 4.75, 91.91, 100, 100, 0.0081, 0, 0.0189),
        "KW": (1.21, 3.03, 4.44, 100, 4.4, 0.0956, 0, 0.0971),
        "IBP": (1.51, 4.43, 23.89, 8.13, 5.23, 0.0761, 0.0919, 0.0872),
        "CROWN-IBP": (1.85, 4.28, 10.72, 6.91, 4.83, 0.0893, 0.0931, 0.0928),
        "MMR": (1.65, 6.07, 11.56, 100, 6.1, 0.0884, 0, 0.0928),
        "MMR+at": (1.19, 3.35, 9.49, 100, 3.6, 0.0905, 0, 0.0939),
        "L-PER": (1.44, 3.44, 5.13, 100, 3.62, 0.0949, 0, 0.0965),
        "L-PER+at": (0.5, 2.02, 4.85, 100, 2.21, 0.0952, 0, 0.0969),
        "I-PER": (1.03, 2.4, 4.64, 99.55, 2.52, 0.0954, 0.0004, 0.0967),
        "I-PER+at": (0.48, 1.29, 4.61, 99.94, 1.47, 0.0954, 0.0001, 0.0971),
    },
    "CIFAR10 CNN linf 2/255": {
        "plain": (24.62, 86.29, 100, 100, 100, 0, 0, 0),
        "AT": (27.04, 48.53, 85.36, 100, 88.5, 0.0011, 0, 0.0015),
        "KW": (39.27, 46.6, 53.81, 99.98, 48, 0.0036, 0, 0.004),
        "IBP": (46.74, 56.38, 61.81, 67.58, 58.8, 0.003, 0.0025, 0.0034),
        "CROWN-IBP": (58.32, 63.56, 66.28, 69.1, 65.44, 0.0026, 0.0024, 0.0029),
        "MMR": (34.59, 57.17, 69.28, 100, 61, 0.0024, 0, 0.0032),
        "MMR+at": (35.36, 49.27, 59.91, 100, 54.2, 0.0031, 0, 0.0037),
        "L-PER": (39.21, 50.98, 57.45, 99.98, 52.7, 0.0033, 0, 0.0038),
        "L-PER+at": (28.87, 43.55, 56.59, 100, 48.43, 0.0034, 0, 0.004),
        "I-PER": (29.34, 51.54, 64.34, 99.98, 54.87, 0.0028, 0, 0.0036),
        "I-PER+at": (26.66, 43.35, 57.72, 100, 47.87, 0.0033, 0, 0.004),
    },
    "MNIST FC1 l2 0.3": {
        "plain": (1.99, 9.81, 40.97, 99.3, 0.1771, 0.0021, 0.23),
        "AT": (1.35, 2.99, 14.85, 99.23, 0.2555, 0.0023, 0.2684),
        "KW": (1.23, 2.7, 4.91, 41.55, 0.2853, 0.1754, 0.2892),
        "IBP": (1.36, 2.9, 6.87, 9.01, 0.2794, 0.273, 0.2876),
        "CROWN-IBP": (1.26, 2.8, 6.36, 8.73, 0.2809, 0.2738, 0.2884),
        "MMR": (2.4, 5.88, 7.76, 99.55, 0.2767, 0.0013, 0.2845),
        "MMR+at": (1.77, 3.76, 5.68, 99.86, 0.283, 0.0004, 0.288),
        "L-PER": (1.26, 2.44, 5.35, 59.17, 0.284, 0.1225, 0.2888),
        "L-PER+at": (0.67, 1.4, 4.84, 64.79, 0.2855, 0.1056, 0.291),
        "I-PER": (1.21, 2.59, 5.34, 54.13, 0.284, 0.1376, 0.2888),
        "I-PER+at": (0.74, 1.46, 7.81, 72.85, 0.2766, 0.0814, 0.286),
    },
    "MNIST CNN l2 0.3": {
        "plain": (1.28, 4.93, 100, 100, 0, 0, 0),
        "AT": (1.12, 2.5, 100, 100, 0, 0, 0),
        "KW": (1.11, 2.05, 5.84, 100, 0.2825, 0, 0.2861),
        "IBP": (2.37, 3.85, 51.12, 11.73, 0.1534, 0.2648, 0.1669),
        "CROWN-IBP": (2.89, 4.44, 31.62, 12.29, 0.2051, 0.2631, 0.2178),
        "MMR": (2.57, 5.49, 10.03, 100, 0.2699, 0, 0.2788),
        "MMR+at": (1.73, 3.22, 9.46, 100, 0.2716, 0, 0.278),
        "L-PER": (1.02, 1.87, 5.04, 100, 0.2849, 0, 0.2882),
        "L-PER+at": (0.43, 0.91, 5.43, 100, 0.2837, 0, 0.2878),
        "I-PER": (1.11, 2.16, 6.37, 100, 0.2809, 0, 0.2851),
        "I-PER+at": (0.52, 1.12, 7.89, 100, 0.2763, 0, 0.2812),
    },
    "CIFAR10 CNN l2 0.1": {
        "plain": (23.29, 47.39, 100, 100, 0, 0, 0),
        "AT": (25.84, 35.81, 99.96, 100, 0, 0, 0),
        "KW": (40.24, 43.87, 48.98, 100, 0.051, 0, 0.0533),
        "IBP": (57.9, 60.03, 64.78, 78.13, 0.0352, 0.0219, 0.0366),
        "CROWN-IBP": (71.21, 72.51, 76.23, 80.97, 0.0238, 0.019, 0.0256),
        "MMR": (40.93, 50.57, 57.07, 100, 0.0429, 0, 0.048),
        "MMR+at": (37.78, 43.98, 53.33, 100, 0.0467, 0, 0.0502),
        "L-PER": (34.1, 52.54, 63.42, 100, 0.0369, 0, 0.0465),
        "L-PER+at": (25.76, 33.47, 46.74, 100, 0.0533, 0, 0.058),
        "I-PER": (33.94, 43.06, 56.8, 100, 0.0432, 0, 0.0484),
        "I-PER+at": (24.85, 31.32, 47.28, 100, 0.0528, 0, 0.0572),
    },
    "MNIST FC1 sigmoid linf 0.1": {
        "plain": (2.04, 97.8, 100, 100, 0, 0, 0),
        "at": (1.78, 10.05, 98.52, 100, 0.0015, 0, 0.0055),
        "IBP": (2.06, 10.58, 44.14, 13.65, 0.0559, 0.0863, 0.0846),
        "CROWN-IBP": (2.88, 9.83, 26.04, 12.51, 0.074, 0.0875, 0.0886),
        "L-PER": (1.97, 7.55, 12.15, 84.76, 0.0879, 0.0152, 0.093),
        "L-PER+at": (2.16, 7.12, 11.87, 88.06, 0.0881, 0.0119, 0.0927),
        "I-PER": (2.15, 8.35, 12.79, 86.99, 0.0872, 0.013, 0.0926),
        "I-PER+at": (2.45, 8.05, 12.36, 88.94, 0.0876, 0.0111, 0.0923),
    },
    "MNIST FC1 tanh linf 0.1": {
        "plain": (2, 97.8, 100, 100, 0, 0, 0),
        "at": (1.28, 8.89, 99.98, 100, 0, 0, 0.0001),
        "IBP": (2.04, 9.84, 31.81, 13.02, 0.0682, 0.087, 0.0864),
        "CROWN-IBP": (2.75, 9.57, 20.1, 11.8, 0.0799, 0.0882, 0.0894),
        "L-PER": (2.19, 7.71, 11.55, 57.81, 0.0885, 0.0422, 0.0934),
        "L-PER+at": (2.3, 7.45, 11.39, 56.74, 0.0886, 0.0433, 0.093),
        "I-PER": (2.21, 8.51, 12.23, 55.53, 0.0878, 0.0445, 0.0929),
        "I-PER+at": (2.46, 7.87, 12.04, 66.04, 0.088, 0.034, 0.0929),
    },
    "MNIST FC1 sigmoid l2 0.3": {
        "plain": (2.01, 10.25, 30.78, 94.82, 0.2077, 0.0155, 0.2539),
        "at": (1.65, 3.48, 7.5, 85.84, 0.2775, 0.0422, 0.2839),
        "IBP": (1.4, 3.07, 6.43, 9.13, 0.2807, 0.2726, 0.2873),
        "CROWN-IBP": (1.51, 3.24, 6.36, 8.73, 0.2709, 0.2738, 0.2872),
        "L-PER": (1.36, 2.58, 6.12, 73.71, 0.2816, 0.0789, 0.2867),
        "L-PER+at": (0.46, 1.03, 5.26, 68.94, 0.2842, 0.0932, 0.2905),
        "I-PER": (1.19, 2.59, 6.05, 70.18, 0.2818, 0.0895, 0.2871),
        "I-PER+at": (0.49, 1.16, 5.03, 65.79, 0.2849, 0.1026, 0.2907),
    },
    "MNIST FC1 tanh l2 0.3": {
        "plain": (1.94, 16.46, 61.66, 99.64, 0.115, 0.0011, 0.1789),
        "at": (1.36, 3.02, 12.35, 97.66, 0.263, 0.007, 0.2735),
        "IBP": (1.57, 3.17, 7.21, 10.44, 0.2784, 0.2688, 0.2851),
        "CROWN-IBP": (1.5, 3.14, 6.64, 9.53, 0.2801, 0.2714, 0.2861),
        "L-PER": (1.31, 2.47, 5.53, 55.17, 0.2834, 0.1345, 0.288),
        "L-PER+at": (0.58, 1.3, 5.89, 54.88, 0.2823, 0.1354, 0.2885),
        "I-PER": (1.38, 2.85, 5.9, 45.31, 0.2823, 0.1641, 0.2874),
        "I-PER+at": (0.55, 1.17, 5.57, 53.73, 0.2833, 0.1388, 0.289),
    },
}
"""By network, norm and radius: by training, the columns of its table."""

SEARCH_SETTINGS = {
    "MNIST FC1 linf": 12,
    "MNIST CNN linf": 12,
    "CIFAR10 CNN linf": 10,
    "MNIST FC1 l2": 14,
    "MNIST CNN l2": 14,
    "CIFAR10 CNN l2": 12,
}
"""The columns of Table 3.9, with the bound computations of a bisection."""

SEARCH: Mapping[str, Sequence[float]] = {
    "plain": (9.85, 10.56, 9.33, 9.68, 13.64, 11.73),
    "at": (10.77, 11.39, 9.12, 10.44, 13.76, 11.67),
    "KW": (8.48, 11.61, 8.43, 7.72, 12.63, 10.23),
    "MMR": (8.04, 10.68, 8.05, 5.86, 8.52, 9.05),
    "MMR+at": (7.68, 11.22, 8.45, 5.91, 12.13, 10.33),
    "L-PER": (9.34, 11.17, 8.61, 11.47, 13.75, 9.13),
    "L-PER+at": (9.38, 11.74, 8.68, 11.34, 13.72, 10.71),
}
"""Table 3.9: by training, the mean number of bound computations in each setting."""


def radius_of(setting: str) -> float:
    """The radius of a setting, the last word of its name."""
    above, _, below = setting.split()[-1].partition("/")
    return float(above) / float(below or 1)


def lines_of(setting: str) -> dict[str, dict[str, float]]:
    """The lines of one setting, error rates as fractions.

    Example:
        >>> lines_of("MNIST CNN linf 0.1")["MNIST CNN linf 0.1: KW"]["linear_error_rate"]
        0.0444
    """
    found = {}
    for name, row in TABLES[setting].items():
        figures = dict(zip(_LONG if len(row) == len(_LONG) else _SHORT, row, strict=True))
        found[f"{setting}: {name}"] = {
            measure: round(value / 100, 6) if measure.endswith("rate") else value
            for measure, value in figures.items()
        }
    return found


def inconsistencies() -> Iterator[tuple[str, str]]:
    """The lines whose printed figures contradict each other, and which."""
    for setting in TABLES:
        eps = radius_of(setting)
        for name, line in lines_of(setting).items():
            yield from ((name, what) for what in contradictions(line, eps, _DIGITS))


def contradictions(line: Mapping[str, float], eps: float, digits: float = 1e-9) -> list[str]:
    """What of a line of figures cannot be.

    Args:
        digits: half a unit of the last place of radii and of error rates as fractions.
    """
    slack = digits * (1 + eps)
    found = []
    for bound in ("linear", "interval"):
        certified = eps * (1 - line[f"{bound}_error_rate"])
        if not abs(line[f"{bound}_radius"] - certified) <= slack:
            found.append(f"{bound} radius")
    clean = eps * (1 - line["clean_error_rate"])
    if not line["linear_radius"] - slack <= line["envelope_radius"] <= clean + slack:
        found.append("envelope radius")
    best = min(line["linear_error_rate"], line["interval_error_rate"])
    if not line["clean_error_rate"] <= line["pgd_error_rate"] <= best:
        found.append("attacked error")
    if (
        "exact_error_rate" in line
        and not line["pgd_error_rate"] <= line["exact_error_rate"] <= best
    ):
        found.append("exact error")
    return found
