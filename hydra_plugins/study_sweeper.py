"""The sweeper with which Hydra starts studies; Hydra loads sweepers from this namespace only."""

import sys
from collections.abc import Sequence
from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

import sweep.command.config  # noqa: F401, which makes the schemas of conf/ known to Hydra
from sweep.errors import BadInput


class StudySweeper(Sweeper):
    """The sweeper for `hydra/sweeper=study`: Optuna searches the lists and intervals."""

    def __init__(self, params: dict[str, Any], several: bool) -> None:
        self.params, self.several = params, several

    config: DictConfig

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.context, self.task_function, self.config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> Any:
        from sweep.command.plan import read_plans

        defaults = [f"{key}={value}" for key, value in self.params.items()]
        studies = read_plans(self.context.config_loader, self.config, defaults, arguments)
        if len(studies) > 1 and not self.several:
            raise BadInput(f"find answers for one study; these settings make {len(studies)}")
        if sys.stderr.isatty():  # what follows takes seconds
            print("reading the data, trying the model out ...", file=sys.stderr)
        from sweep.study.studies import (
            run_studies,  # imports torch, so only after the arguments were checked
        )

        return run_studies(studies, self.launch)

    def launch(
        self,
        config: DictConfig,
        jobs: Sequence[Sequence[str]],
        first: int,
        task: TaskFunction | None,
    ) -> list[str]:
        """Run jobs (lists of overrides) with the config's launcher; return their return values."""
        from hydra.core.plugins import Plugins

        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self.context, task_function=task or self.task_function, config=config
        )
        return [job.return_value for job in launcher.launch(jobs, initial_job_idx=first)]
