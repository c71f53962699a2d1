import subprocess
import sys

import pytest

from holdfast.threats import THREATS, parse


@pytest.mark.parametrize("name", list(THREATS))
def test_every_entry_loads_and_is_named_by_its_text(name):
    entry = THREATS[name]
    assert entry.load().kind == name
    written = entry.summary.split()[-1]
    assert written.startswith(name)
    assert parse(written).text == written


def test_naming_a_threat_loads_no_torch():
    code = (
        "import sys; import holdfast.threats as t; t.THREATS['linf']; t.parse; t.as_threat; "
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
