"""Makes Hydra look for config groups in the user's own `conf` before this project's."""

from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from sweep.places import CONF, conf_folders


class StudySearchPath(SearchPathPlugin):
    """Puts the working directory's `conf` first; does nothing in other Hydra apps."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        mains = [e.path or "" for e in search_path.get_path() if e.provider == "main"]
        if [Path(main).resolve() for main in mains] == [CONF]:
            for own in conf_folders()[:-1]:
                search_path.prepend("own", str(own), anchor="main")
