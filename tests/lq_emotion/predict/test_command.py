"""`lq-emotion predict` as a user calls it: resumed after a kill, in constant memory, in several processes."""

import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lq_emotion.nets.known import installation
from tests.lq_emotion.commands import failed, run
from tests.lq_emotion.predict.instruments import DIMENSIONS, described, frames_with_squares, made_model
from tests.lq_emotion.processes import ENVIRONMENT, eventually, program
from tests.lq_emotion.video.clips import write_clip


@pytest.fixture
def net(tmp_path):
    """Options for a net of the user's own, and for boxes in place of a detector."""
    folder = tmp_path / "net"
    folder.mkdir()
    weights = described(made_model(folder, DIMENSIONS, weight=1.0))
    times = np.arange(3000) / 25
    lines = [f"{time:.3f},{3 + number % 8},9,16,16\n" for number, time in enumerate(times)]
    (folder / "boxes.csv").write_text("time,left,top,width,height\n" + "".join(lines))
    return "--model", weights, "--detector", folder / "boxes.csv", "--device", "cpu"


def clip(folder, count, name="clip.mp4", height=48, width=96):
    return write_clip(folder / name, frames_with_squares(count, height=height, width=width))


def test_the_summary_is_json_and_progress_goes_to_stderr(tmp_path, net, capsys):
    assert run("predict", clip(tmp_path, 5), *net, "--json", "--no-page", "--out", tmp_path / "out") == 0
    captured = capsys.readouterr()
    (source,) = json.loads(captured.out)["sources"]
    assert (source["status"], source["frames"], source["faces"], source["clock"]) == ("done", 5, 5, "container")
    assert "clip.mp4: 5 faces in 5 frames" in captured.err


def test_json_lines_go_to_stdout(tmp_path, net, capsys):
    assert run("predict", clip(tmp_path, 4), *net, "--jsonl", "--every", "2") == 0
    assert [json.loads(line)["frame"] for line in capsys.readouterr().out.splitlines()] == [0, 2]


def test_a_reader_of_json_lines_may_go(tmp_path, net):
    command = [sys.executable, "-c", "import sys; from lq_emotion.entry import main; sys.exit(main())", "predict"]
    words = [*command, clip(tmp_path, 400), *net, "--jsonl"]
    pipe = subprocess.PIPE
    with subprocess.Popen([*map(str, words)], stdout=pipe, stderr=pipe, env=ENVIRONMENT) as process:
        assert json.loads(process.stdout.readline())["frame"] == 0
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_an_interrupt_is_one_line_and_leaves_no_finished_rows(tmp_path, net, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("lq_emotion.predict.rows.Rows.of", interrupted)
    assert run("predict", clip(tmp_path, 4), *net) == 130
    assert capsys.readouterr().err == "lq-emotion: error: interrupted; run the command again to finish\n"
    assert not (tmp_path / "clip.estimates.csv").exists()


def test_a_missing_model_names_the_command_that_fetches_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("LQ_EMOTION_HOME", str(tmp_path / "home"))
    stderr = failed(capsys, "predict", clip(tmp_path, 1))
    assert "lq-emotion models get mini-xception mtcnn" in stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4"]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        pytest.param(("good.mp4", "--jsonl", "--overlay"), "--jsonl", id="options that exclude each other"),
        pytest.param(("good.mp4", "--abstain"), "lq-emotion calibrate", id="abstaining without a calibration"),
        pytest.param(("bad.mp4", "--json"), "bad.mp4", id="a source that cannot be read"),
    ],
)
def test_what_cannot_be_done_is_an_error_of_one_line(words, problem, tmp_path, net, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    clip(tmp_path, 1, "good.mp4")
    (tmp_path / "bad.mp4").write_text("no video")
    assert problem in failed(capsys, "predict", *words, *net).splitlines()[-1]


@pytest.mark.slow
def test_after_a_kill_the_same_command_ends_with_the_same_files(tmp_path, net):
    path = clip(tmp_path, 1500)
    out, other = tmp_path / "out", tmp_path / "other"
    words = ("predict", path, *net, "--overlay")
    with subprocess.Popen(program(*words, "--out", out), env=ENVIRONMENT, stdout=subprocess.DEVNULL) as process:
        unfinished = out / "clip.estimates.csv.unfinished"
        assert eventually(lambda: unfinished.is_file() and unfinished.stat().st_size > 5000)
        process.send_signal(signal.SIGKILL)
    assert unfinished.read_text().count("\n") > 20
    assert not (out / "clip.estimates.csv").exists()
    for folder in (out, other):
        subprocess.run(program(*words, "--out", folder), env=ENVIRONMENT, check=True)
    for name in ("clip.estimates.csv", "clip.estimates.html", "clip.overlay.mp4"):
        assert (out / name).read_bytes() == (other / name).read_bytes()
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in other.iterdir())


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's account of memory")
def test_memory_does_not_grow_with_the_video(tmp_path, net):
    code = (
        "from lq_emotion.cli import main; main();"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    peaks = []
    for count in (100, 2000):
        path = clip(tmp_path, count, f"{count}.mp4", height=360, width=640)
        words = [sys.executable, "-c", code, "predict", path, *net, "--overlay"]
        done = subprocess.run([*map(str, words)], env=ENVIRONMENT, check=True, capture_output=True, text=True)
        peaks.append(int(done.stdout.splitlines()[-1]) / 1024)
    assert peaks[1] < peaks[0] + 40  # MiB; 2,000 frames are 1,318 MiB


@pytest.mark.slow
def test_several_processes_write_the_same_rows(tmp_path, net, capsys):
    paths = [clip(tmp_path, count, f"c{count}.mp4") for count in (3, 4, 5)]
    assert run("predict", *paths, *net, "--no-page", "--out", tmp_path / "one") == 0
    assert run("predict", *paths, *net, "--no-page", "--out", tmp_path / "two", "--jobs", "2") == 0
    for path in paths:
        name = f"{path.stem}.estimates.csv"
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.slow
def test_a_cluster_writes_the_rows(tmp_path, net):
    distributed = pytest.importorskip("distributed")
    paths = [clip(tmp_path, count, f"c{count}.mp4") for count in (3, 4)]
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        words = [*paths, *net, "--no-page", "--out", tmp_path / "out", "--cluster", cluster.scheduler_address]
        assert run("predict", *words) == 0
    assert {path.name for path in (tmp_path / "out").glob("*.csv")} == {"c3.estimates.csv", "c4.estimates.csv"}


@pytest.mark.parametrize(("answer", "fetched"), [("y\n", ["mini-xception", "mtcnn"]), ("\n", [])])
def test_on_a_terminal_missing_models_are_offered(tmp_path, capsys, monkeypatch, answer, fetched):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    names = []
    monkeypatch.setenv("LQ_EMOTION_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(installation, "fetch", lambda model, store, **_: names.append(model.name))
    assert run("predict", clip(tmp_path, 1)) == 1  # what "fetches" here brings nothing
    assert names == fetched
    assert "MIT" in capsys.readouterr().err
