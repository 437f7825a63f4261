"""A study in PostgreSQL: a real server, which goes away, and whose password nobody gets to see."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import optuna
import pytest

from sweep.study.lock import ADVISORY_LOCK
from tests.command.test_command import ROOT, command, start

psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")
PASSWORD = "geheimZq7w{x}%@/ y"
PLACES = [*Path("/usr/lib/postgresql").glob("*/bin"), *map(Path, os.environ["PATH"].split(":"))]
BIN = next((place for place in PLACES if (place / "initdb").exists()), None)
USER = {"user": "postgres"} if os.getuid() == 0 else {}  # initdb refuses to be root
STUDY = ["data=mnist5k", "data.n_train=200", "data.n_val=100", "model.width=16", "train.epochs=2"]
STUDY += ["study.seeds=2", "study.n_trials=8", "study.generation=2", "train.device=cpu"]

pytestmark = pytest.mark.skipif(BIN is None, reason="PostgreSQL's initdb is not installed")


class Server:
    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        (folder / "password").write_text(PASSWORD)
        for path in (folder, folder / "password"):
            if USER:
                shutil.chown(path, "postgres")
        to = ["-D", str(folder / "data"), "-U", "team", "-A", "scram-sha-256"]
        self._run("initdb", *to, "--pwfile", str(folder / "password"), "--no-sync")
        self.start()

    def _run(self, program, *arguments):
        done = subprocess.run(
            [BIN / program, *arguments], cwd=self.folder, stdout=subprocess.DEVNULL, **USER
        )
        assert done.returncode == 0, (self.folder / "log").read_text()

    def start(self):
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._run("pg_ctl", "-D", "data", "-l", "log", "-o", options, "-w", "start")

    def stop(self):
        self._run("pg_ctl", "-D", "data", "-m", "immediate", "-w", "stop")

    def url(self, database="postgres"):
        account = f"team:{quote(PASSWORD, safe='')}"
        return f"postgresql+psycopg://{account}@127.0.0.1:{self.port}/{database}"

    def sql(self, text):
        with psycopg.connect(self.url().replace("+psycopg", ""), autocommit=True) as connection:
            return connection.execute(text)

    def database(self, name):
        """Return the URL of a new database."""
        self.sql(f"CREATE DATABASE {name}")
        return self.url(name)


@pytest.fixture(scope="module")
def server():
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    server = Server(folder)
    yield server
    with suppress(AssertionError):
        server.stop()
    shutil.rmtree(folder)


def trials(url, name):
    storage = optuna.storages.RDBStorage(url.replace("{", "{{"))
    found = optuna.load_study(study_name=name, storage=storage).trials
    storage.engine.dispose()
    return {t.number: (t.state.name, t.params, t.value) for t in found}


def n_told(url):
    """Count the trials that are told; psycopg's connections close themselves, also after errors."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        rows = connection.execute("SELECT count(*) FROM trials WHERE state = 'COMPLETE'")
        return rows.fetchone()[0]


def files_with(text, folder):
    return [p for p in folder.rglob("*") if p.is_file() and text.encode() in p.read_bytes()]


def test_a_user_who_may_only_read_is_told_so(server, tmp_path):
    url = server.database("watched")
    optuna.storages.RDBStorage(url.replace("{", "{{")).engine.dispose()
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("CREATE USER reader PASSWORD 'only'")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    storage = f"study.storage=postgresql+psycopg://reader:only@127.0.0.1:{server.port}/watched"
    code, out, err = command(tmp_path, storage, *STUDY)
    assert (code, out) == (3, "") and err.count("\n") == 1
    assert err.endswith("permission denied for table studies\n") and "only@" not in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("by_environment", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_nobody_gets_to_see_the_password(server, tmp_path, monkeypatch, by_environment):
    url = server.database(f"secret_{by_environment}".lower())
    monkeypatch.setenv("STUDIES", url)
    storage = "study.storage=${oc.env:STUDIES}" if by_environment else f"study.storage='{url}'"
    small = ["study.n_trials=2", "study.seeds=1"]
    given = [o for o in STUDY if not o.startswith(("study.n_trials", "study.seeds"))]
    code, out, err = command(tmp_path, storage, "study.name=mine", *given, *small)
    assert code == 0, err
    assert "geheim" not in out + err and "team:***@127.0.0.1" in out
    folder = tmp_path / "runs" / "mine"
    assert {"answer.json", "report.md", "jobs"} <= {path.name for path in folder.iterdir()}
    assert not (folder / "study.db").exists() and len(trials(url, "mine")) == 2
    assert files_with("geheim", tmp_path) == []
    assert files_with("mine", tmp_path)  # such a search does find what is there
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        kept = connection.execute("SELECT value_json FROM study_user_attributes").fetchall()
    assert kept and "geheim" not in str(kept)
    report = [sys.executable, "-m", "sweep.report", str(folder), f"study.storage={url}"]
    again = subprocess.run(report, cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 0 and "Use dropout: " in again.stdout, again.stderr
    assert "geheim" not in again.stdout + again.stderr


@pytest.mark.parametrize("full", ["0", pytest.param("1", marks=pytest.mark.slow)])
def test_a_wrong_password_is_one_line_that_does_not_tell_it(server, tmp_path, monkeypatch, full):
    url = server.url().replace("geheim", "geheimFalsch")
    code, out, err = command(tmp_path, f"study.storage='{url}'", *STUDY, HYDRA_FULL_ERROR=full)
    assert code == (1 if full == "1" else 3) and out == ""
    assert "geheim" not in err and "password authentication failed" in err
    assert full == "1" or err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    code, _, err = command(folder, "study.name=mine", "study.confirm=false", *STUDY)
    assert code == 0, err
    return trials(f"sqlite:///{folder}/runs/mine/study.db", "mine")


def running(server, folder, name):
    """Start a study in a new database; return the process once it has told of two trials."""
    url = server.database(name)
    names = ["study.name=mine", "study.confirm=false"]
    process = start(folder, f"study.storage='{url}'", *names, *STUDY)
    while process.poll() is None:
        with suppress(psycopg.errors.UndefinedTable):  # which is not there from the beginning
            if n_told(url) >= 2:
                return url, process
        time.sleep(0.05)
    raise AssertionError(process.communicate()[1])


@pytest.mark.slow
def test_a_second_owner_is_refused_whatever_its_folder(server, tmp_path):
    url, here, there = server.database("owned"), tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    arguments = [f"study.storage='{url}'", "study.name=mine", "study.confirm=false", *STUDY]
    code, _, err = command(here, *arguments)  # which leaves its name there, and no lock
    assert code == 0, err
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        assert connection.execute(ADVISORY_LOCK.replace(":name", "'mine'")).fetchone()[0]
        code, out, err = command(there, *arguments)
    assert (code, out) == (2, "") and re.search(
        r"study\.name=mine: already running in process \d+ on ", err
    )
    assert list(there.iterdir()) == []
    code, _, err = command(there, *arguments)
    assert code == 0 and len(trials(url, "mine")) == 8, err


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [1, 10, 60])
def test_a_server_that_is_away_costs_no_trial(server, undisturbed, tmp_path, seconds):
    url, process = running(server, tmp_path, f"outage_{seconds}")
    process.send_signal(signal.SIGSTOP)  # it could be done before the server is down
    server.stop()
    process.send_signal(signal.SIGCONT)
    with process:
        err = next((line for line in process.stderr if "waiting for it" in line), "")
        time.sleep(seconds)  # from when it noticed, or it could train through a short one
        server.start()
        err += process.stderr.read()
    assert process.returncode == 0 and "waiting for it" in err, err
    assert "geheim" not in err
    assert trials(url, "mine") == undisturbed


@pytest.mark.slow
def test_connections_that_are_cut_cost_no_trial(server, undisturbed, tmp_path):
    url, process = running(server, tmp_path, "cut")
    cuts = 0
    while process.poll() is None:
        cuts += len(
            server.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'cut'"
            ).fetchall()
        )
        time.sleep(0.2)
    assert process.returncode == 0, process.communicate()[1]
    process.communicate()
    assert cuts > 3 and trials(url, "mine") == undisturbed


@pytest.mark.slow
def test_studies_of_several_commands_share_a_database(server, tmp_path):
    url = server.database("shared")
    for name in ("one", "other"):
        arguments = ["dropout=0.0,0.2", "study.confirm=false", f"study.name={name}"]
        given = [o for o in STUDY if not o.startswith("study.n_trials")]
        code, _, err = command(tmp_path, f"study.storage='{url}'", *arguments, *given)
        assert code == 0, err
    assert [len(trials(url, name)) for name in ("one", "other")] == [2, 2]
