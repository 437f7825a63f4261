"""Trains many networks that differ in their dropout rates.

Plain PyTorch on the user's own model is the definition (plain); each call that draws is a site with
numbers of its own (site, rules, noise). A faster program (fused) is used only if it was proven to
give the same numbers (proof).
"""
