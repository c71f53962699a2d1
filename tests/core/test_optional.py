import sys

import pytest

from holdfast.core.errors import MissingExtra
from holdfast.core.optional import optional


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes a package of one file; gone again after the test."""
    monkeypatch.syspath_prepend(str(tmp_path))
    names = []

    def write(name, source):
        (tmp_path / f"{name}.py").write_text(source)
        names.append(name)
        return name

    yield write
    for name in names:
        sys.modules.pop(name, None)


def test_an_installed_package_is_returned(package):
    assert optional(package("hf_fine", "answer = 42"), extra="vision").answer == 42


def test_a_missing_package_names_the_extra():
    with pytest.raises(MissingExtra, match=r"pip install 'holdfast\[vision\]'") as caught:
        optional("hf_not_there", extra="vision")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


@pytest.mark.parametrize("kind", ["RuntimeError", "OSError", "AttributeError", "ImportError"])
def test_any_failure_at_import_counts_as_absence(package, kind):
    name = package(f"hf_broken_{kind}".lower(), f"raise {kind}('operator nms\\n is missing')")
    with pytest.raises(MissingExtra) as caught:
        optional(name, extra="vision")
    assert str(caught.value).startswith(f"{name} cannot be imported ({kind}: operator nms is miss")
    assert type(caught.value.__cause__).__name__ == kind
    assert "\n" not in str(caught.value)


def test_a_missing_extra_is_an_import_error():
    with pytest.raises(ImportError):
        optional("hf_not_there", extra="onnx")


def test_an_interrupt_at_import_is_not_swallowed(package):
    with pytest.raises(KeyboardInterrupt):
        optional(package("hf_interrupted", "raise KeyboardInterrupt"), extra="vision")
