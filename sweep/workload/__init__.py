"""The model and the data that a command names."""
