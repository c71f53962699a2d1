import torch

from certify.nets import graph, inputs, samples
from holdfast.certify.complete.branch_and_bound import condensed
from holdfast.certify.complete.narrowing import Narrowing
from holdfast.threats import Linf

NARROW = Narrowing(steps=15, step_size=0.3, decay=0.95, batch=7, dtype=torch.float64)


def test_boxes_get_narrower_and_still_hold_all_samples():
    x = inputs(1)
    plain = condensed(graph("conv"), x, Linf(0.1))
    narrow = condensed(graph("conv"), x, Linf(0.1), narrow=NARROW)
    assert narrow.units <= plain.units
    first, second = (program.blocks[-1] for program in (plain, narrow))
    shared = torch.isin(first.unit, second.unit)
    width = (first.box.upper - first.box.lower)[shared]
    gain = width - (second.box.upper - second.box.lower)
    assert (gain >= -1e-12).all()
    assert float(gain.max()) > 1e-3
    values = samples(*(end[0] for end in Linf(0.1).hull(x)), 300).flatten(1)
    for block in narrow.blocks:
        z = block.reads.of(values)
        assert (z >= block.box.lower - 1e-9).all()
        assert (z <= block.box.upper + 1e-9).all()
        values = torch.cat((values, block.op.forward([z], None)), dim=1)


def test_it_does_not_depend_on_how_many_climb_together():
    x = inputs(1)
    few, many = (
        condensed(graph("conv"), x, Linf(0.1), narrow=Narrowing(**{**vars(NARROW), "batch": size}))
        for size in (3, 100)
    )
    torch.testing.assert_close(few.blocks[-1].box, many.blocks[-1].box, atol=1e-6, rtol=0)
