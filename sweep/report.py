"""A study's report: the table, report.md, answer.json, the figures.

python -m sweep.report runs/<study>                       print and redraw it, also while it runs
python -m sweep.report runs/<study> study.storage=<URL>   the same for a study in a database
"""

from sweep.stop import leave, quiet_start

if __name__ == "__main__":
    quiet_start()  # before what takes seconds to import

import sys
from pathlib import Path

from sweep.command.config import StudyConfig
from sweep.command.exits import exit_code
from sweep.command.streams import lasting_streams
from sweep.errors import BadInput
from sweep.show.markdown import terminal_text, write_report
from sweep.study.storage import load_study, sqlite_url
from sweep.study.touched import check_described, check_untouched, reading_records


def main() -> int:
    """Print a study again, finished or not, and redraw its pictures."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        with lasting_streams():
            print(__doc__)
        return 0
    return exit_code(lambda: report_again(sys.argv[1:]))


def report_again(arguments: list[str]) -> int:
    if not arguments:
        raise BadInput("give a study's folder, such as runs/<study>")
    name, *rest = arguments
    folder = Path(name).resolve()
    url = sqlite_url(folder / "study.db")
    if len(rest) == 1 and rest[0].startswith("study.storage="):
        url = rest[0].partition("=")[2]
        StudyConfig(storage=url)  # which checks it
    elif rest or not (folder / "study.db").is_file():
        hint = "not a study folder: give runs/<study> with a study.db, or add study.storage=<URL>"
        raise BadInput(f"{' '.join(arguments)}: {hint}")
    study = load_study(url, folder, alone=not rest)
    check_untouched(study, folder, url if rest else None)
    check_described(study, folder)
    trials = study.get_trials(deepcopy=False)
    if not any(trial.user_attrs.get("trained") for trial in trials):
        print(f"{folder.name}: no trial is trained to its end yet")
        for trial in trials:
            if reason := trial.user_attrs.get("reason"):
                print(f"trial {trial.number} (rate {trial.params['dropout']:g}): {reason}")
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    with reading_records(study, folder, url if rest else None):
        answer = write_report(study, folder)
    print(terminal_text(answer, folder))
    return 0


if __name__ == "__main__":
    leave(main())
