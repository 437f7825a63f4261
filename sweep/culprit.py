"""When trials trained together fail: they are trained apart, until only the culprit fails."""

import logging
import traceback
from collections.abc import Callable
from dataclasses import replace

import torch

from sweep.config import Unreachable
from sweep.progress import progress
from sweep.result import Left, Work

log = logging.getLogger(__name__)


def in_halves(train: Callable[[Work], list[Left]], work: Work) -> list[Left]:
    """Return what each trial leaves; where they fail together, or need too much memory, in halves.

    Raises OSError and Unreachable, which are no trial's fault, and torch.AcceleratorError, after
    which this process has no device any more.
    """
    done = progress.done
    try:
        return train(work)
    except (OSError, Unreachable, torch.AcceleratorError):
        raise
    except Exception as error:
        if len(work.trials) == 1:
            log.exception("trial %d failed", work.trials[0]["number"])
            return [Left(error=traceback.format_exc())]
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    # only out here nothing holds the tensors of the attempt any more
    torch.cuda.empty_cache()
    progress.extend(progress.done - done)
    log.warning("%d trials failed together (%s): now in halves", len(work.trials), reason)
    return [left for half in halves(work) for left in in_halves(train, half)]


def halves(work: Work) -> tuple[Work, Work]:
    half = len(work.trials) // 2
    first, second = work.trials[:half], work.trials[half:]
    return replace(work, trials=first), replace(work, trials=second)
