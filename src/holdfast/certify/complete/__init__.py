"""Complete verification: branch and bound, over signs of units and over boxes of inputs.

`branch_and_bound` chooses; `condensed` is the network with its open units only; `neuron_search` and
`input_search` are the two searches.
"""
