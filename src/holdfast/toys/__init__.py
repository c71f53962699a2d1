"""The room `toys`."""
