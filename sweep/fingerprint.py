"""What makes a study this study: two commands with one fingerprint continue each other."""

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from sweep.plan import Plan

PLACES = {"root", "download", "fallback"}  # of data: where it is, not what it is
MEANS = {"device", "fuse"}  # of train: how it is run, not what is trained
PACKAGES = ("torch", "optuna", "hydra-core", "numpy")  # whose versions a study notes


def fingerprint(plan: Plan, data_sha256: str) -> dict[str, Any]:
    """Return all that the results depend on; n_trials and seeds may grow and are not in it."""
    from sweep.engine.noise import SCHEME  # with torch, which a report does without

    config = plan.config
    prune = {} if config.study.prune == "none" else {"prune": config.study.prune}
    return {
        "model": dict(config.model),
        "data": {key: value for key, value in config.data.items() if key not in PLACES},
        "data_sha256": data_sha256,
        "train": {key: value for key, value in asdict(config.train).items() if key not in MEANS},
        "space": {axis.key: axis.as_dict() for axis in plan.axes},
        "sampler": {"name": plan.sampler, "seed": config.sampler.seed},
        "metric": config.study.metric,
        "generation": config.study.generation,
        "noise": SCHEME,
        **prune,
    }


def digest(fingerprint: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fingerprint, sort_keys=True).encode()).hexdigest()


def different(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the keys in which two fingerprints differ, dotted."""
    keys: list[str] = []
    for key in sorted(one.keys() | other.keys()):
        a, b = one.get(key), other.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            keys += different(a, b, f"{prefix}{key}.")
        elif a != b:
            keys.append(f"{prefix}{key}")
    return keys


def versions(device: str) -> dict[str, str]:
    """Return what the numbers were made with; a change is no other study, but worth a word."""
    return {
        "python": platform.python_version(),
        **{p: version(p) for p in PACKAGES},
        "device": device,
    }
