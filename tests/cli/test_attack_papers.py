"""The papers of attacks are complete records, and each is cited."""

import re

from holdfast.cli.attack_papers import PAPERS_OF_ATTACKS
from holdfast.cli.bibliography import PAPERS


def test_each_paper_has_its_year_and_number_and_is_cited():
    cited = {key for keys in PAPERS.values() for key in keys}
    for key, text in PAPERS_OF_ATTACKS.items():
        assert key in cited
        year = re.findall("[0-9]+", key)[0]
        assert f"year = {{{year}}}" in text
        assert len(re.findall(r"arXiv:\d{4}\.\d{5}", text)) == 1


def test_no_number_stands_twice():
    numbers = [re.findall(r"arXiv:[0-9.]+[0-9]", text)[0] for text in PAPERS_OF_ATTACKS.values()]
    assert len(set(numbers)) == len(numbers)
