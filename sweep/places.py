"""Where YAML and models lie: the user's, in the folder where the command is typed, and the house's.

The house is this project. Its own come behind the user's.
"""

from pathlib import Path

_SWEEP = Path(__file__).resolve().parent
# a wheel carries the house inside the package, a checkout beside it
HOUSE = _SWEEP / "house" if (_SWEEP / "house").is_dir() else _SWEEP.parent
CONF = HOUSE / "conf"
PRIMARY = "dropout_sweep"  # no name that a Hydra app of the user's would have in its conf/


def conf_folders() -> list[Path]:
    """Return the folders of config groups: the user's, if there is one, before the house's."""
    own = Path.cwd() / "conf"
    return [own, CONF] if own.is_dir() and own.resolve() != CONF else [CONF]
