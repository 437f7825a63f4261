"""What a study found, in sentences for a stranger: what to do, how sure, whether it is worth it."""

from collections.abc import Mapping, Sequence

from sweep.answer.answer import Answer
from sweep.answer.best import Range
from sweep.answer.confirmation import AtOtherRate
from sweep.answer.gain import HELPS, HURTS, NO_EVIDENCE, Gain
from sweep.command.rate import is_rate
from sweep.command.space import Number
from sweep.show.numbers import interval_words, number, short, words

ROUNDING = 1e-6  # relative: nobody speaks of less
FLAT = 0.5  # weight of a flat fit from which on a curve is not spoken of


def answer_sentences(answer: Answer) -> list[str]:
    """Return the answer, what it rests on, what confirms it, and what to be careful about."""
    return [
        use_line(answer),
        *_set_line(answer),
        *_verdict_lines(answer),
        *_other_samples_line(answer),
        *_early_line(answer),
        *_robustness_lines(answer),
        *(f"warning: {warning}" for warning in answer.warnings),
    ]


def study_words(answer: Answer) -> str:
    """Name a study in words: its model, data, and how much was trained."""
    rows, confirmation = answer.trained, answer.confirmation
    rates, trainings = len({row.rate for row in rows}), sum(len(row.seeds) for row in rows)
    text = f"{answer.study}: {_counted(rates, 'rate')}, {_counted(trainings, 'training')}"
    if confirmation is None:
        return text
    n_points = 1 if confirmation.baseline is None else 2
    return f"{text}, and {n_points * len(confirmation.seeds)} to confirm"


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def use_line(answer: Answer) -> str:
    """Say what to write into a config."""
    why = ""
    if answer.verdict == NO_EVIDENCE and answer.rate == 0:
        told = answer.best.ranges["dropout"]
        why = ", the simplest of what cannot be told apart" if told.low < told.high else ""
    elif answer.verdict is None and answer.confirmation is None:
        why = ", not confirmed on fresh seeds: the best of a search is always a little lucky"
    return f"Use {point_words(answer.use)}{why}"


def point_words(point: Mapping[str, Number]) -> str:
    return ", ".join(f"{key}: {short(value)}" for key, value in point.items())


def _set_line(answer: Answer) -> list[str]:
    """Say what cannot be told from the best, and what is wrong with the rest."""
    best = answer.best
    range_, rate = best.ranges["dropout"], best.point["dropout"]
    if len({row.rate for row in answer.trained if row.number is not None}) == 1:
        return []  # a single rate was given
    if not range_.holds(answer.rate):
        return [f"  the search alone preferred {short(rate)} ({range_words(range_)}, 95%)"]
    alone = len(answer.space) == 1
    if alone and range_.values is not None and len(range_.values) == 1:
        text = f"  no other rate tried is as good as {short(rate)} (95%)"
    elif alone and range_.whole:
        text = "  the search cannot tell any rate from the best (95%)"
    elif alone:
        text = f"  the search cannot tell from the best: {range_words(range_)} (95%)"
    else:
        each = "; ".join(f"{key} {range_words(of)}" for key, of in best.ranges.items())
        text = (
            f"  the search cannot tell from the best: {each} (95%, each with the rest at the best)"
        )
    if best.flat > FLAT and all(of.whole for of in best.ranges.values()):
        return [f"{text}; the search sees no effect of the rate"]
    if alone and best.flat <= FLAT and best.worse > ROUNDING * abs(best.promised[0]):
        text += f", none more than {number(best.worse, answer.metric)} worse than the best"
    sides = _sides(answer)
    return [f"{text}; {sides}" if sides else text]


def range_words(range_: Range) -> str:
    """Name the values that cannot be told from the best."""
    if range_.values is not None:
        return _listed([short(value) for value in range_.values])
    ends = [f"{short(a)} to {short(b)}" if a < b else short(a) for a, b in range_.islands]
    return _listed(ends)


def _listed(words: Sequence[str]) -> str:
    *some, last = words
    return f"{', '.join(some)} and {last}" if some else last


def _sides(answer: Answer) -> str:
    """Say what is wrong below and above the set, if all labels of a side agree."""
    range_, parts = answer.best.ranges["dropout"], list[str]()
    labels = [(row.rate, row.fit.label) for row in answer.trained if row.fit and row.fit.label]
    for side, some in (
        ("below", {label for rate, label in labels if rate < range_.low}),
        ("above", {label for rate, label in labels if rate > range_.high}),
    ):
        if len(some) == 1:
            parts.append(f"{side} it {'it' if parts else 'the network'} {some.pop()}")
    return ", ".join(parts)


def _verdict_lines(answer: Answer) -> list[str]:
    confirmation = answer.confirmation
    if confirmation is None:
        return []
    if not confirmation.gains:
        wanted = answer.config["study"]["baseline"]
        why = ": it failed" if wanted else " (study.baseline=false)"
        return [f"not compared with no dropout{why}"]
    rate = _rates_words(confirmation.chosen.params)
    first, *others = confirmation.gains
    lines = [gain_sentence(first, rate)]
    if answer.no_dropout_is_best:
        lines = [f"no dropout is best: {lines[0]}"]
    if confirmation.attempt > 1:
        lines[0] += f"; confirmed for the {confirmation.attempt}. time, as the answer moved"
    lines += [gain_sentence(gain, rate) for gain in others]
    if {HELPS, HURTS} <= {gain.verdict for gain in confirmation.gains}:
        lines.append(
            f"the two disagree; to choose by the other one: study.metric={others[0].metric}"
        )
    return lines


def _rates_words(params: Mapping[str, Number]) -> str:
    """Name the rates that are compared with none: they are left out all together."""
    others = [key for key in params if is_rate(key) and key != "dropout"]
    more = [f"{key} {short(params[key])}" for key in others]
    return short(params["dropout"]) + (f" with {_listed(more)}" if more else "")


def gain_sentence(gain: Gain, rate: str) -> str:
    """Say what dropout does to a metric, and what that rests on."""
    name = f"validation {words(gain.metric.removeprefix('val_'))}"
    lost = sum(gain.diverged)
    if lost:
        counts = " and ".join(
            f"{n} of {gain.seeds} {way} dropout"
            for n, way in zip(gain.diverged, ("with", "without"), strict=True)
        )
        says = {HELPS: "helps", HURTS: "hurts"}.get(gain.verdict or "", "is not shown to matter")
        return f"dropout {rate} {says}: trainings diverged, {counts} (sign test)"
    if gain.value is None or gain.low is None or gain.high is None:
        return f"dropout {rate}: {name} cannot be compared with a single seed"
    if not any((gain.value, gain.low, gain.high)):
        return (
            f"no evidence that dropout {rate} changes the {name}: all {gain.seeds} pairs are equal"
        )
    if gain.verdict == NO_EVIDENCE and gain.bound is not None:
        seen = number(abs(gain.value), gain.metric, gain.bound)
        below = number(gain.bound, gain.metric)
        return (
            f"no evidence that dropout {rate} changes the {name}: it was {seen} "
            f"{_side(gain.value)}; a difference, if any, is below {below} "
            f"(95%, {gain.seeds} fresh seeds)"
        )
    more = f", {gain.seeds} fresh seeds"
    says = f"{name} {_difference(gain.metric, gain.value, gain.low, gain.high, more)}"
    if gain.verdict is None:
        return f"not tested: {says}"
    return f"dropout {rate} {gain.verdict}: {says}"


def _difference(metric: str, value: float, low: float, high: float, more: str = "") -> str:
    """Say by how much a metric is lower or higher with dropout, and its interval."""
    sign, largest = 1 if value >= 0 else -1, max(abs(low), abs(high))
    first, last = sorted((sign * low, sign * high))
    interval = interval_words(first, last, metric)
    amount = number(abs(value), metric, largest)
    return f"{amount} {_side(value)} than without (95%: {interval}{more})"


def _side(gained: float) -> str:
    return "lower" if gained >= 0 else "higher"


def _other_samples_line(answer: Answer) -> list[str]:
    """Say what is to be expected on other samples, which the verdict is not about."""
    there = answer.confirmation and answer.confirmation.on_other_samples
    if not there or not any((there.value, there.low, there.high)):
        return []
    split, chose = (
        ("test", "") if there.split == "test" else ("validation", ", which chose the rate")
    )
    counted = f", counting the luck of seeds and of its samples{chose}"
    says = _difference(there.metric, there.value, there.low, there.high, counted)
    return [f"on other samples: {split} {words(there.metric)} {says}"]


def _early_line(answer: Answer) -> list[str]:
    """Say whether the conclusion is another one for people who keep the best epoch."""
    gain, early = answer.gain, answer.confirmation and answer.confirmation.early
    says = list[str]()
    if early and gain and early.value is not None and early.verdict != gain.verdict:
        amount = number(abs(early.value), early.metric)
        verdict = "no evidence" if early.verdict == NO_EVIDENCE else f"dropout {early.verdict}"
        name = words(early.metric.removeprefix("val_"))
        says = [f"{verdict}, validation {name} {amount} {_side(early.value)} than without"]
    range_ = answer.early.ranges["dropout"]
    moved = answer.best.ranges["dropout"].holds(answer.rate) and not range_.holds(answer.rate)
    if moved and answer.early.flat <= FLAT:
        says += [
            f"the best dropout is {short(answer.early.point['dropout'])} ({range_words(range_)})"
        ]
    if not says:
        return []
    return [
        "if you keep the best epoch of each training (optimistic) it is otherwise: "
        + "; ".join(says)
    ]


def _robustness_lines(answer: Answer) -> list[str]:
    """Say whether the gain is another one at other learning rates."""
    if not answer.robustness:
        return []
    lines = [_at_other_rate(there) for there in answer.robustness]
    changes = [there.change for there in answer.robustness]
    if any(change is None or change.verdict != NO_EVIDENCE for change in changes):
        return [*lines, "so what dropout does depends on the learning rate"]
    return [*lines, "so no difference between learning rates is seen"]


def _at_other_rate(there: AtOtherRate) -> str:
    lr = f"with train.lr={there.lr:.3g}"
    gain, change = there.gain, there.change
    if gain is None or change is None or gain.value is None or change.value is None:
        return f"{lr} the training diverged"
    side = "more" if change.value >= 0 else "less"
    text = f"{lr} dropout gains {number(gain.value, gain.metric)}, "
    amount, seeds = number(abs(change.value), gain.metric), f"the same {gain.seeds} seeds"
    text += f"{amount} {side} than here with {seeds}"
    if change.low is not None and change.high is not None:
        text += f" (99%: {interval_words(change.low, change.high, gain.metric)})"
    return text
