"""The protocols that users can name."""

from holdfast.core.catalogue import Catalogue, Entry

_AUTOATTACK = "Croce and Hein 2020, arXiv:2003.01690; Andriushchenko 2024, sec 4.4.1"

PROTOCOLS = Catalogue(
    "protocol",
    Entry(
        name="fast",
        target="holdfast.benchmark.fast:Fast",
        summary="a race by margin, then black-box search where a pilot shows that it pays",
        guarantee="every success re-checked; an audit bounds what the race may have missed",
        cost="commonly 100 to 900 passes per example",
    ),
    Entry(
        name="standard",
        target="holdfast.benchmark.standard:AutoAttack",
        summary="AutoAttack: APGD-CE, APGD-T, FAB-T, Square with their published budgets",
        source=_AUTOATTACK,
        guarantee="the published components, budgets and order",
        cost="about 9,000 passes per example that stands",
    ),
    Entry(
        name="plus",
        target="holdfast.benchmark.standard:plus",
        summary="AutoAttack plus: more restarts, untargeted DLR and FAB as well",
        source=_AUTOATTACK,
        guarantee="the published components, budgets and order",
        cost="about 19,000 passes per example that stands",
    ),
    Entry(
        name="rand",
        target="holdfast.benchmark.standard:rand",
        summary="AutoAttack for random models: gradients averaged over 20 draws",
        source=_AUTOATTACK,
        guarantee="the published components, budgets and order",
        cost="about 8,000 passes per example that stands",
    ),
    Entry(
        name="apgd-t-3-20",
        target="holdfast.benchmark.standard:apgd_t_3_20",
        summary="a quick look: APGD towards 3 targets, 20 steps each",
        source="Andriushchenko 2024, sec 4.12",
        guarantee="every success re-checked",
        cost="about 120 passes per example that stands",
    ),
    Entry(
        name="pgd-50-10",
        target="holdfast.benchmark.standard:pgd_50_10",
        summary="PGD with 50 steps of a quarter radius and 10 restarts",
        source="Andriushchenko 2024, sec 2.4; Wong 2020, sec 4.1",
        guarantee="every success re-checked",
        cost="about 1,000 passes per example that stands",
    ),
)
