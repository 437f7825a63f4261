"""One study: propose trials, have them trained, record the results, confirm the answer."""
