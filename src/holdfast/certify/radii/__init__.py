"""Certified radii: searches over the radius, and the polyhedral envelope of one bound."""
