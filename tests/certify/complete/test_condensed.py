import torch

from certify.nets import graph, inputs
from holdfast.certify.complete.branch_and_bound import condensed
from holdfast.threats import L2, Linf


def program(threat, name="conv"):
    return condensed(graph(name), inputs(1), threat)


def test_the_least_value_is_attained_at_the_corner():
    forms = torch.randn(7, 84, generator=torch.Generator().manual_seed(1)).double()
    for threat in (Linf(0.08), L2(0.3)):
        found = program(threat)
        forms = forms[:, : found.inputs]
        x = found.corner(forms)
        torch.testing.assert_close((forms * x).sum(1), found.least(forms), atol=1e-9, rtol=0)
        y = x.reshape(-1, *found.shape)
        inside = threat.project(y, inputs(1).expand_as(y))
        assert ((y - inside).abs() < 1e-5).all()  # up to the tolerance of membership


def test_forms_of_values_are_what_they_say():
    forms = program(Linf(0.08)).outputs
    values = torch.randn(
        3, forms.rows.shape[1], generator=torch.Generator().manual_seed(1)
    ).double()
    torch.testing.assert_close(forms.of(values), values @ forms.rows.T + forms.offset)
    torch.testing.assert_close(forms.both().of(values)[:, len(forms.rows) :], -forms.of(values))
    which = torch.tensor([2, 0])
    torch.testing.assert_close(forms[which].of(values), forms.of(values)[:, which])


def test_the_fast_one_is_near_and_claims_nothing():
    found = program(Linf(0.08))
    fast = found.fast(torch.float32)
    assert found.rigorous
    assert not fast.rigorous
    assert fast.outputs.rows.dtype == fast.region.center.dtype == torch.float32
    torch.testing.assert_close(fast.outputs.rows.double(), found.outputs.rows, atol=1e-5, rtol=1e-5)


def test_slack_is_positive_and_small():
    found = program(Linf(0.08))
    forms = torch.ones(2, found.inputs, dtype=torch.float64)
    slack = found.slack(torch.ones(2, dtype=torch.float64), forms)
    assert (slack > 0).all()
    assert (slack < 1e-9).all()


def test_units_have_their_columns():
    found = program(Linf(0.08), "residual")
    assert sum(len(block.unit) for block in found.blocks) == found.units
    assert found.splittable().all()
    for block in found.blocks:
        own = found.own(block)
        assert own.stop - own.start == len(block.unit)
        assert block.columns.start - own.start == found.inputs
