import subprocess
import sys

import pytest

from holdfast.core.lazy import attach


def test_names_are_imported_on_first_use(tmp_path):
    (tmp_path / "hf_room").mkdir()
    (tmp_path / "hf_room" / "__init__.py").write_text(
        "from holdfast.core.lazy import attach\n"
        "__getattr__, __dir__, __all__ = attach(__name__, {'Deep': '.deep', 'pi': 'math'})\n"
    )
    (tmp_path / "hf_room" / "deep.py").write_text("class Deep: ...\n")
    script = (
        "import sys, hf_room\n"
        "assert 'hf_room.deep' not in sys.modules\n"
        "assert dir(hf_room) == ['Deep', 'pi'] == hf_room.__all__\n"
        "from hf_room import Deep, pi\n"
        "assert 'hf_room.deep' in sys.modules and Deep.__name__ == 'Deep' and pi > 3\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)


def test_an_unknown_name_is_an_attribute_error():
    get, _, names = attach("room", {"pi": "math"})
    assert names == ["pi"]
    with pytest.raises(AttributeError, match="module 'room' has no attribute 'tau'"):
        get("tau")
