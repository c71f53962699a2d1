"""What a loss is, and the check of its inputs that all losses share."""

from typing import Protocol, runtime_checkable

from torch import Tensor

from holdfast.core.errors import InputError, described


@runtime_checkable
class Loss(Protocol):
    """What an attack maximises: logits (B, K) and labels y (B,) to one value per example, (B,).

    Larger is better for the attacker. With `target` (B,), larger means closer to an answer of
    `target`. An example's value and gradient depend on its own row alone. Cross-entropy takes
    probabilities y (B, K) as well.
    """

    def __call__(self, logits: Tensor, y: Tensor, target: Tensor | None = None) -> Tensor:
        """The losses, (B,)."""
        ...


def check_rows(
    logits: Tensor,
    y: Tensor,
    target: Tensor | None,
    classes: int,
    loss: str,
    *,
    soft: bool = False,
) -> None:
    """Raises an InputError unless the shapes fit and there are at least `classes` classes.

    Values of labels are not read (that would wait for the device); one out of range fails where it
    is looked up.

    Args:
        soft: whether y may be probabilities (B, K), of a floating type.
    """
    if logits.ndim != 2 or logits.shape[1] < classes:
        raise InputError(
            "logits",
            described(f"a tensor of shape {tuple(logits.shape)}"),
            f"does not fit {loss}, which needs at least {classes} classes",
            f"give logits (B, K) with K >= {classes}",
        )
    if soft and y.shape == logits.shape and y.is_floating_point():
        y = y[:, 0]
    remedy = "give one label per row" + (", or float probabilities (B, K)" if soft else "")
    for name, labels in (("y", y), ("target", target)):
        if labels is not None and labels.shape != logits.shape[:1]:
            raise InputError(
                name,
                described(f"a tensor of shape {tuple(labels.shape)}"),
                f"does not fit {len(logits)} rows of logits",
                remedy if name == "y" else "give one label per row",
            )
