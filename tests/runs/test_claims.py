import threading

import pytest

from holdfast.core.errors import InputError
from holdfast.runs.claims import Claims


def test_one_of_many_gets_a_number(tmp_path):
    taken = []

    def worker():
        claims = Claims(tmp_path / "claims")
        taken.extend(number for number in range(50) if claims.take(number))

    threads = [threading.Thread(target=worker) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(taken) == list(range(50))


def test_cleared_claims_can_be_taken_again(tmp_path):
    claims = Claims(tmp_path / "claims")
    claims.clear()  # nothing there yet
    assert claims.take(1)
    claims.clear()
    assert claims.take(1)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        Claims(tmp_path / "file").take(0)
