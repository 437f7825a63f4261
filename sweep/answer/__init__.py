"""Which rate, how sure, is dropout worth it: pure statistics of trained trials."""
