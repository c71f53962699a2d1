"""Certified regions with one radius per feature: how they are grown, and how large they are."""
