"""Turns the command line into checked plans, one for each study: settings and search axes."""
