"""The papers of certificates are complete records, and each is cited."""

import re

from holdfast.cli.bibliography import PAPERS
from holdfast.cli.certificate_papers import PAPERS_OF_CERTIFICATES


def test_each_paper_has_its_year_and_number_and_is_cited():
    cited = {key for keys in PAPERS.values() for key in keys}
    for key, text in PAPERS_OF_CERTIFICATES.items():
        assert key in cited
        year = re.findall("[0-9]+", key)[0]
        assert f"year = {{{year}}}" in text
        assert len(re.findall(r"arXiv:\d{4}\.\d{5}", text)) == 1


def test_no_number_stands_twice():
    numbers = re.findall(r"arXiv:[0-9.]+[0-9]", "".join(PAPERS_OF_CERTIFICATES.values()))
    assert len(set(numbers)) == len(numbers)
