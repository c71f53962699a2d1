"""Adversarial robustness of neural networks: attack, evaluate, train, certify, report."""

__version__ = "0.1.0"
