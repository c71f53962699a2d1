"""Bounds by a solver: the triangle relaxation as a linear programme, and with binaries.

`lp` and `milp` are the bounds; `expressions`, `relations` and `programs` write the programme, HiGHS
solves it, and `duality` makes a proof of its multipliers.
"""
