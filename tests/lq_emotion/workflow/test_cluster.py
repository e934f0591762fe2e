"""Stages on a Dask cluster: each once, on workers that see the same files; a worker that is lost costs its stage only."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from lq_emotion.workflow import cluster
from lq_emotion.workflow.stages import Ledger, Stage, perform
from tests.lq_emotion.processes import ENVIRONMENT, PATIENCE, eventually
from tests.lq_emotion.workflow.toys import fail, write
from tests.refusals import refused

distributed = pytest.importorskip("distributed")


def toys(folder, names, seconds=0.0, after=""):
    reads = (folder / after,) if after else ()
    return [Stage(n, partial(write, folder / n, seconds), {}, reads, (folder / n,)) for n in names]


def run(folder, stages, address, say=lambda _: None):
    return perform(stages, Ledger(folder / "ledger.json"), cluster=address, say=say)


def runs(folder):
    return {path.stem: path.read_text().splitlines() for path in folder.glob("*.runs")}


class Cluster:
    """A client of workers that see what this machine sees, but for what is said of them."""

    def __init__(self, seen):
        self.seen = seen

    def nthreads(self):
        return dict.fromkeys(self.seen, 1)

    def run(self, function, *args, workers):
        sight = dict(zip(("host", "versions", "probe", "unseen"), function(*args), strict=True))
        return {name: tuple((sight | {"host": "elsewhere"} | self.seen[name]).values()) for name in workers}


@pytest.fixture
def scheduler():
    """The address of a scheduler with two workers, in this process; stages have their own."""
    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "processes": False}
    with distributed.LocalCluster(protocol="tcp", host="127.0.0.1", **settings) as workers:
        yield workers.scheduler_address


def test_stages_run_once_each_and_their_workers_are_named(tmp_path, scheduler):
    lines = []
    stages = [*toys(tmp_path, "b", after="a"), *toys(tmp_path, "a")]
    assert run(tmp_path, stages, scheduler, lines.append) == ["a", "b"]
    assert {name: len(times) for name, times in runs(tmp_path).items()} == {"a": 1, "b": 1}
    assert lines[0].startswith("a: begins on 127.0.0.1:")
    assert run(tmp_path, stages, scheduler) == []
    assert not list(tmp_path.glob(".*"))


def test_a_failure_is_raised_and_independent_stages_finish(tmp_path, scheduler):
    broken = Stage("broken", partial(fail, tmp_path / "in"), {}, (), (tmp_path / "broken",))
    with refused("invalid", file=tmp_path / "in"):
        run(tmp_path, [broken, *toys(tmp_path, "b", after="broken"), *toys(tmp_path, "c")], scheduler)
    assert not (tmp_path / "b").exists()
    assert (tmp_path / "c").read_text() == "c"


@pytest.mark.parametrize(
    ("seen", "problem"),
    [
        ({"probe": None}, "does not see the folder"),
        ({"unseen": Path("recording.mp4")}, "does not see the file recording.mp4"),
        ({"versions": {**cluster.versions(), "torch": "2.5"}}, "has torch 2.5, here"),
    ],
)
def test_a_worker_that_differs_is_refused(tmp_path, seen, problem):
    client = Cluster({"tcp://10.0.0.7:40001": seen})
    with refused("mismatch", field="--cluster", value="10.0.0.7:40001") as error:
        cluster.ClusterWorkers(client, tmp_path, [], print)
    assert error.value.problem.startswith(f"elsewhere {problem}")
    assert not list(tmp_path.iterdir())


def test_a_worker_that_joins_and_differs_is_not_used(tmp_path):
    (tmp_path / "recording.mp4").write_text("frames")
    client, lines = Cluster({}), []
    workers = cluster.ClusterWorkers(client, tmp_path, [tmp_path / "recording.mp4"], lines.append)
    assert [workers.idle(), workers.idle()] == [[], []]
    client.seen = {"tcp://10.0.0.7:40001": {"probe": "another folder's"}, "tcp://10.0.0.8:40001": {}}
    assert [workers.idle(), workers.idle()] == [["10.0.0.8:40001"]] * 2
    del client.seen["tcp://10.0.0.8:40001"]
    assert workers.idle() == []
    assert [line.partition(":")[0] for line in lines] == ["waiting for a worker", "not used", "waiting for a worker"]


def test_an_address_without_a_scheduler_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "connect", partial(cluster.connect, timeout=0.2))
    with refused("worker-lost", field="--cluster", value="tcp://127.0.0.1:9"):
        run(tmp_path, toys(tmp_path, "a"), "tcp://127.0.0.1:9")


@contextmanager
def dask(*command):
    """Run a part of Dask as a user does, with leases that run out soon."""
    soon = {"LEASE_TIMEOUT": "1s", "LEASE_VALIDATION_INTERVAL": "200ms"}
    environment = {f"DASK_DISTRIBUTED__SCHEDULER__LOCKS__{name}": value for name, value in soon.items()}
    environment |= ENVIRONMENT
    words = [sys.executable, "-m", "dask", *map(str, command), "--no-dashboard", "--host", "127.0.0.1"]
    process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture
def machines(tmp_path):
    """The address of a scheduler, and the processes of two workers, as on two machines."""
    file = tmp_path / "scheduler.json"
    with ExitStack() as stack:
        stack.enter_context(dask("scheduler", "--port", 0, "--scheduler-file", file))
        workers = [
            stack.enter_context(dask("worker", "--scheduler-file", file, "--nthreads", 1, "--no-nanny"))
            for _ in range(2)
        ]
        with distributed.Client(scheduler_file=str(file), set_as_default=False, timeout=PATIENCE) as client:
            client.wait_for_workers(2, timeout=PATIENCE)
            address = client.scheduler.address
        yield address, workers


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_its_stage_only(tmp_path, machines):
    address, workers = machines
    folder, names = tmp_path / "study", "abcdef"
    folder.mkdir()

    def kill():
        [parent] = eventually(lambda: runs(folder).get("c"))
        next(worker for worker in workers if worker.pid == int(parent)).kill()

    with ThreadPoolExecutor(1) as threads:
        killing = threads.submit(kill)
        assert sorted(run(folder, toys(folder, names, 1.0), address)) == list(names)
        killing.result()
    assert {path.name: path.read_text() for path in folder.glob("?")} == {name: name for name in names}
    assert {name: len(times) for name, times in runs(folder).items()} == {name: 1 + (name == "c") for name in names}
    assert run(folder, toys(folder, names, 1.0), address) == []


MAIN = """
import sys
from pathlib import Path
from tests.lq_emotion.workflow.test_cluster import run, toys
if __name__ == "__main__":
    run(Path(sys.argv[1]), toys(Path(sys.argv[1]), "ab", 60.0), sys.argv[2])
"""


@pytest.mark.slow
def test_stages_end_with_the_main_process_that_is_killed(tmp_path, machines):
    address, _ = machines
    folder = tmp_path / "study"
    folder.mkdir()
    (tmp_path / "main.py").write_text(MAIN)
    main = subprocess.Popen([sys.executable, str(tmp_path / "main.py"), str(folder), address], env=ENVIRONMENT)
    assert eventually(lambda: len(runs(folder)) == 2)
    main.kill()
    main.wait(PATIENCE)
    start = time.monotonic()
    assert run(folder, toys(folder, "ab"), address) == ["a", "b"]
    assert time.monotonic() - start < 60, "the stages of the killed one were waited for"
    assert {name: len(times) for name, times in runs(folder).items()} == {"a": 2, "b": 2}
