"""One guard for optional packages: any failure at import counts as absence."""

import importlib
from types import ModuleType

from holdfast.core.errors import MissingExtra


def optional(module: str, *, extra: str) -> ModuleType:
    """Imports an optional package, or says what to install.

    A package may be installed and still fail at import, with any exception (torchvision beside a
    CPU build of torch raises RuntimeError): every failure is treated as absence, and its cause is
    kept.

    Args:
        module: what to import, such as `torchvision`.
        extra: the extra of holdfast that brings it.

    Raises:
        MissingExtra: the import failed; `__cause__` holds the first failure.
    """
    try:
        return importlib.import_module(module)
    except Exception as cause:
        reason = f"{type(cause).__name__}: {' '.join(str(cause).split())[:120]}"
        remedy = f"pip install 'holdfast[{extra}]'"
        raise MissingExtra(
            f"{module} cannot be imported ({reason}); install it with: {remedy}"
        ) from cause
