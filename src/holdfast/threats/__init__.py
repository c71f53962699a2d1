"""The room `threats`."""
