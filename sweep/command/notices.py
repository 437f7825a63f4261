"""What Hydra warns of that nobody who types a command could change."""

import warnings

NOTICES = (
    # the plugins' schemas are meant to check conf/hydra/launcher
    r"\s*'hydra/launcher/\w+' is validated against",
    # without it, Hydra 1.3 would behave as 1.1 does; Hydra 1.4 has no use for it any more
    "The version_base parameter is deprecated",
    # what a config names is imported here, and called only where it is a model, data or a loss
    r"hydra\.utils\.instantiate\(\) resolved _target_=.* with no\s+_execution_whitelist_",
)


def silence_notices() -> None:
    for notice in NOTICES:
        warnings.filterwarnings("ignore", message=notice)
