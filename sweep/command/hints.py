"""Turns any error into one line: the key, its value and what is allowed."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import fields

from hydra.errors import MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from sweep.command.config import Config, SamplerConfig, StudyConfig, TrainConfig
from sweep.errors import BadInput, Unreachable, first_line, mask_passwords

SECTIONS = {"train.": TrainConfig, "study.": StudyConfig, "sampler.": SamplerConfig, "": Config}
KEYS = [f"{prefix}{f.name}" for prefix, config in SECTIONS.items() for f in fields(config)]
KINDS = {"Float": "a number", "Integer": "a whole number", "Boolean": "true or false"}
NOISE = ("full_key:", "object_type=", "reference_type=", "Config search path", "provider=", "See ")


def one_line(error: BaseException) -> str:
    """Return an error as one line, without boilerplate and with passwords masked."""
    return mask_passwords(_explained(error))


def _explained(error: BaseException) -> str:
    cause, text = error.__cause__, str(error)
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, choice = (error.missing_cfg_file or "").rpartition("/")
        hint = did_you_mean(choice, error.options)
        return f"{group}={choice}: must be one of {', '.join(error.options)}{hint}"
    if isinstance(cause, OmegaConfBaseException):
        if found := re.search("Error merging override (.*)", text):
            return f"{found[1]}: {refusal_reason(cause)}"
        if found := re.search(r"To append to your config use \+(.*)", text):
            key, node = found[1].partition("=")[0], cause.parent_node
            owner = key.rpartition(".")[0] if isinstance(node, DictConfig) else ""
            known = [f"{owner}.{k}".lstrip(".") for k in node or ()]
            return f"{found[1]}: {unknown_key(key, known)}"
    if found := re.search(r"interpolation.*full_key: (\S+)", text, re.S):
        text = f"{found[1]}: {text}"
    parts = (text,) if isinstance(error, BadInput | Unreachable) else (text, str(cause or ""))
    lines = [line.strip() for part in parts for line in part.splitlines()]
    return " ".join(dict.fromkeys(line for line in lines if line and not line.startswith(NOISE)))


def refusal_reason(error: BaseException) -> str:
    """Return why OmegaConf rejects a value."""
    text = first_line(error)
    if "not Optional" in text or "'None'" in text:
        return "must not be null"
    if "not a valid bool" in text:
        return f"must be {KINDS['Boolean']}"
    if "is not a subclass of" in text:
        return "is a section; set its keys one by one, as <section>.<key>=<value>"
    kind = re.search(r"could not be converted to (\w+)", text)
    return f"must be {KINDS.get(kind[1], kind[1])}" if kind else text


def unknown_key(key: str, beside: Iterable[str]) -> str:
    """Return a message that a key does not exist, with a similar key or those of its section."""
    beside = [name for name in beside if name not in ("hydra", "work")]
    name = key.rpartition(".")[2]
    elsewhere = [known for known in KEYS if known.rpartition(".")[2] == name]
    hint = f"; did you mean {elsewhere[0]}?" if elsewhere else _meant_last(name, beside)
    if not hint and "." not in "".join(beside):
        hint = did_you_mean(key, KEYS)
    return f"there is no {key}{hint or ' among ' + ', '.join(beside)}"


def _meant_last(name: str, known: Iterable[str]) -> str:
    """Return the known key with the most similar last part, as a question, or nothing."""
    lasts = {key.rpartition(".")[2]: key for key in known}
    close = difflib.get_close_matches(name, list(lasts), 1)
    return f"; did you mean {lasts[close[0]]}?" if close else ""


def did_you_mean(name: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """Return the most similar known name, as a question, or nothing if none is similar."""
    close = difflib.get_close_matches(name, list(known), 1, likeness)
    return f"; did you mean {close[0]}?" if close else ""
