"""The keys of hydra-optuna-sweeper, and what each of them is here."""

from sweep.command.config import SAMPLERS

SYNTAX = "the override syntax, such as dropout=interval(0,0.8)"
SAMPLER = f"sampler=..., one of {', '.join(SAMPLERS)}; lists alone are a grid"
OURS = {
    "hydra/sweeper": "nothing: Optuna proposes the trials anyway; leave it out",
    "hydra/sweeper/sampler": SAMPLER,
    "hydra.sweeper.sampler": SAMPLER,
    "hydra.sweeper.sampler._target_": SAMPLER,
    "hydra.sweeper.sampler.seed": "sampler.seed=...",
    "hydra.sweeper.sampler.": "nothing: of a sampler only sampler.seed can be set",
    "hydra.sweeper.n_trials": "study.n_trials=...",
    "hydra.sweeper.study_name": "study.name=...",
    "hydra.sweeper.storage": "study.storage=...",
    "hydra.sweeper.n_jobs": "hydra/launcher=joblib",
    "hydra.sweeper.direction": "nothing: study.metric is minimised",
    "hydra.sweeper.max_failure_rate": "nothing: a failed trial never stops the others",
    "hydra.sweeper.params": SYNTAX,
    "hydra.sweeper.search_space": SYNTAX,
    "hydra.sweeper.search_space.": SYNTAX,
    "hydra.sweeper.custom_search_space": SYNTAX,
}
PARAMS = "hydra.sweeper.params."


def our_key(key: str) -> str | None:
    """Return what a key of hydra-optuna-sweeper is here; None if it has no such key."""
    if key.startswith(PARAMS):
        return f"{key.removeprefix(PARAMS)}=..."
    section = ".".join(key.split(".")[:3]) + "."  # of a key within a key
    return OURS.get(key, OURS.get(section))
