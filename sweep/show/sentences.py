"""What a study found, in sentences for a stranger."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import fdtrc

from sweep.answer.answer import Answer, Row
from sweep.answer.diagnosis import clearly_above_zero

GROWS = 0.01  # chance that a spread growing like this is nothing


def answer_sentences(answer: Answer) -> list[str]:
    """Return the answer, what confirms it, why it is so, and what to be careful about."""
    lines = [
        _best_rate(answer),
        _verdict_line(answer),
        *_over_and_under(answer),
        *_confirmed_values(answer),
    ]
    lines += _robustness(answer)
    lines += [f"warning: {warning}" for warning in warning_lines(answer)]
    return lines


def _best_rate(answer: Answer) -> str:
    best, rate = answer["best"], answer["best"]["dropout"]
    others = [f"{key}={value:.6g}" for key, value in best["params"].items() if key != "dropout"]
    with_others = f" with {', '.join(others)}" if others else ""
    if rate["low"] == rate["high"]:
        return f"best rate {rate['value']:.6g}{with_others}"
    text = f"best rate {rate['value']:.6g}{with_others}; {as_good(rate)} (95%)"
    if best["no_effect"] > 0.5:
        text += f"; {best['no_effect']:.0%} chance that the rate makes no difference"
    return text


def usage_line(answer: Answer) -> str:
    """Say what to write into a config: 0 if dropout hurts or no dropout is best."""
    if answer["verdict"] in ("hurts", "no dropout"):
        return "to use it: dropout: 0"
    return f"to use it: dropout: {answer['best']['params']['dropout']:.6g}"


def as_good(range_: Mapping[str, Any]) -> str:
    """Name the values that cannot be told from the best."""
    if range_["values"] is None:
        return f"anywhere in {range_['low']:.6g} to {range_['high']:.6g} is as good"
    *some, last = (f"{value:.6g}" for value in range_["values"])
    return f"{', '.join(some)} and {last} are as good"


def _verdict_line(answer: Answer) -> str:
    verdict, gain = answer["verdict"], answer["gain"]
    if verdict == "no dropout":
        return "no dropout is best"
    if verdict is None and answer["confirmation"]:
        wanted = answer["config"]["study"]["baseline"]
        why = ": it failed" if wanted else " (study.baseline=false)"
        return f"not compared with no dropout{why}"
    if verdict is None:
        return "not confirmed on fresh seeds: the best of a search is always a little lucky"
    return verdict_sentence(gain, answer)


def verdict_sentence(gain: Mapping[str, Any], answer: Answer) -> str:
    """Say a verdict and what it rests on."""
    name = f"validation {words(answer['metric'].removeprefix('val_'))}"
    side = "lower" if gain["value"] >= 0 else "higher"
    text = f"{name} {_number(abs(gain['value']), answer)} {side} than without"
    if gain["low"] is not None:
        ends = sorted(
            (gain["low"], gain["high"]) if side == "lower" else (-gain["high"], -gain["low"])
        )
        low, high = (_number(end, answer) for end in ends)
        text += f" (95%: {low} to {high}, {gain['seeds']} fresh seeds)"
    if gain["verdict"] != "no evidence":
        return f"dropout {gain['verdict']}: {text}"
    text = f"no evidence that dropout helps or hurts: {text}"
    if gain["needed"] is not None:
        text += f"; about {gain['needed']} seeds would be needed to resolve a difference this small"
    return text


def _number(value: float, answer: Answer) -> str:
    percent = _is_part(answer["metric"].removeprefix("val_"))
    return f"{100 * value:.2f}%" if percent else f"{value:.4f}"


def _is_part(name: str) -> bool:
    """Return whether a metric is a part of one, and shown in percent."""
    return name not in ("loss", "rmse")


def words(metric: str | None) -> str:
    """Return a metric's name as people say it."""
    return (metric or "").replace("_", " ")


def _over_and_under(answer: Answer) -> list[str]:
    """Say up to which rate it overfits and from which rate on it underfits."""
    best = answer["best"]["params"]["dropout"]
    rows = [row for row in answer["trials"] if row["fit"]] + answer["baselines"]
    labels = [(row["params"]["dropout"], row["fit"]["label"]) for row in rows]
    over = [rate for rate, label in labels if label == "overfits" and rate < best]
    under = [rate for rate, label in labels if label == "underfits" and rate > best]
    parts = []
    if over:
        parts.append(f"at {max(over):.6g} and below it overfits")
    if under:
        parts.append(f"at {min(under):.6g} and above it underfits")
    return [", ".join(parts)] if parts else []


def _confirmed_values(answer: Answer) -> list[str]:
    confirmation, test = answer["confirmation"], answer["test"]
    if confirmation is None:
        return []
    lines = []
    names = [name for name in ("loss", answer["second_metric"]) if name]
    for title, source, part in (
        ("confirmed", confirmation, "val"),
        ("test set, read once", test, "test"),
    ):
        points = [source[point] for point in ("chosen", "baseline") if source[point]]
        texts = [
            ", ".join(f"{words(n)} {plus_minus(point[f'{part}_{n}'], n)}" for n in names)
            for point in points
        ]
        lines.append(f"{title}: " + "; without dropout ".join(texts))
    return lines


def _robustness(answer: Answer) -> list[str]:
    """Say whether the conclusion holds at other learning rates."""
    found = answer["robustness"] or []
    lines = [
        f"with train.lr={there['lr']:.3g} "
        + (verdict_sentence(there["gain"], answer) if there["gain"] else "the training diverged")
        for there in found
    ]
    others = [there["gain"] and there["gain"]["verdict"] for there in found]
    if others and set(others) == {answer["verdict"]}:
        return [*lines, "so the conclusion holds at other learning rates"]
    return [*lines, "so the conclusion depends on the learning rate"] if others else []


def plus_minus(value: Mapping[str, Any], name: str = "loss") -> str:
    """Return mean ± standard error of a metric."""
    scale, digits, unit = (100, 2, "%") if _is_part(name) else (1, 4, "")
    sem = "" if value["sem"] is None else f" ± {scale * value['sem']:.{digits}f}"
    return f"{scale * value.get('aligned', value['mean']):.{digits}f}{sem}{unit}"


def warning_lines(answer: Answer) -> list[str]:
    """Return what makes the answer worth less than it looks."""
    done = [row for row in answer["trials"] if row["state"] == "complete"]
    found = [
        *answer["warnings"],
        *_edge_warnings(answer),
        *_budget_warnings(answer, done),
        *_variance_warning(done),
    ]
    pruned = sum(row["state"] == "pruned" for row in answer["trials"])
    if pruned:
        found.append(
            f"halving gave up {pruned} of {len(answer['trials'])} trials on their way; high rates "
            "learn slowly, so it favours low ones"
        )
    failed = [row for row in answer["trials"] if row["state"] == "fail"]
    found += [
        f"trial {row['number']} (rate {row['params']['dropout']:.6g}) failed: {row['reason']}"
        for row in failed
    ]
    return found


def _edge_warnings(answer: Answer) -> list[str]:
    return [
        f"the {'highest' if range_['edge'] == 'high' else 'lowest'} {key} searched, "
        f"{range_[range_['edge']]:.6g}, is among the best: search further"
        for key, range_ in answer["best"]["set"].items()
        if range_["edge"]
    ]


def _budget_warnings(answer: Answer, done: Sequence[Row]) -> list[str]:
    """Look at the trial nearest to the best rate: does its loss rise or still fall at the end?"""
    best, epochs = answer["best"]["params"]["dropout"], answer["config"]["train"]["epochs"]
    row = min(done, key=lambda row: abs(row["params"]["dropout"] - best))
    if clearly_above_zero([-slope for slope in row["slope"]]):
        return [
            "validation loss at the best rate was still falling at the last epoch; with longer "
            f"training another rate may be best: try train.epochs={2 * epochs}"
        ]
    if clearly_above_zero(row["rise"]):
        return [
            f"the validation loss at the best rate rises after epoch {row['lowest_epoch']}: "
            "it overfits in time"
        ]
    return []


def _variance_warning(done: Sequence[Row]) -> list[str]:
    """Compare the variance over seeds of the upper half of the rates with the lower half's."""
    ordered = sorted(done, key=lambda row: row["params"]["dropout"])
    half = len(ordered) // 2
    pools = []
    for rows in (ordered[:half], ordered[-half:] if half else []):
        df = sum(len(row["seeds"]) - 1 for row in rows)
        squares = sum(np.var(row["val_loss"]["of_seeds"]) * len(row["seeds"]) for row in rows)
        pools.append((df, float(squares) / max(df, 1)))
    (df_low, low), (df_high, high) = pools
    if df_low > 0 and low > 0 and fdtrc(df_high, df_low, high / low) < GROWS:
        return [
            f"seeds differ more at high rates (sd {high**0.5:.4f}) than at low ones "
            f"({low**0.5:.4f}): the intervals there are too narrow"
        ]
    return []
