"""Members side by side in processes: the same numbers as in one, and what a process's end costs."""

import itertools
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from sweep.command.config import TrainConfig
from sweep.engine import forked
from sweep.engine.population import Population
from sweep.engine.workers import equal_shares, most_workers, population_of
from sweep.errors import Differs, WorkerFailed
from sweep.work import Way
from tests.conftest import DEVICE
from tests.engine import hazards as h
from tests.engine.members import PLAIN, settings, split_in_two

pytestmark = pytest.mark.skipif(DEVICE.type != "cpu", reason="several processes are for a CPU")
CONFIG = TrainConfig(epochs=2, batch_size=8, lr=0.01, optimizer="sgd", momentum=0.9)
RATES, SEEDS = (0.0, 0.2, 0.4, 0.6, 0.8), (3, 4, 5)
TESTS, STARTED = os.getpid(), []


class Net(h.Net):
    """One whose state between steps is in buffers, in attributes and in the optimiser."""

    def make(self, config):
        super().make(config)
        self.norm, self.steps = nn.BatchNorm1d(h.WIDTH), 0

    def hidden(self, x):
        self.steps += self.training
        return self.norm(super().hidden(x)) + 0.01 * self.steps


class Fails(h.Net):
    def hidden(self, x):
        if self.p > 0.7 and self.training:
            self.fail()
        return super().hidden(x)

    def fail(self):
        raise RuntimeError("no such thing")


class Dies(Fails):
    def fail(self):
        if os.getpid() != TESTS:
            os.kill(os.getpid(), signal.SIGKILL)


class Hangs(Fails):
    def fail(self):
        time.sleep(3600)


class HangsInEvaluation(h.Net):
    def hidden(self, x):
        if not self.training:
            time.sleep(3600)
        return super().hidden(x)


class StartsChild(h.Net):
    def hidden(self, x):
        if os.getpid() != TESTS and not STARTED:
            STARTED.append(
                multiprocessing.get_context("fork").Process(target=time.sleep, args=(20,))
            )
            STARTED[0].start()
        return super().hidden(x)


class DiesWithChild(StartsChild):
    """Its child holds the pipe open."""

    def hidden(self, x):
        h = super().hidden(x)
        if STARTED:
            os.kill(os.getpid(), signal.SIGKILL)
        return h


class Unlike(Fails):
    def fail(self):
        raise Differs("it is another", ("numpy",))


@pytest.fixture(scope="module")
def data():
    (x, y), (x_val, y_val) = (h.samples(None, split) for split in ("train", "val"))
    return split_in_two(torch.cat([x, x_val]), torch.cat([y, y_val]), len(x))


@pytest.fixture(autouse=True)
def one_thread(set_threads, no_fork_is_left):
    """Let this process round as those of one thread do."""
    set_threads(1)


def several(model, data, n_workers, way=PLAIN, rates=RATES, seeds=SEEDS):
    each = settings(model, CONFIG, data, rates)
    splits = data.train, data.train_part
    return population_of(each, seeds, CONFIG, DEVICE, way, n_workers, splits)


@pytest.mark.parametrize("n_workers", [2, 3, 4, 7, 16])
def test_numbers_are_those_of_one_process(n_workers, data):
    alone = Population(settings(Net, CONFIG, data, RATES), SEEDS, CONFIG, DEVICE, way=PLAIN)
    steps = []
    with several(Net, data, n_workers) as together:
        made = together.execution().pop("processes", 1)
        assert together.n_members == alone.n_members == 15
        assert made == len(equal_shares(5, 3, n_workers))
        for epoch, kept in enumerate(([0, 2, 3], [1, 2], None)):
            losses = together.train_epoch(data.train, epoch, steps.append)
            assert torch.equal(losses, alone.train_epoch(data.train, epoch))
            assert len(set(losses.tolist())) == len(losses)
            mine, theirs = (one.evaluate(data.val, epoch) for one in (together, alone))
            assert mine.keys() == theirs.keys()
            assert all(torch.equal(mine[name], theirs[name]) for name in mine)
            sums = (one.evaluate_groups(data.train_part, epoch, 7) for one in (together, alone))
            assert torch.equal(*sums)
            if kept is not None:
                for one in (together, alone):
                    one.select(kept)
                assert together.n_members == alone.n_members == 3 * len(kept)
    assert sum(steps) == pytest.approx(3 * math.ceil(len(data.train) / CONFIG.batch_size))


@pytest.mark.parametrize("model", [h.LayerDropByPython, h.LayerDropByNumpy, h.DrawsWhole])
def test_what_a_model_draws_is_the_same(model, data):
    alone = Population(settings(model, CONFIG, data, RATES), SEEDS, CONFIG, DEVICE, way=PLAIN)
    with several(model, data, 4) as together:
        for epoch in range(2):
            mine, theirs = (one.train_epoch(data.train, epoch) for one in (together, alone))
            assert torch.equal(mine, theirs)


def test_shares_are_as_equal_as_can_be():
    for n_trials, n_seeds, n in itertools.product(range(1, 8), range(1, 6), range(1, 12)):
        shares = equal_shares(n_trials, n_seeds, n)
        members = [(trial, seed) for trials, seeds in shares for trial in trials for seed in seeds]
        assert sorted(members) == list(itertools.product(range(n_trials), range(n_seeds)))
        assert len(shares) <= n
        cuts = [
            math.ceil(n_trials / a) * math.ceil(n_seeds / b)
            for a, b in itertools.product(range(1, n_trials + 1), range(1, n_seeds + 1))
            if a * b <= n
        ]
        assert max(len(trials) * len(seeds) for trials, seeds in shares) == min(cuts)
    assert [list(seeds) for _, seeds in equal_shares(9, 2, 2)] == [[0], [1]]


def test_few_members_leave_no_cores_idle(data):
    with several(Net, data, 13, rates=RATES[:1]) as one:  # 3 of 13 cores would be busy
        assert isinstance(one, Population)
    with several(Net, data, 12, rates=RATES[:1]) as one:
        assert one.execution() == {"members_per_pass": 1, "threads": 1, "processes": 3}


def test_members_are_side_by_side_where_threads_survive_a_fork(monkeypatch):
    torch.set_num_threads(2)
    cpu = torch.device("cpu")
    assert most_workers(PLAIN, CONFIG, cpu) == most_workers(Way("fused"), CONFIG, cpu) == 2
    assert most_workers(Way("plain", in_one_process=True), CONFIG, cpu) == 1
    assert most_workers(Way("fused"), replace(CONFIG, compile=True), cpu) == 1
    assert most_workers(PLAIN, CONFIG, torch.device("cuda")) == 1
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    assert most_workers(PLAIN, CONFIG, cpu) == 1


@pytest.mark.parametrize("n_workers", [2, 4])
def test_fused_members_are_so_in_each_process(n_workers, data):
    each = settings(h.Net, CONFIG, data, RATES)
    alone = Population(each, SEEDS, CONFIG, DEVICE, way=Way("fused"))
    with several(h.Net, data, n_workers, Way("fused")) as together:
        for epoch in range(2):  # of 18 whole steps: traced after 16
            mine, theirs = (one.train_epoch(data.train, epoch) for one in (together, alone))
            torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)
            if not epoch:
                together.select([1, 4]), alone.select([1, 4])
        together.check(data.val)
        assert together.execution()["processes"] <= n_workers
        assert together.execution()["members_per_pass"] < alone.engine.members_per_pass


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (Fails, "RuntimeError: no such thing"),
        (Dies, "a process died"),
        (DiesWithChild, "a process died"),
        (Hangs, "a process waits for what is not there"),
        (HangsInEvaluation, "a process waits for what is not there"),
    ],
)
def test_failure_of_a_process_is_told_and_leaves_none(model, why, data, monkeypatch):
    monkeypatch.setattr(forked, "CHECKED", 1.0)
    with pytest.raises(WorkerFailed, match=why), several(model, data, 2) as members:
        members.train_epoch(data.train, 0)
        members.evaluate(data.val)


def test_a_system_without_more_processes_is_told(data, monkeypatch):
    def fork():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fork)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with pytest.raises(WorkerFailed, match="temporarily unavailable"), several(Net, data, 2):
        pass
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_what_differs_in_a_process_differs(data):
    with pytest.raises(Differs, match="it is another") as found, several(Unlike, data, 2) as some:
        some.train_epoch(data.train, 0)
    assert found.value.draws == ("numpy",)


def test_interrupt_leaves_no_process(data):
    with pytest.raises(KeyboardInterrupt), several(Net, data, 2) as members:
        members.train_epoch(data.train, 0)
        os.kill(members.workers[0].process.pid, signal.SIGINT)  # as a terminal does
        members.train_epoch(data.train, 1)
        raise KeyboardInterrupt


def test_what_a_process_has_started_ends_with_it(data):
    with several(StartsChild, data, 2) as members:
        members.train_epoch(data.train, 0)
        pids = [pid for w in members.workers for pid in forked._descendants(w.process.pid)]
        assert len(pids) == 2 and all(map(is_alive, pids))
    deadline = time.monotonic() + 10  # half of their own time
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_alive, pids))


ENDLESS = """
import os, sys, torch
from tests.engine import test_workers as t
from tests.engine.members import split_in_two
(x, y), (x_val, y_val) = (t.h.samples(None, split) for split in ("train", "val"))
data = split_in_two(torch.cat([x, x_val]), torch.cat([y, y_val]), len(x))
with t.several(t.Hangs, data, 2) as members:
    print(*(worker.process.pid for worker in members.workers), flush=True)
    members.train_epoch(data.train, 0)
"""


def test_processes_end_with_the_one_that_forked_them():
    root = Path(__file__).parents[2]
    parent = subprocess.Popen(
        [sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE, text=True, cwd=root
    )
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    time.sleep(0.5)
    assert len(pids) == 2 and all(map(is_alive, pids))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_alive, pids))


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
