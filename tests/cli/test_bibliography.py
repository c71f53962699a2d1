"""Every name that can be used has its papers, and every paper is well formed."""

import re

import pytest

from holdfast.cli.bibliography import BIBTEX, PAPERS
from holdfast.cli.catalogues import NOUNS

CATALOGUES = [catalogue for catalogue, _, _ in NOUNS.values()]


@pytest.mark.parametrize("name", [name for catalogue in CATALOGUES for name in catalogue])
def test_every_name_is_in_the_table(name):
    assert name in PAPERS


def test_every_paper_named_is_there_and_every_paper_is_named():
    assert {key for keys in PAPERS.values() for key in keys} <= set(BIBTEX)


@pytest.mark.parametrize("key", BIBTEX)
def test_entries_are_well_formed(key):
    text = BIBTEX[key]
    assert re.match(rf"@(\w+)\{{{key},\n", text)
    assert text.endswith("\n}")
    assert text.count("{") == text.count("}")
    fields = dict(re.findall(r"^  (\w+) = \{(.*?)\},?$", text, re.MULTILINE | re.DOTALL))
    assert {"title", "author"} <= set(fields)


def test_sources_of_the_catalogues_and_papers_agree():
    """An arXiv number in a catalogue is the number of one of the papers.

    An objective has the name of the protocol `standard`, whose attacks are cited one by one.
    """
    for catalogue in CATALOGUES:
        for entry in (catalogue[name] for name in catalogue if name != "standard"):
            for number in re.findall(r"arXiv[: ](\d{4}\.\d{5})", entry.source):
                known = [key for key, text in BIBTEX.items() if number in text]
                assert known, (entry.name, number)
                assert set(known) & set(PAPERS[entry.name]), (entry.name, number)
