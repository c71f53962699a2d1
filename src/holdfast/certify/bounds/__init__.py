"""Bounds by name, one verb each: `bound(model, x, threat, spec)`.

`interval` pushes boxes; `linear` holds Dual, CROWN and CROWN-IBP, `alpha` optimises their slopes,
`forward` and `mixed` find boxes in other ways; `estimates` prove nothing; `forms` gives bounds to
other computations.
"""
