"""The ground floor: results, errors, keyed randomness, frozen models, the ledger, recipes.

Modules are imported by name (`from holdfast.core.random import Keys`); this package itself loads
nothing.
"""
