"""What makes a study this study: two commands with one fingerprint continue each other."""

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from sweep.command.plan import Plan

# of data: where they are, not what they are; that is data_sha256
WHERE_IT_IS = {"_target_", "root", "download", "fallback"}
HOW_IT_RUNS = {"device", "fuse", "compile"}  # of train: not what is trained
RECORDS = 3  # version of what a study keeps of its trials
PACKAGES = ("torch", "optuna", "hydra-core", "numpy")  # whose versions a study notes


def study_fingerprint(plan: Plan, data_sha256: str) -> dict[str, Any]:
    """Return all that the results depend on; n_trials and seeds may grow and are not in it."""
    from sweep.engine.noise import SCHEME  # with torch, which a report does without

    config = plan.config
    prune = {} if config.study.prune == "none" else {"prune": config.study.prune}
    return {
        "model": dict(config.model),
        "data": {k: v for k, v in config.data.items() if k not in WHERE_IT_IS},
        "data_sha256": data_sha256,
        "train": {
            key: value for key, value in asdict(config.train).items() if key not in HOW_IT_RUNS
        },
        "space": {axis.key: axis.as_dict() for axis in plan.axes},
        "sampler": {"name": plan.sampler, "seed": config.sampler.seed},
        "metric": config.study.metric,
        "generation": config.study.generation,
        "noise": SCHEME,
        "records": RECORDS,
        **prune,
    }


def jobs_digest(fingerprint: Mapping[str, Any], sources: Mapping[str, str]) -> str:
    """Return what a job's result must carry, so that no result of other sources is taken."""
    return sha256_of({**fingerprint, "sources": sources})


def sha256_of(fingerprint: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fingerprint, sort_keys=True).encode()).hexdigest()


def library_versions(device: str) -> dict[str, str]:
    """Return what the numbers were made with; a change is no other study, but worth a word."""
    return {
        "python": platform.python_version(),
        **{p: version(p) for p in PACKAGES},
        "device": device,
    }
