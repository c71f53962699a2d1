"""The room `attacks`."""
