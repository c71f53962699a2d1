"""The registry from the operations of an exported program to those of a graph.

`RULES` maps the base name of an ATen operation (without overload, in-place underscore dropped) to a
function that reads the call and returns the chain of operations it stands for; an empty chain means
that the value is passed on unchanged. Whatever is not in it cannot be captured. `captured` enters a
rule beside the class that it makes, so that an operation is one class in one file:

    @captured("softsign")
    @dataclass(frozen=True)
    class Softsign(Monotone, Scalar): ...

Such a class may stand in the user's own code, imported before the capture; the operation may be one
that the user has registered with `torch.library`.

Source: Wong 2020, sec 3.4.2 (a dual layer for each operation, as the point of extension).
"""

from collections.abc import Callable
from typing import TypeVar

from holdfast.certify.operators.calls import Call
from holdfast.certify.operators.ops import Op

Chain = tuple[Op, ...]
Rule = Callable[[Call], Chain]
T = TypeVar("T", bound=Rule | type[Op])

RULES: dict[str, Rule] = {}


def captured(*names: str) -> Callable[[T], T]:
    """Enters a rule, or a class of operations without settings, under names of ATen operations.

    Args:
        names: base names, such as `relu` for `aten.relu.default` and `aten.relu_.default`.
    """

    def enter(made: T) -> T:
        RULES.update(dict.fromkeys(names, _rule(made)))
        return made

    return enter


def _rule(made: Rule | type[Op]) -> Rule:
    if isinstance(made, type):
        return lambda call: (made(),)
    return made
