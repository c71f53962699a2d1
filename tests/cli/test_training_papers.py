"""The papers of training are complete records, and each is cited."""

import re

from holdfast.cli.bibliography import PAPERS
from holdfast.cli.training_papers import PAPERS_OF_TRAINING

WITHOUT_A_NUMBER = {"zhang2019", "wang2020mart", "jordan2024muon"}


def test_each_paper_has_its_year_and_number_and_is_cited():
    cited = {key for keys in PAPERS.values() for key in keys}
    for key, text in PAPERS_OF_TRAINING.items():
        assert key in cited
        year = re.findall("[0-9]+", key)[0]
        assert f"year = {{{year}}}" in text
        numbers = re.findall(r"arXiv:\d{4}\.\d{5}", text)
        assert len(numbers) == (0 if key in WITHOUT_A_NUMBER else 1), key


def test_no_number_stands_twice():
    numbers = re.findall(r"arXiv:[0-9.]+[0-9]", "".join(PAPERS_OF_TRAINING.values()))
    assert len(set(numbers)) == len(numbers)
