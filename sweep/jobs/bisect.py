"""If a population fails, it is split in half and trained again until the failing trial is alone."""

import logging
import traceback
from collections.abc import Callable

import torch

from sweep.errors import Unreachable, named_line
from sweep.jobs.partition import halves
from sweep.show.progress import Reporter
from sweep.stop import stop_if_asked
from sweep.work import TrialResult, Work

log = logging.getLogger(__name__)


def train_bisecting(
    train: Callable[[Work], list[TrialResult]], work: Work, reporter: Reporter
) -> list[TrialResult]:
    """Return each trial's result; trials that fail together, or lack memory, train in halves.

    Raises OSError and Unreachable, which are no trial's fault, and torch.AcceleratorError, after
    which this process has no device any more.
    """
    done = reporter.done
    try:
        return train(work)
    except (OSError, Unreachable, torch.AcceleratorError):
        raise
    except Exception as error:
        stop_if_asked()
        if len(work.trials) == 1:
            log.exception("trial %d failed", work.trials[0].number)
            return [TrialResult(error=traceback.format_exc())]
        reason = named_line(error)
    # only out here nothing holds the tensors of the attempt any more
    torch.cuda.empty_cache()
    reporter.add_work(reporter.done - done)
    log.warning("%d trials failed together (%s): now in halves", len(work.trials), reason)
    parts = [train_bisecting(train, half, reporter) for half in halves(work)]
    return [result for part in parts for result in part]
