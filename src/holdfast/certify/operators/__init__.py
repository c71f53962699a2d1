"""Operations of a network: what each computes, its interval rule, its lines, its transpose.

`ops` says what an operation can do; `affine`, `structural`, `selections` and `activations` are the
operations; the files named `lines` enclose the nonlinear ones; `aten` and `rules` read them from an
exported program, one rule each.
"""
