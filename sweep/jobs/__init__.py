"""One job trains one population: how it is cut out, launched, run, kept, and retried if lost."""
