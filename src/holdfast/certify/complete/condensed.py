"""A network with only its open units left: what branch and bound works on.

Around one set of inputs most ReLUs of a network are on, or off, throughout, and whatever lies
between those that are open is one affine map. With v = (x, v_1, ..., v_L) the inputs and the open
units of each nonlinear node in their order,

    z_k = M_k (x, v_1, ..., v_{k-1}) + m_k +- e_k,       v_k between its lines in z_k,
    outputs = C v + c +- e,

so that a substitution is a product with a matrix for each nonlinear node, whatever the graph was
made of (convolutions, residual joints). `condensing.py` finds M, m and e.

Rounding: computed coefficients stand for themselves; e is the radius of the pull that gave them,
over the boxes of the whole set, and is carried as an interval from there on.

Source: Tjeng et al. 2019, arXiv 1711.07356, sec 4 (stable units removed before a complete search).
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from holdfast.certify.operators.ops import Op
from holdfast.certify.operators.relaxation import Lines
from holdfast.certify.rounding import FLOOR, Box, radius
from holdfast.certify.substitution.regions import Around
from holdfast.certify.substitution.rows import Dense

_SUPPORT, _TERMS = 4.0, 64


@dataclass(frozen=True, eq=False)
class AffineForms:
    """Affine forms of the columns before them.

    Args:
        rows: (Z, columns).
        offset: (Z,).
        error: (Z,) how far the truth may be from them.
        size: ||T||_2 of the sums of absolute terms |rows| |v| + |offset|.
        sources: the ranges of columns outside of which all coefficients are zero.
    """

    rows: Tensor
    offset: Tensor
    error: Tensor
    size: float
    sources: tuple[slice, ...]

    def __getitem__(self, which: Tensor) -> "AffineForms":
        """Some of the forms."""
        rows, offset, error = (each[which] for each in (self.rows, self.offset, self.error))
        return replace(self, rows=rows, offset=offset, error=error)

    def both(self) -> "AffineForms":
        """The forms, and then the negated ones."""
        rows, offset = (torch.cat((each, -each)) for each in (self.rows, self.offset))
        return replace(self, rows=rows, offset=offset, error=torch.cat((self.error, self.error)))

    def of(self, values: Tensor) -> Tensor:
        """The forms (N, Z) at values of the columns (N, columns or more)."""
        found = self.offset.expand(len(values), -1)
        for part in self.sources:
            found = torch.addmm(found, values[:, part], self.rows[:, part].T)
        return found

    def to(self, dtype: torch.dtype) -> "AffineForms":
        """The forms in another precision."""
        rows, offset, error = (each.to(dtype) for each in (self.rows, self.offset, self.error))
        return replace(self, rows=rows, offset=offset, error=error)


@dataclass(frozen=True, eq=False)
class Block:
    """The open units of one nonlinear node.

    Args:
        op: the operation, if it is one on each number alone; else the lines are all that is known.
        unit: (U,) which of the node's flat units they are.
        start: the column of v at which they begin.
        reads: the forms z, U of them, or 2 U for a maximum: upper lines are in the second half.
        lines: of each unit over the whole set, (U,) each.
        box: of z, (Z,) each.
        left: the slope left of the bend at zero, one being that on the right; None if the operation
            cannot be split into two pieces.
    """

    op: Op | None
    unit: Tensor
    start: int
    reads: AffineForms
    lines: Lines
    box: Box
    left: float | None

    @property
    def columns(self) -> slice:
        """The columns of its units."""
        return slice(self.start, self.start + len(self.unit))

    @property
    def paired(self) -> bool:
        """Whether upper lines read forms of their own."""
        return self.op is None

    def to(self, dtype: torch.dtype) -> "Block":
        """The block in another precision."""
        lines = Lines(*(each.to(dtype) for each in self.lines))
        box = Box(*(end.to(dtype) for end in self.box))
        return replace(self, reads=self.reads.to(dtype), lines=lines, box=box)


@dataclass(frozen=True, eq=False)
class Condensed:
    """Rows of outputs over the inputs and the open units.

    Args:
        shape: of one input.
        region: the set of inputs, of a batch of one.
        blocks: in the order of their nodes.
        outputs: the forms of the rows.
        rigorous: whether rounding counts.
    """

    shape: tuple[int, ...]
    region: Around
    blocks: tuple[Block, ...]
    outputs: AffineForms
    rigorous: bool

    @property
    def inputs(self) -> int:
        """How many numbers an input has."""
        return math.prod(self.shape)

    @property
    def units(self) -> int:
        """How many units are open."""
        return self.outputs.rows.shape[1] - self.inputs

    @property
    def finite(self) -> bool:
        """Whether all forms and lines are finite."""
        forms = [self.outputs, *(block.reads for block in self.blocks)]
        tables = [each for form in forms for each in (form.rows, form.offset)]
        tables += [each for block in self.blocks for each in block.lines]
        return all(bool(each.isfinite().all()) for each in tables)

    def own(self, block: Block) -> slice:
        """The columns of a block in tables of units only."""
        start = block.start - self.inputs
        return slice(start, start + len(block.unit))

    def splittable(self) -> Tensor:
        """Whether a unit can be split, (U,)."""
        like = self.outputs.rows
        found = torch.zeros(self.units, dtype=torch.bool, device=like.device)
        for block in self.blocks:
            found[self.own(block)] = block.left is not None
        return found

    @property
    def terms(self) -> int:
        """The most numbers that one sum of a substitution adds up."""
        return sum(len(block.reads.rows) for block in self.blocks) + self.inputs + _TERMS

    def least(self, forms: Tensor) -> Tensor:
        """The least value of forms (N, n) of the input over the set."""
        if self.region.boxed:
            center, spread = (each.flatten() for each in (self.region.center, self.region.spread))
            return forms @ center - forms.abs() @ spread
        image = torch.zeros(len(forms), dtype=torch.long, device=forms.device)
        rows = Dense(forms.reshape(-1, *self.shape))
        return self.region.ends(rows, image, both=False)[0].to(forms)

    def corner(self, forms: Tensor) -> Tensor:
        """The inputs (N, n) at which forms are least."""
        if self.region.boxed:
            return self.region.center.flatten() - self.region.spread.flatten() * forms.sign()
        with torch.enable_grad():
            leaf = forms.detach().requires_grad_()
            (found,) = torch.autograd.grad(self.least(leaf).sum(), leaf)
        return found

    def slack(self, total: Tensor, forms: Tensor) -> Tensor:
        """What rounding may have moved, from absolute terms and the forms that are left."""
        length = torch.linalg.vector_norm(forms, dim=1)
        largest = float(torch.linalg.vector_norm(self.region.box.magnitude))
        total = total + _SUPPORT * (length + FLOOR) * (largest + FLOOR) + self.outputs.size
        return radius(self.terms, total)

    def fast(self, dtype: torch.dtype) -> "Condensed":
        """The same in another precision, without rounding."""
        old = self.region
        box = Box(*(end.to(dtype) for end in old.box))
        center, spread, x = (each.to(dtype) for each in (old.center, old.spread, old.x))
        region = replace(old, x=x, box=box, center=center, spread=spread)
        blocks = tuple(block.to(dtype) for block in self.blocks)
        outputs = self.outputs.to(dtype)
        return replace(self, region=region, blocks=blocks, outputs=outputs, rigorous=False)
