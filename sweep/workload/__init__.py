"""Loads the model and the data that a command names."""
