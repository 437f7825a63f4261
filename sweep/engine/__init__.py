"""Trains many networks that differ in their dropout rates.

The user's own model in plain PyTorch defines the result (plain). Each call that draws random
numbers is a site and gets its own numbers (site, rules, noise). A faster program (fused) is used
only if it was proven to give the same numbers (proof).
"""
