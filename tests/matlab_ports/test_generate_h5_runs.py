"""``generate_h5`` as a long job: interrupted, killed, on a full disk, in little memory; and ``prepare_h5_files``."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from matlab_ports import RandStream, generate_h5, prepare_h5_files, writeh5file
from matlab_ports.__main__ import main
from matlab_ports._recordings import chunk_file
from matlab_ports._recordings.sources import Sources
from matlab_ports.generate_h5 import Options
from matlab_ports.matfile import savemat
from tests.matlab_ports.h5_recordings import SIZE, assert_same, contents, names, recordings, save
from tests.reference import matlab_generate_h5 as reference
from tests.refusals import refused

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = Options(mix=True, mix_lr=(2, 3), mean_sub=True)
TWO_FILES = {"file_name": ["0", "1"], "inputsz": SIZE, "chunksz": 5, "options": OPTIONS}


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    return save(folder, recordings((40, 60)))


@pytest.fixture
def gathered(monkeypatch):
    """Numbers of samples gathered from the recordings, per call."""
    counts = []
    original = Sources._gather

    def counting(self, plan, *arguments):
        counts.append(len(plan))
        return original(self, plan, *arguments)

    monkeypatch.setattr(Sources, "_gather", counting)
    return counts


def interrupt(monkeypatch, after, *arguments, error=KeyboardInterrupt):
    """Call generate_h5, whose write after `after` chunks fails with `error`."""
    store, results = chunk_file.store2hdf5, iter([True] * after)

    def failing(*batch):
        if not next(results, False):
            raise error
        return store(*batch)

    with monkeypatch.context() as patch:
        patch.setattr(chunk_file, "store2hdf5", failing)
        with pytest.raises(KeyboardInterrupt):
            generate_h5(*arguments)


def test_an_interrupted_run_is_resumed(data, tmp_path, monkeypatch, gathered):
    uninterrupted = generate_h5(data, SIZE, tmp_path / "whole", 5, OPTIONS)
    assert sum(gathered) == 200  # for the mean and for the file
    for stop in (7, 3, 12):  # the second run stops before it gets as far as the first
        interrupt(monkeypatch, stop, data, SIZE, tmp_path / "a", 5, OPTIONS)
        assert not (tmp_path / "a.h5").exists()
    gathered.clear()
    done = generate_h5(data, SIZE, tmp_path / "a", 5, OPTIONS)
    assert (done.resumed, done.written, done.mean) == (60, 100, uninterrupted.mean)
    assert sum(gathered) == 40  # the mean was not computed again
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert names(tmp_path) == ["a.h5", "data", "whole.h5"]


def test_a_finished_file_is_not_written_again(data, tmp_path, gathered):
    stream = RandStream()
    first = generate_h5(data, SIZE, tmp_path / "a", 5, OPTIONS, stream=stream)
    content, position = (tmp_path / "a.h5").read_bytes(), stream.position
    gathered.clear()
    again = generate_h5(data, SIZE, tmp_path / "a", 5, OPTIONS)
    assert gathered == []
    assert again == first._replace(resumed=100)
    assert again.position == position
    assert (tmp_path / "a.h5").read_bytes() == content
    for change in (
        lambda: generate_h5(data, SIZE, tmp_path / "a", 5, OPTIONS, stream=stream),
        lambda: generate_h5(data[::-1], SIZE, tmp_path / "a", 5, OPTIONS),
        lambda: generate_h5(data[::-1], SIZE, tmp_path / "a", 5, OPTIONS, resume=False),
        lambda: generate_h5(data[::-1], SIZE, tmp_path / "a", 4, OPTIONS),
        lambda: generate_h5(data[::-1], SIZE, tmp_path / "a", 4, Options()),
        lambda: (os.utime(data[0], ns=(1, 1)), generate_h5(data[::-1], SIZE, tmp_path / "a", 4, Options())),
        lambda: ((tmp_path / "a.h5").write_bytes(b""), generate_h5(data[::-1], SIZE, tmp_path / "a", 4, Options())),
    ):
        gathered.clear()
        change()
        assert sum(gathered) >= 100


def test_a_run_with_other_random_numbers_starts_over(data, tmp_path, monkeypatch, gathered):
    interrupt(monkeypatch, 7, data, SIZE, tmp_path / "a", 5)
    assert len(names(tmp_path)) == 3  # the data, a journal and its partial file
    done = generate_h5(data, SIZE, tmp_path / "a", 5, stream=RandStream(1))
    assert done.resumed == 0
    assert names(tmp_path) == ["a.h5", "data"]
    assert_same(contents(tmp_path / "a.h5"), reference.generate_h5(recordings((40, 60)), SIZE, 5, reference.stream(1)))


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("Can't write data")])
def test_a_failed_write_leaves_nothing(error, data, tmp_path, monkeypatch):
    (tmp_path / "a.h5").write_bytes(b"before")
    with refused("file-unwritable", file="a.h5") as caught:
        interrupt(monkeypatch, 7, data, SIZE, tmp_path / "a", 5, error=error)
    assert error.args[-1] in caught.value.problem
    assert names(tmp_path) == ["a.h5", "data"]
    assert (tmp_path / "a.h5").read_bytes() == b"before"


def test_a_recording_truncated_during_the_run_leaves_nothing(data, tmp_path, monkeypatch):
    original = Sources.samples

    def truncating(self, *arguments):
        os.truncate(data[1], 1000)
        return original(self, *arguments)

    monkeypatch.setattr(Sources, "samples", truncating)
    with refused("damaged-file", file="1.mat", field="video"):
        generate_h5(data, SIZE, tmp_path / "a", 5)
    assert names(tmp_path) == ["data"]


def run(program, *words, **settings):
    command = [sys.executable, "-c", program, *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, **settings)


KILLED = """
import os, signal, sys
from matlab_ports import generate_h5
from matlab_ports.generate_h5 import Options
module = sys.modules["matlab_ports._recordings.chunk_file"]
module.CHECKPOINT = 1
store, calls = module.store2hdf5, []
def killed(*arguments):
    calls.append(1)
    if len(calls) > 12:
        os.kill(os.getpid(), signal.SIGKILL)
    import time; time.sleep(0.02)  # for the journal's thread
    return store(*arguments)
module.store2hdf5 = killed
generate_h5(sys.argv[2:], 12, sys.argv[1], 5, Options(mix=True, mix_lr=(2, 3), mean_sub=True))
"""


def test_a_killed_run_is_resumed(data, tmp_path, gathered):
    generate_h5(data, SIZE, tmp_path / "whole", 5, OPTIONS)
    assert run(KILLED, tmp_path / "a", *data).returncode == -signal.SIGKILL
    assert not (tmp_path / "a.h5").exists()
    gathered.clear()
    done = generate_h5(data, SIZE, tmp_path / "a", 5, OPTIONS)
    assert 5 <= done.resumed <= 60
    assert sum(gathered) == 100 - done.resumed
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert names(tmp_path) == ["a.h5", "data", "whole.h5"]


def test_a_second_run_for_the_same_file_is_refused(data, tmp_path, monkeypatch):
    store = chunk_file.store2hdf5

    def second_run(*arguments):
        monkeypatch.setattr(chunk_file, "store2hdf5", store)
        with refused("in-use", file="a.h5"):
            generate_h5(data, SIZE, tmp_path / "a", 5)
        return store(*arguments)

    monkeypatch.setattr(chunk_file, "store2hdf5", second_run)
    generate_h5(data, SIZE, tmp_path / "a", 5)
    assert chunk_file.store2hdf5 is store
    assert names(tmp_path) == ["a.h5", "data"]


FULL = """
import resource, sys
from matlab_ports.__main__ import main
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
raise SystemExit(main(["generate_h5", *sys.argv[2:], "--savepath", sys.argv[1], "--inputsz", "12", "--chunksz", "5"]))
"""
FILLED = (
    """
import sys
from matlab_ports._recordings import chunk_file
chunk_file.reserve_space = lambda path, size: path.write_bytes(b"")  # the disk fills up later
chunk_file.CHECKPOINT = 1
"""
    + FULL
)


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs a limit on file sizes")
@pytest.mark.parametrize("version", ["-v6", "-v7"])
def test_a_full_disk_is_one_line_and_leaves_nothing(version, tmp_path):
    (tmp_path / "data").mkdir()
    files = save(tmp_path / "data", recordings((40, 60)), version)
    done = run(FULL, tmp_path / "a", *files)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert re.search("no room for 0 MB|cannot be inflated in .*free disk space", done.stderr)
    assert names(tmp_path) == ["data"]


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs a limit on file sizes")
def test_a_disk_that_fills_up_during_the_run_is_one_line_and_leaves_nothing(data, tmp_path):
    done = run(FILLED, tmp_path / "a", *data)
    assert done.returncode == 1
    assert done.stderr == f"matlab_ports: error: {tmp_path / 'a.h5'}: cannot be written: File too large\n"
    assert names(tmp_path) == ["data"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc/self/status")
@pytest.mark.slow
@pytest.mark.parametrize("version", ["-v6", "-v7"])
def test_memory_does_not_grow_with_the_recordings(version, tmp_path):
    """Two and six recordings of 500 frames of 96 x 96, 37 MB each, mixed and normalised."""
    files = save(tmp_path, recordings((500,) * 6, 96), version)
    program = (
        "import re, sys; from matlab_ports import generate_h5; from matlab_ports.generate_h5 import Options;"
        "generate_h5(sys.argv[2:], 96, sys.argv[1], 128, Options(mix=True, mean_sub=True, norm=True));"
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    )
    peaks = []
    for count in (2, 6):
        done = run(program, tmp_path / "a", *files[:count])
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout))
    assert peaks[1] < 400_000  # kB; about 260,000
    assert peaks[1] - peaks[0] < 50_000


def test_prepare_h5_files_continues_the_stream_for_the_test_set(data, tmp_path):
    paths = tmp_path / "data", tmp_path / "train", tmp_path / "test"
    train, test = prepare_h5_files(*paths, **TWO_FILES)
    assert (train.position, test.position) == (80, 200)
    settings = {"mix": True, "mix_lr": (2, 3), "mean_sub": True}
    first, second = recordings((40, 60))
    assert_same(
        contents(tmp_path / "train.h5"), reference.generate_h5([first], SIZE, 5, reference.stream(), **settings)
    )
    assert_same(
        contents(tmp_path / "test.h5"), reference.generate_h5([second], SIZE, 5, reference.stream(0, 80), **settings)
    )
    _, test = prepare_h5_files(*paths, **TWO_FILES, train_statistics=True)
    assert test.mean == train.mean


@pytest.mark.parametrize(
    ("changed", "code", "fields"),
    [
        ({"file_name": ["0", "2", "3"]}, "file-missing", {"file": "data", "field": "file_name"}),
        ({"file_name": ["0"]}, "wrong-count", {"field": "train", "value": 0}),
        ({"file_name": ["0", "1"], "train": 2}, "wrong-count", {"field": "train", "value": 2}),
        ({"file_name": ["0", "1"], "save_path_test": "train"}, "conflict", {"field": "save_path_test"}),
    ],
)
def test_prepare_h5_files_checks_its_arguments_first(changed, code, fields, data, tmp_path):
    test = tmp_path / changed.pop("save_path_test", "test")
    with refused(code, **fields):
        prepare_h5_files(tmp_path / "data", tmp_path / "train", test, **changed)
    assert names(tmp_path) == ["data"]


def test_options_of_the_commands_are_the_scripts_variables(data, tmp_path, capsys):
    common = ["--inputsz", "12", "--chunksz", "5", "--mix", "--mix_lr", "2", "3", "--mean_sub"]
    assert main(["generate_h5", *map(str, data), "--savepath", str(tmp_path / "a"), *common, "--seed", "3"]) == 0
    out = capsys.readouterr()
    assert "a.h5: 100 of 100 samples from 2 recordings, mean 0.5" in out.out
    assert "stream position 200" in out.out
    assert out.err == ""
    generate_h5(data, SIZE, tmp_path / "b", 5, OPTIONS, stream=RandStream(3))
    assert_same(contents(tmp_path / "a.h5"), contents(tmp_path / "b.h5"))
    words = ["--data_path", tmp_path / "data", "--save_path_train", tmp_path / "c", "--save_path_test", tmp_path / "d"]
    assert main(["prepare_h5_files", *map(str, words), "--file_name", "0", "1", *common]) == 0
    prepare_h5_files(tmp_path / "data", tmp_path / "e", tmp_path / "f", **TWO_FILES)
    assert_same(contents(tmp_path / "d.h5"), contents(tmp_path / "f.h5"))
    assert main(["generate_h5", str(tmp_path / "no.mat"), "--savepath", str(tmp_path / "g")]) == 1
    assert capsys.readouterr().err == f"matlab_ports: error: {tmp_path / 'no.mat'}: no such file\n"


def test_writeh5file_drops_samples_that_do_not_fill_a_chunk(tmp_path):
    data, label = np.random.default_rng(0).random((4, 5, 3, 11)), np.arange(11.0)[None]
    assert writeh5file(10, 4, data, label, tmp_path / "a.h5") == (4, 5, 3, 8)
    assert_same(contents(tmp_path / "a.h5"), (data[..., :8].T.astype(np.float32), label[:, :8].T.astype(np.float32)))
    for count, field in ((3, "chunksz"), (12, "data")):
        with refused("wrong-count", field=field):
            writeh5file(count, 4, data, label, tmp_path / "b.h5")
    assert names(tmp_path) == ["a.h5"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("version", ["-v6", "-v7"])
def test_a_read_only_folder_is_refused(version, tmp_path):
    (tmp_path / "data").mkdir()
    files = save(tmp_path / "data", recordings((40, 60)), version)
    (tmp_path / "out").mkdir(mode=0o500)
    with refused("file-unwritable"):
        generate_h5(files, SIZE, tmp_path / "out" / "a", 5)


def test_a_journal_that_cannot_be_created_is_refused(data, tmp_path, monkeypatch):
    monkeypatch.setattr(chunk_file.Journal, "create", Mock(side_effect=PermissionError(13, "Permission denied")))
    with refused("file-unwritable", file="a.h5"):
        generate_h5(data, SIZE, tmp_path / "a", 5)
    assert names(tmp_path) == ["data"]


def test_an_interrupted_runs_file_is_removed_as_soon_as_its_chunks_are_copied(data, tmp_path, monkeypatch):
    interrupt(monkeypatch, 7, data, SIZE, tmp_path / "a", 5)
    monkeypatch.setattr(chunk_file, "CHECKPOINT", 1)
    store, partial = chunk_file.store2hdf5, []

    def counting(*arguments):
        partial.append(len(list(tmp_path.glob(".*.partial"))))
        time.sleep(0.02)  # for the journal's thread
        return store(*arguments)

    monkeypatch.setattr(chunk_file, "store2hdf5", counting)
    assert generate_h5(data, SIZE, tmp_path / "a", 5).resumed == 35
    assert partial[0] == 2
    assert partial[-1] == 1
    assert_same(contents(tmp_path / "a.h5"), reference.generate_h5(recordings((40, 60)), SIZE, 5, reference.stream()))


def test_nothing_is_written_without_a_folder_or_labels(data, tmp_path):
    with refused("file-missing", file="a.h5", hint="mkdir -p"):
        generate_h5(data, SIZE, tmp_path / "b" / "a", 5)
    savemat(tmp_path / "c.mat", {"x": 1})
    with refused("field-missing", file="c.mat"):
        generate_h5([tmp_path / "c.mat"], SIZE, tmp_path / "a", 5)


@pytest.mark.parametrize("line", ["[]", "3", '{"chunk": 5}', '{"chunk": [1]}', '{"chunk": [null, {}]}', "[" * 100_000])
def test_malformed_notes_and_journals_are_ignored(line, data, tmp_path):
    (tmp_path / ".a.h5.made").write_text(line)
    (tmp_path / ".a.h5.0badcafe.journal").write_text(f'{{"fingerprint": 1}}\n{line}\n')
    assert generate_h5(data, SIZE, tmp_path / "a", 5).resumed == 0
    assert names(tmp_path) == ["a.h5", "data"]


@pytest.mark.parametrize("scaling", [5, [1], ["a", "b"], {"mean": 1}])
def test_a_malformed_scaling_in_a_note_is_ignored(scaling, data, tmp_path):
    first = generate_h5(data, SIZE, tmp_path / "a", 5, OPTIONS)
    note = tmp_path / ".a.h5.made"
    note.write_text(json.dumps({**json.loads(note.read_text()), "facts": {"scaling": scaling}}))
    assert generate_h5(data, SIZE, tmp_path / "a", 5, OPTIONS) == first._replace(resumed=100)


@pytest.mark.parametrize("chunk", [[-4, 8], [0, 8], [2**70, 2880], [0, 2**50]])
def test_a_journal_of_missing_data_is_refused_once_and_the_next_run_starts_over(chunk, data, tmp_path, monkeypatch):
    interrupt(monkeypatch, 3, data, SIZE, tmp_path / "a", 5, OPTIONS)
    (journal,) = tmp_path.glob(".a.h5.*.journal")
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join([*lines[:-1], json.dumps({"chunk": chunk}), ""]))
    with refused("damaged-file", file=journal):
        generate_h5(data, SIZE, tmp_path / "a", 5, OPTIONS)
    assert generate_h5(data, SIZE, tmp_path / "a", 5, OPTIONS).resumed == 0
