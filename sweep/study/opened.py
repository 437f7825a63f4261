"""A study opened by the one process that runs it: created, or loaded if it is the same study."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import optuna
from omegaconf import OmegaConf

from sweep.command.config import differing_keys, job_config
from sweep.errors import BadInput, Unreachable, mask_passwords
from sweep.jobs.launcher import Launcher
from sweep.jobs.training import Training
from sweep.show.dashboard import Dashboard
from sweep.show.progress import Bar
from sweep.study.fingerprint import jobs_digest, library_versions
from sweep.study.lock import database_lock, folder_lock
from sweep.study.preparation import Prepared
from sweep.study.sources import changed_sources
from sweep.study.storage import create_database, name_value, open_study, sqlite_url
from sweep.study.study import StudyRun
from sweep.study.touched import check_untouched


@contextmanager
def open_study_run(prepared: Prepared, launcher: Launcher, bar: Bar) -> Iterator[StudyRun]:
    """Lock a study and create or load it; refuse one that another command made."""
    name, folder, plan = prepared.name, prepared.folder, prepared.plan
    url = plan.config.study.storage
    with ExitStack() as stack:
        if url is not None:  # before there is a folder
            study = open_study(url, name, folder)
            stack.enter_context(database_lock(study, url))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unreachable(f"{folder}: {error.strerror}") from None
        stack.enter_context(folder_lock(folder / "owner", name))
        if url is None:
            create_database(folder / "study.db")
            url = sqlite_url(folder / "study.db")
            study = open_study(url, name, folder)
        _check_same(study, prepared)
        _describe_study(study, prepared, url)
        dashboard = stack.enter_context(closing(Dashboard(folder)))
        dashboard.announce(plan.axes, plan.config.study.seeds, prepared.second_metric)
        digest, device = jobs_digest(prepared.fingerprint, prepared.sources), prepared.device
        training = Training(plan, name, digest, folder, device, launcher, bar)
        yield StudyRun(plan, study, training, dashboard)


def _check_same(study: optuna.Study, prepared: Prepared) -> None:
    """Raise BadInput if the storage has another study of this name, or one that others wrote in."""
    key = f"study.name={prepared.name}"
    if "fingerprint" in study.user_attrs:
        check_untouched(study, prepared.folder, prepared.plan.config.study.storage)
    stored = study.user_attrs.get("fingerprint", prepared.fingerprint)
    if stored != prepared.fingerprint:
        keys = ", ".join(differing_keys(stored, prepared.fingerprint))
        raise BadInput(f"{key}: already exists with a different {keys}; choose another name")
    begun_with = study.user_attrs.get("sources", prepared.sources)
    trials = study.get_trials(deepcopy=False)
    if trials and (changed := ", ".join(changed_sources(begun_with, prepared.sources))):
        advice = "put it back, or start another study with study.name=<another>"
        raise BadInput(f"{key}: {changed} since it began; {advice}")


def _describe_study(study: optuna.Study, prepared: Prepared, url: str) -> None:
    """Record in the study what the report needs."""
    plan, now = prepared.plan, library_versions(prepared.device)
    made_with = study.user_attrs.get("versions", now)
    if made_with != now:
        keys = ", ".join(differing_keys(made_with, now))
        print(f"warning: {prepared.name} was begun with a different {keys}", file=sys.stderr)
    name_value(study, plan.config.study.metric)
    study.set_user_attr("versions", made_with)
    study.set_user_attr("sources", prepared.sources)
    config = job_config(plan.cfg)
    config.study.storage = mask_passwords(url)
    study.set_user_attr("config", OmegaConf.to_container(config))
    study.set_user_attr("warnings", list(prepared.warnings))
    study.set_user_attr("guess", prepared.guess)
    study.set_user_attr("fingerprint", prepared.fingerprint)  # the last: it says that all is there
