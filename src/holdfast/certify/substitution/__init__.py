"""The engine of linear bounds: forms pulled back to the input, or pushed forward from it.

`walk` makes one substitution over a graph, with `rows` and `windows` of coefficients; `schedule`
finds the boxes that its lines need, cheapest first; `regions` concretises at the input; `noise` and
`centred` account for rounding; `pushing` is the way forward.
"""
