"""The room `measures`."""
