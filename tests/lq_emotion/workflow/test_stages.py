"""Stages: skipped where nothing changed, run again where something did, and what depends on them with them."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from functools import partial

import pytest

from caffe_compat.errors import DataError
from lq_emotion.workflow.stages import Ledger, Stage, perform
from tests.lq_emotion.processes import ENVIRONMENT
from tests.refusals import refused


def copy(source, target, suffix=""):
    target.write_text(source.read_text() + suffix)


def fail(path):
    raise DataError("cannot be used", code="invalid", file=path, value=3, hint="another one")


@pytest.fixture
def chain(tmp_path):
    """a -> b -> c, and d apart from them."""
    (tmp_path / "a").write_text("start ")
    a, b, c, d = (tmp_path / name for name in "abcd")

    def stages(suffix="x", tail="y"):
        return [
            Stage("c", partial(copy, b, c, tail), {"tail": tail}, (b,), (c,)),  # order does not matter
            Stage("b", partial(copy, a, b, suffix), {"suffix": suffix}, (a,), (b,)),
            Stage("d", partial(d.write_text, "d"), {}, (), (d,)),
        ]

    return tmp_path, stages


def done(folder, stages, **options):
    return perform(stages, Ledger(folder / "ledger.json"), say=lambda _: None, **options)


@pytest.mark.parametrize("jobs", [1, 2])
def test_finished_stages_are_not_repeated(chain, jobs):
    folder, stages = chain
    assert sorted(done(folder, stages(), jobs=jobs)) == ["b", "c", "d"]
    assert (folder / "c").read_text() == "start xy"
    assert done(folder, stages(), jobs=jobs) == []


def test_a_change_repeats_only_the_stages_that_depend_on_it(chain):
    folder, stages = chain
    done(folder, stages())
    (folder / "a").write_text("other ")
    assert done(folder, stages()) == ["b", "c"]
    assert done(folder, stages(tail="z")) == ["c"]
    (folder / "d").unlink()
    assert done(folder, stages(tail="z")) == ["d"]
    (folder / "b").write_text("meddled with")
    assert done(folder, stages(tail="z")) == ["b"]  # written again with the bytes c was made from


def test_a_file_with_a_new_time_and_the_same_bytes_repeats_nothing(chain):
    folder, stages = chain
    done(folder, stages())
    os.utime(folder / "a", (1, 1))
    assert done(folder, stages()) == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_failure_is_raised_and_independent_stages_finish(chain, jobs):
    folder, stages = chain
    broken = [Stage("b", partial(fail, folder / "a"), {}, (folder / "a",), (folder / "b",)), stages()[0], stages()[2]]
    with refused("invalid", file=folder / "a", value=3, hint="another one"):
        done(folder, broken, jobs=jobs)
    assert not (folder / "c").exists()
    if jobs > 1:
        assert (folder / "d").exists()
    assert "b" in done(folder, stages())


def killed(path, times):
    """Be killed this many times, then write."""
    with path.with_suffix(".runs").open("a") as file:
        file.write("x")
    if len(path.with_suffix(".runs").read_text()) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    path.write_text(path.name)


def toys(folder, times, *others):
    names = ("fragile", *others)
    return [
        Stage(name, partial(killed, folder / name, times if name == "fragile" else 0), {}, (), (folder / name,))
        for name in names
    ]


def test_a_process_that_is_lost_costs_its_stage_only(tmp_path):
    assert sorted(done(tmp_path, toys(tmp_path, 1, "other"), jobs=2)) == ["fragile", "other"]
    assert {path.name: path.read_text() for path in tmp_path.glob("*.runs")} == {
        "fragile.runs": "xx",
        "other.runs": "x",
    }
    assert done(tmp_path, toys(tmp_path, 1, "other"), jobs=2) == []


@pytest.mark.slow
def test_a_stage_that_loses_every_process_is_given_up(tmp_path):
    with refused("worker-lost", value="fragile", hint="goes on from here"):
        done(tmp_path, toys(tmp_path, 9, "other"), jobs=2)
    assert (tmp_path / "fragile.runs").read_text() == "x" * 4
    assert (tmp_path / "other").exists()


def test_a_stage_that_writes_nothing_is_an_error(tmp_path):
    with refused("file-missing", file="never"):
        done(tmp_path, [Stage("idle", lambda: None, {}, (), (tmp_path / "never",))])


def test_a_ledger_that_lists_a_file_outside_of_its_folder_is_refused(tmp_path):
    (tmp_path / "ledger.json").write_text('{"done": {"one": {"fingerprint": "a", "files": {"../b": "c"}}}}')
    with refused("unsafe", file="ledger.json", hint="remove it"):
        Ledger(tmp_path / "ledger.json")


def test_after_a_kill_only_unfinished_stages_run(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent("""
        import os, signal, sys
        from functools import partial
        from pathlib import Path
        from lq_emotion.workflow.stages import Ledger, Stage, perform
        def write(path, kill):
            if kill and not Path("killed").exists():
                Path("killed").write_text("")
                os.kill(os.getpid(), signal.SIGKILL)
            path.write_text(path.name)
        stages = [Stage(n, partial(write, Path(n), n == "two"), {}, (Path(before),) if before else (), (Path(n),))
                  for n, before in (("one", ""), ("two", "one"), ("three", "two"))]
        print(perform(stages, Ledger(Path("ledger.json")), say=lambda _: None))
        """)
    )

    def run():
        settings = {"cwd": tmp_path, "env": ENVIRONMENT, "capture_output": True}
        return subprocess.run([sys.executable, str(script)], check=False, text=True, **settings)

    assert run().returncode == -signal.SIGKILL
    assert list(json.loads((tmp_path / "ledger.json").read_text())["done"]) == ["one"]
    assert run().stdout.strip() == "['two', 'three']"
