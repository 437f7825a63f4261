"""What people see: TensorBoard and optuna-dashboard on a real study, in a real browser."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import quote

import pytest

from sweep.places import CONF
from sweep.show.dashboard import PICTURES

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed"),
]
SMALL = ["data=mnist5k", "data.n_train=300", "data.n_val=200", "model.width=32", "study.seeds=2"]
STUDY = [*SMALL, "train.epochs=5", "study.n_trials=8", "study.generation=4"]
N_OWN = 7  # runs of the study itself: ., and the curves of the answer
SECONDS = 60_000  # a page may take them, in ms, on a busy machine


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("looked_at")
    done = subprocess.run(
        [sys.executable, "-m", "sweep.run", *STUDY],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(CONF.parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (made,) = (folder / "runs").iterdir()
    return made


def serve(*command):
    """Start a server on a free port of this machine; return it with its address when it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=1).close()
            return server, f"http://127.0.0.1:{port}"
        except OSError:
            assert server.poll() is None, "the server ended"
            time.sleep(0.2)
    raise AssertionError("the server does not answer")


@pytest.fixture(scope="module")
def tensorboard(study):
    server, address = serve(sys.executable, "-m", "tensorboard.main", "--logdir", str(study))
    for _ in range(100):  # it reads the runs while it serves
        if len(get(f"{address}/data/runs")) == len([*study.rglob("rate *")]) + N_OWN:
            break
        time.sleep(0.2)
    yield address
    server.terminate()
    server.wait()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page of 1400 x 900 that must not report an error."""
    page, errors = browser.new_page(viewport={"width": 1400, "height": 900}), []
    page.set_default_timeout(SECONDS)
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()
    assert not errors


def get(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def trials(study):
    return json.loads((study / "answer.json").read_text())["trials"]


def shot(page, name):
    """Keep what was seen where SHOTS names a folder."""
    if "SHOTS" in os.environ:
        page.screenshot(path=str(Path(os.environ["SHOTS"]) / f"{name}.png"))


def test_time_series_open_on_the_answer(tensorboard, page):
    page.goto(f"{tensorboard}/#timeseries")
    groups = page.locator("mat-toolbar, .group-title").filter(has_text="answer")
    groups.first.wait_for()
    for picture in PICTURES:
        page.get_by_text(picture).first.wait_for()
    page.locator("image-card img").first.wait_for()
    wide = page.locator("image-card img").evaluate_all("all => all.map(i => i.naturalWidth)")
    assert len(wide) == len(PICTURES) and all(width == 920 for width in wide)
    page.get_by_text("error/val").first.wait_for()
    page.get_by_text("Step 2").first.wait_for()  # the slider stands on the last generation
    shot(page, "time_series")


def test_scalars_are_few_and_drawn(tensorboard, study, page):
    tags = get(f"{tensorboard}/data/plugin/scalars/tags")
    run = next(name for name in tags if "trial 00" in name)
    shown = {tag for tag in tags[run] if not tag.startswith("seeds/")}
    assert shown == {
        "loss/val",
        "loss/train",
        "loss/train_dropout_on",
        "error/val",
        "error/train",
        "gap/loss",
        "reported/loss",
        "reported/error",
        "reported/gap",
    }
    points = get(f"{tensorboard}/data/plugin/scalars/scalars?tag=loss/val&run={quote(run)}")
    assert [step for _, step, _ in points] == [1, 2, 3, 4, 5]
    assert points[-1][2] == pytest.approx(trials(study)[0]["metrics"]["val_loss"]["mean"], rel=1e-6)
    page.goto(f"{tensorboard}/#scalars")
    page.locator("tf-scalar-card").filter(has_text="error/val").first.wait_for()
    page.get_by_text("rate 0.00 trial 00").first.wait_for()
    shot(page, "scalars")


def test_custom_scalars_are_ready_charts(tensorboard, page):
    layout = get(f"{tensorboard}/data/plugin/custom_scalars/layout")
    titles = [chart["title"] for part in layout["category"] for chart in part["chart"]]
    assert "loss, validation and training" in titles and "validation loss" in titles
    page.goto(f"{tensorboard}/#custom_scalars")
    for title in (
        "over the rate (step 300 is rate 0.3)",
        "loss, validation and training",
        "training loss",
    ):
        page.get_by_text(title, exact=True).first.wait_for()
    page.get_by_text("Matches (").first.wait_for()
    page.wait_for_timeout(2000)
    shot(page, "custom_scalars")
    assert page.get_by_text("Missing Tags").locator("visible=true").count() == 0
    assert page.get_by_text("Steps Mismatch").locator("visible=true").count() == 0


def test_hparams_have_a_row_a_trial(tensorboard, study, page):
    everything = {
        "allowedStatuses": ["STATUS_SUCCESS"],
        "colParams": [
            {"hparam": "dropout", "order": "ORDER_ASC"},
            {"metric": {"tag": "reported/loss"}},
        ],
        "startIndex": 0,
        "sliceSize": 100,
    }
    answer = get(f"{tensorboard}/data/plugin/hparams/session_groups", everything)
    groups = [
        (
            group["hparams"]["dropout"],
            {value["name"]["tag"]: value["value"] for value in group["metricValues"]},
        )
        for group in answer["sessionGroups"]
    ]
    expected = [
        (
            trial["params"]["dropout"],
            *(trial["metrics"][m]["adjusted"] for m in ("val_loss", "gap")),
        )
        for trial in trials(study)
    ]
    found = sorted(
        (rate, metrics["reported/loss"], metrics["reported/gap"]) for rate, metrics in groups
    )
    assert [rate for rate, *_ in found] == [rate for rate, _ in groups] and len(found) == 8
    assert found == [pytest.approx(row, abs=1e-6) for row in sorted(expected)]
    page.goto(f"{tensorboard}/#hparams")
    for column in ("dropout", "validation loss", "validation error", "gap"):
        page.get_by_text(column, exact=True).first.wait_for()
    page.get_by_text("groups: 8").first.wait_for()
    shot(page, "hparams")
    page.get_by_text("Parallel Coordinates View").first.click()
    page.locator("svg path").first.wait_for(state="attached")
    shot(page, "parallel_coordinates")


def test_several_studies_are_compared(tmp_path, browser):
    small = [one for one in SMALL if "width" not in one]
    command = [sys.executable, "-m", "sweep.run", *small, "study.confirm=false", "train.epochs=2"]
    env = {**os.environ, "PYTHONPATH": str(CONF.parent)}
    for lists in (["dropout=0.0,0.5", "model.width=8,16"], ["dropout=0.0,0.8", "model=cnn"]):
        subprocess.run([*command, *lists], cwd=tmp_path, env=env, check=True, capture_output=True)
    logdir = str(tmp_path / "runs")
    server, address = serve(sys.executable, "-m", "tensorboard.main", "--logdir", logdir)
    try:
        for _ in range(100):
            if len(get(f"{address}/data/runs")) == 3 * (2 + N_OWN):
                break
            time.sleep(0.2)
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(f"{address}/#hparams")
        page.get_by_text("groups: 6").first.wait_for(timeout=SECONDS)
        for column in ("study", "model", "data", "dropout", "validation loss"):
            page.get_by_text(column, exact=True).first.wait_for()
        page.get_by_text("CNN").first.wait_for()
        shot(page, "hparams_of_several")
        page.goto(f"{address}/#timeseries")
        page.locator("image-card img").first.wait_for(timeout=SECONDS)
        shot(page, "time_series_of_several")
        page.close()
    finally:
        server.terminate()
        server.wait()


def test_images_have_a_slider_of_generations(tensorboard, page):
    (tags,) = [t for t in get(f"{tensorboard}/data/plugin/images/tags").values() if t]
    assert set(tags) == set(PICTURES)
    page.goto(f"{tensorboard}/#images")
    page.locator("tf-image-loader img").first.wait_for()
    page.get_by_text("step").first.wait_for()
    shot(page, "images")


def test_text_is_the_verdict(tensorboard, study, page):
    page.goto(f"{tensorboard}/#text")
    text = page.locator("tf-text-loader, tf-markdown-view").first
    text.wait_for()
    page.get_by_text("cannot tell from the best").first.wait_for()
    page.get_by_text("test loss").first.wait_for()
    assert page.locator("table tr").count() >= len(trials(study))
    shot(page, "text")


def test_optuna_dashboard_lists_and_draws_the_study(study, page):
    command = Path(sys.executable).with_name("optuna-dashboard")
    server, address = serve(str(command), f"sqlite:///{study / 'study.db'}")
    try:
        (listed,) = get(f"{address}/api/studies")["study_summaries"]
        assert listed["study_name"] == study.name
        page.goto(f"{address}/dashboard")
        page.get_by_text(study.name).first.wait_for()
        page.goto(f"{address}/dashboard/studies/{listed['study_id']}")
        page.get_by_text("val_loss").first.wait_for()  # what the values are
        page.locator(".js-plotly-plot .point").first.wait_for(state="attached")
        shot(page, "optuna_history")
        page.goto(f"{address}/dashboard/studies/{listed['study_id']}/trials")
        for attribute in ("val_loss_sem", "gap", "seeds"):
            page.get_by_text(attribute).first.wait_for(state="attached")
        shot(page, "optuna_trials")
        page.goto(f"{address}/dashboard/studies/{listed['study_id']}/note")
        page.get_by_text("Use dropout: ").first.wait_for()
        shot(page, "optuna_note")
    finally:
        server.terminate()
        server.wait()


def test_points_are_on_the_page_while_it_trains(tmp_path, browser):
    """The first epoch can be seen before the last one is over."""
    command = [sys.executable, "-m", "sweep.run", *SMALL, "dropout=0.0,0.5", "train.epochs=50000"]
    env = {**os.environ, "PYTHONPATH": str(CONF.parent)}
    training = subprocess.Popen(
        command, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    logdir = str(tmp_path / "runs")
    try:
        server, address = serve(
            sys.executable, "-m", "tensorboard.main", "--logdir", logdir, "--reload_interval", "1"
        )
        try:
            for _ in range(300):
                if any(
                    "loss/val" in tags
                    for tags in get(f"{address}/data/plugin/scalars/tags").values()
                ):
                    break
                time.sleep(0.2)
            assert training.poll() is None  # still at it
            page = browser.new_page(viewport={"width": 1400, "height": 900})
            page.goto(f"{address}/#scalars")
            page.locator("tf-scalar-card").filter(has_text="error/val").first.wait_for(
                timeout=SECONDS
            )
            page.close()
        finally:
            server.terminate()
            server.wait()
    finally:
        training.terminate()
        assert training.wait() == 143
