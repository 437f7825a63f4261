"""The one owner of a study: it asks for a generation, has it trained, and tells what came back.

Whatever a job finished is in its result file before the study hears of it, and whatever the study
was told is in its storage: the same command goes on from there.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from sweep import claim, data, findings, report, result
from sweep.config import BadInput, Unreachable, require
from sweep.confirm import confirm
from sweep.dashboard import SHOWN_BY_DEFAULT, Dashboard
from sweep.digits import DataUnavailable
from sweep.engine.inspection import try_out
from sweep.findings import Answer
from sweep.fingerprint import different, digest, fingerprint, versions
from sweep.job import pick_device
from sweep.launcher import Launcher
from sweep.mistake import masked
from sweep.model import check_numbers
from sweep.owner import owner, owner_in_storage
from sweep.plan import Plan, job_config
from sweep.progress import progress
from sweep.result import Outcome, seeds_of
from sweep.sampler import Chooser
from sweep.sources import changes, sources
from sweep.storage import create, name_value, open_study, sqlite
from sweep.training import Steps, SweepFailed, Training

NEWS = 1.1  # times as many trials, and the pictures are drawn again: their cost grows with them


class Search:
    """One study from its first trial to its last."""

    study: optuna.Study
    dashboard: Dashboard
    shown = 0  # trials in the pictures

    def __init__(self, plan: Plan, launcher: Launcher) -> None:
        """Check what needs torch and the data; nothing is written before `run`."""
        self.plan, self.warnings = plan, list[str]()
        device = plan.config.train.device
        self.device = pick_device(device).type if launcher.here else device
        check_numbers(plan.config.model, plan.axes)
        samples = self._data()
        size, most = plan.config.train.batch_size, len(samples.train)
        require(size <= most, "train.batch_size", size, f"must be at most the {most} samples")
        config = self.plan.config
        self.warnings += try_out(config.model, self.plan.axes, samples, config.train)
        self.sources = sources(str(part.get("_target_")) for part in (config.model, config.data))
        self.fingerprint = fingerprint(self.plan, samples.sha256)
        short = digest(self.fingerprint)[:8]
        made = f"{self.plan.labels['model']}-{self.plan.labels['data']}-{short}"
        self.name = self.plan.config.study.name or made.replace("/", "-")  # of a group in a group
        self.folder = Path(self.plan.cfg.hydra.sweep.dir).resolve() / self.name
        require("${" not in str(self.folder), "hydra.sweep.dir", self.folder, "must not hold ${")
        # of jobs, so that none takes in what another source has left
        whole = digest({**self.fingerprint, "sources": self.sources})
        self.training = Training(self.plan, self.name, whole, self.folder, self.device, launcher)

    def _data(self) -> data.Data:
        """Read the data, or those that they fall back on."""
        config = self.plan.config.data
        try:
            return data.load(config)
        except DataUnavailable as error:
            fallback = config.get("fallback")
            if fallback is None:
                raise
            self.plan = self.plan.with_data(fallback)
            samples = data.load(self.plan.config.data)
            self.warnings.append(f"{error}: data={fallback} is used instead")
            print(f"warning: {self.warnings[-1]}", file=sys.stderr)
            return samples

    def run(self) -> Steps[None]:
        """Train what is missing of the trials; each has its result when this returns."""
        claim.settle(result.unfinished(result.job_folders(self.training.jobs)))
        n, size, config = self.plan.n_trials, self.plan.generation, self.plan.config
        left = n - len(self._trials()[:n])
        if n > SHOWN_BY_DEFAULT:
            few = f"TensorBoard shows runs by default up to {SHOWN_BY_DEFAULT} only"
            print(f"warning: {n} trials: {few}; type a filter there", file=sys.stderr)
        if left > 0:
            progress.extend(left * config.study.seeds * config.train.epochs, "generation 1")
        chooser = Chooser(self.plan)
        for generation, first in enumerate(range(0, n, size)):
            yield from self._generation(chooser, generation, range(first, min(first + size, n)))
        if not self._found_something():
            raise SweepFailed(f"all trials of {self.name} failed; see {self.folder}")
        if config.study.confirm:
            yield from self._confirm()

    def _confirm(self) -> Steps[None]:
        try:
            yield from confirm(self.study, self.training)
        except SweepFailed as error:
            self.warnings.append(f"not confirmed: {str(error).strip().splitlines()[-1]}")
            self.study.set_user_attr("warnings", self.warnings)

    def report(self) -> Answer:
        """Write the report of the study as it stands."""
        answer = report.write(self.study, self.folder)
        self.dashboard.tell(answer, self.plan.n_generations + 1)
        return answer

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Own the study: create it or load it, refusing one that another command made."""
        url = self.plan.config.study.storage
        with ExitStack() as stack:
            if url is not None:  # before there is a folder
                self.study = open_study(url, self.name)
                stack.enter_context(owner_in_storage(self.study, url))
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise Unreachable(f"{self.folder}: {error.strerror}") from None
            stack.enter_context(owner(self.folder / "owner", self.name))
            if url is None:
                create(self.folder / "study.db")
                url = sqlite(self.folder / "study.db")
                self.study = open_study(url, self.name)
            self._check_and_describe(url)
            with closing(Dashboard(self.folder)) as self.dashboard:
                self.dashboard.announce(self.plan.axes, self.plan.config.study.seeds)
                yield

    def _check_and_describe(self, url: str) -> None:
        """Refuse a study with another fingerprint or sources; note in it what the report needs."""
        study = self.study
        if unfinished := [t for t in self._trials() if not t.state.is_finished()]:
            begun = f"its trial {unfinished[0].number} was begun by another program"
            raise BadInput(f"study.name={self.name}: {begun}; choose another")
        stored = study.user_attrs.get("fingerprint", self.fingerprint)
        if stored != self.fingerprint:
            keys = ", ".join(different(stored, self.fingerprint))
            raise BadInput(f"study.name={self.name}: exists, with another {keys}; choose another")
        begun_with = study.user_attrs.get("sources", self.sources)
        if self._trials() and (changed := ", ".join(changes(begun_with, self.sources))):
            advice = "put it back, or start another study with study.name=<another>"
            raise BadInput(f"study.name={self.name}: {changed} since it began; {advice}")
        made_with = study.user_attrs.get("versions", versions(self.device))
        if made_with != versions(self.device):
            keys = ", ".join(different(made_with, versions(self.device)))
            print(f"warning: {self.name} was begun with another {keys}", file=sys.stderr)
        name_value(study, self.plan.config.study.metric)
        study.set_user_attr("fingerprint", self.fingerprint)
        study.set_user_attr("versions", made_with)
        study.set_user_attr("sources", self.sources)
        config = job_config(self.plan.cfg)
        config.study.storage = masked(url)
        study.set_user_attr("config", OmegaConf.to_container(config))
        seeds = {len(t.user_attrs["seeds"]) for t in study.trials if "seeds" in t.user_attrs}
        if seeds - {self.plan.config.study.seeds}:
            self.warnings.append(f"trials finished before keep their {max(seeds)} seeds")
        study.set_user_attr("warnings", self.warnings)

    def _found_something(self) -> bool:
        return any(trial.state == TrialState.COMPLETE for trial in self._trials())

    def _trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _generation(self, chooser: Chooser, generation: int, numbers: range) -> Steps[None]:
        """Train one generation, or what is missing of it, and tell the study."""
        told = self._trials()[numbers.start : numbers.stop]
        key = f"baselines:{generation}"
        apart = self._apart and key not in self.study.user_attrs
        if len(told) == len(numbers) and not apart:
            chooser.skip(told)
            return
        begin, trials = datetime.now(), chooser.ask(numbers)
        points = {n: trial.params for n, trial in list(trials.items())[len(told) :]}
        beside = self._baselines(trials.values()) if apart else []
        baselines = {-1 - i: point for i, point in enumerate(beside)}
        config = self.plan.config
        progress.extend(len(baselines) * config.study.seeds * config.train.epochs)
        seeds = seeds_of(generation, config.study.seeds)
        outcomes = yield from self.training.outcomes(generation, seeds, {**points, **baselines})
        errors = [outcome.error for outcome in outcomes.values() if outcome.error]
        if len(errors) == len(outcomes) > 1 and not self._found_something():
            # untold: once it is mended, the same command goes on; one alone fails by itself
            raise SweepFailed(errors[0])
        told += [self._tell(trials[n], outcomes[n], begin) for n in points]
        for trial, frozen in zip(trials.values(), told, strict=True):
            chooser.tell(trial, frozen)
        if apart:
            beside_it = [outcomes[number] for number in baselines]
            done = [o for o in beside_it if not o.error and not o.diverged]
            failed = [o.params for o in beside_it if o.error or o.diverged]
            self.study.set_user_attr(f"failed:{generation}", failed)
            self.study.set_user_attr(key, [outcome.summary() for outcome in done])
        news = numbers.stop >= NEWS * self.shown
        if points and news and self._found_something():
            self.dashboard.show(findings.collect(self.study), generation + 1)
            self.shown = numbers.stop

    def _baselines(self, trials: Iterable[Trial]) -> list[dict[str, Any]]:
        """Return what is trained without dropout beside a generation.

        Where more than rates is searched, no dropout is tuned with a share of its own: the other
        numbers of a quarter of the generation, or of every one in a grid.
        """
        rates = dict.fromkeys(self.plan.rates, 0.0)
        points = [{**trial.params, **rates} for trial in trials]
        distinct = list({json.dumps(point, sort_keys=True): point for point in points}.values())
        return distinct if self.plan.grid else distinct[: max(1, len(points) // 4)]

    @property
    def _apart(self) -> bool:
        """Whether baselines are trained apart: the trials are not sure to have rate 0."""
        axes = [axis for axis in self.plan.axes if axis.key in self.plan.rates]
        if self.plan.grid:
            has_zero = all(0 in axis.values for axis in axes)
        else:  # zoom's first level is the lowest rate
            has_zero = self.plan.sampler == "zoom" and all(axis.low == 0 for axis in axes)
        return self.plan.config.study.baseline and not has_zero

    def _tell(self, trial: Trial, outcome: Outcome, begin: datetime) -> FrozenTrial:
        """Tell the study one trial: its value is the mean over seeds after the last epoch."""
        curves = outcome.curves.get(self.plan.config.study.metric, [])
        means = [sum(values) / len(values) for values in curves]
        state, attributes, value = TrialState.COMPLETE, dict[str, Any](), None
        if outcome.error or outcome.diverged is not None:
            state, means = TrialState.FAIL, []
            reason = (outcome.error or "").strip().splitlines()[-1:]
            attributes["reason"] = (reason or [f"diverged at epoch {outcome.diverged}"])[0]
        elif len(means) < self.plan.config.train.epochs:
            state, value = TrialState.PRUNED, means[-1]
            attributes["reason"] = f"halved away at epoch {len(means)}"
        else:
            value = means[-1]
            attributes = {**outcome.numbers(), "trained": outcome.summary()}
        told = create_trial(
            state=state,
            value=value,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs=attributes,
            intermediate_values=dict(enumerate(means, 1)),
        )
        told.number, told.datetime_start = trial.number, begin
        self.study.add_trial(told)
        if state == TrialState.COMPLETE:
            progress.finish(means[-1], float(trial.params["dropout"]))
        return told
