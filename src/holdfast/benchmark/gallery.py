"""The gallery of a run: some broken examples, clean and adversarial, for the report to show.

Which ones is a function of the ledger alone: the first broken example of every class in the order
of their indices, then the remaining broken ones in that order.
"""

import torch
from torch import Tensor

from holdfast.core.frozen import FrozenModel, Model, default_block, device_of
from holdfast.core.ledger import Ledger
from holdfast.core.results import Outcome
from holdfast.data.images import ImageData
from holdfast.runs import atomic
from holdfast.runs.directory import Run

FILE = "gallery.safetensors"


def write_gallery(
    run: Run, model: Model, data: ImageData, ledger: Ledger, count: int = 12
) -> list[int]:
    """Writes `gallery.safetensors` with what the model says of some broken examples.

    Tensors of n rows: `clean` and `adversarial` (n, *E) float32, `label`, `prediction`,
    `adversarial_prediction` and `index` int64, `confidence`, `adversarial_confidence` and `size`
    float32.

    Args:
        count: how many examples at most.

    Returns:
        the indices of the examples shown; empty, and nothing written, where none was broken.

    Cost: 2 forwards of the examples shown.
    Raises:
        InputError: the file cannot be written.
    """
    from safetensors.torch import save

    rows = chosen(ledger, count)
    if not len(rows) or ledger.x_adv is None:
        return []
    clean, adversarial = data.inputs(rows).cpu(), ledger.x_adv[rows].float()
    before, after = _answers(model, clean), _answers(model, adversarial)
    tensors = {
        "clean": clean,
        "adversarial": adversarial,
        "label": ledger.labels[rows],
        "prediction": before[0],
        "adversarial_prediction": after[0],
        "confidence": before[1],
        "adversarial_confidence": after[1],
        "size": ledger.size[rows].float(),
        "index": ledger.index[rows],
    }
    content = save({name: tensor.contiguous() for name, tensor in tensors.items()})
    atomic.write_bytes(run.path / FILE, content)
    shown: list[int] = ledger.index[rows].tolist()
    return shown


def chosen(ledger: Ledger, count: int) -> Tensor:
    """Positions (n,) of the broken examples to show, at most `count`, in the order of indices."""
    broken = (ledger.outcome == Outcome.BROKEN).nonzero().flatten()
    broken = broken[ledger.index[broken].argsort(stable=True)]
    labels = ledger.labels[broken].tolist()
    first = [at for at, label in enumerate(labels) if label not in labels[:at]]
    rest = [at for at in range(len(labels)) if at not in set(first)]
    order = torch.tensor((first + rest)[:count], dtype=torch.int64).sort().values
    return broken[order]


def _answers(model: Model, x: Tensor) -> tuple[Tensor, Tensor]:
    """Predicted class and its probability, each (n,)."""
    place = device_of(model)
    with FrozenModel(model, block=default_block(place)) as frozen:
        logits = frozen.logits(x.to(frozen.device)).cpu()
    confidence, prediction = torch.softmax(logits.double(), dim=1).max(dim=1)
    return prediction, confidence.float()
