import json
import os
import shutil
import subprocess

import numpy as np
import pytest

from caffe_compat_base.partial_file import remove_abandoned
from lq_emotion.common.plain_text import table_lines
from lq_emotion.crops import recording
from lq_emotion.crops.prepare import prepare, table
from lq_emotion.crops.recording import PreparationSettings
from lq_emotion.datasets.avec.gold import combine_ratings
from matlab_ports.matfile import loadmat, savemat
from tests.lq_emotion.commands import failed, quiet, run
from tests.lq_emotion.datasets.avec import trees
from tests.lq_emotion.processes import ENVIRONMENT, program
from tests.refusals import refused
from tests.videos import write_video

FRAMES = 12
QUICK = PreparationSettings(figures=False)


def video(path, frames=FRAMES, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.RandomState(seed)
    shown = []
    for number in range(frames):
        shown.append(np.kron(random.randint(0, 256, (10, 12, 3)), np.ones((16, 16, 1))).astype(np.uint8))
        shown[-1][:4, : 8 * (number + 1)] = 255
    write_video(path, shown, codec="libx264", pix_fmt="yuv420p")


@pytest.fixture(scope="session")
def avec_tree(tmp_path_factory):
    """Three recordings with boxes: frame 3 without a face, frame 5 with a box of 100 pixels, frame 7 dropped."""
    root = tmp_path_factory.mktemp("avec") / "AVEC_2016"
    trees.avec(root, ["train_1", "train_2", "dev_1", "test_1"], frames=FRAMES + 1)
    for seed, name in enumerate(["train_1", "train_2", "dev_1", "test_1"]):
        video(root / "recordings_video" / f"{name}.mp4", seed=seed)
        times = [t for k, t in enumerate(trees.grid(FRAMES + 1)) if k != 7]
        trees.put(root / "recordings_video_frame_time" / f"{name}.csv", trees.frame_time(times))
        boxes = np.tile([20.5, 10.0, 120.0, 110.25], (FRAMES, 1))
        boxes[3] = 0
        boxes[5, 2] = 100
        (root / "bbox").mkdir(exist_ok=True)
        savemat(root / "bbox" / f"{name}.mat", {"bbox": boxes, "time": np.array(times, float).reshape(-1, 1)})
    return root


@pytest.fixture
def tree(avec_tree, tmp_path):
    shutil.copytree(avec_tree, tmp_path / "AVEC_2016")
    return tmp_path / "AVEC_2016"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def stamps(out):
    return {path: path.stat().st_mtime_ns for path in sorted(out.rglob("*.mat"))}


def test_every_labelled_recording_becomes_crops_in_the_authors_folders(tree, out):
    lines = []
    outcomes = prepare(tree, out, PreparationSettings(scales=(3, 4), figures=False), jobs=1, say=lines.append)
    assert [(o.name, o.status, o.rows, o.kept, o.no_face, o.small, o.boxes) for o in outcomes] == [
        (name, "done", 12, 10, 1, 1, f"{name}.mat") for name in ("train_1", "train_2", "dev_1")
    ]
    assert lines[0] == "skipped, without labels: test_1"
    for folder in ("raw_data/HQ", "raw_data/LR3", "raw_data/LR4", "bbox", "gsd"):
        assert {path.name for path in (out / "data" / folder).iterdir()} == {"dev_1.mat", "train_1.mat", "train_2.mat"}
    crops = loadmat(out / "data" / "raw_data" / "HQ" / "train_1.mat")
    assert {name: values.shape for name, values in crops.items()} == {
        "video": (96, 96, 10), "valence": (1, 10), "video_time": (1, 10),
    }  # fmt: skip
    assert crops["video_time"].ravel().tolist() == [0.0, 0.04, 0.08, 0.16, 0.24, 0.32, 0.36, 0.4, 0.44, 0.48]
    assert crops["valence"].ravel().tolist() == [0, 0.125, 0.25, 0.5, 0.75, 1, 1.125, 1.25, 1.375, 1.5]


def test_recordings_without_labels_are_prepared_when_asked_for(tree, out):
    settings = PreparationSettings(scales=(3,))
    (outcome,) = prepare(tree, out, settings, names=["test_1"], jobs=1, say=quiet)
    assert "test_1 has no gold standard nor raters' traces" in outcome.error
    (outcome,) = prepare(tree, out, settings, names=["test_1"], unlabelled=True, jobs=1, say=quiet)
    assert (outcome.status, outcome.rows, outcome.kept) == ("done", 12, 10)
    for kind in ("HQ", "LR3"):
        assert list(loadmat(out / "data" / "raw_data" / kind / "test_1.mat")) == ["video", "video_time"]
    assert not (out / "data" / "gsd").exists()
    assert [path.name for path in (out / "data" / "figures").iterdir()] == ["test_1_crops.png"]
    everything = prepare(tree, out, settings, unlabelled=True, jobs=1, say=quiet)
    assert [outcome.name for outcome in everything] == ["train_1", "train_2", "dev_1", "test_1"]


def test_the_authors_script_finds_equal_times_in_bbox_and_gsd(tree, out):
    prepare(tree, out, QUICK, names=["dev_1"], jobs=1, say=quiet)
    boxes, gold = (loadmat(out / "data" / kind / "dev_1.mat") for kind in ("bbox", "gsd"))
    times = [float(t) for k, t in enumerate(trees.grid(FRAMES + 1)) if k != 7]
    assert boxes["time"].ravel().tolist() == times
    assert set(times) <= set(gold["time"].ravel().tolist())
    assert (boxes["bbox"].shape, gold["gsd"].shape) == ((12, 4), (13, 1))


def test_finished_recordings_are_not_prepared_again(tree, out):
    prepare(tree, out, QUICK, jobs=1, say=quiet)
    before = stamps(out)
    again = prepare(tree, out, QUICK, jobs=1, say=quiet)
    assert [outcome.before for outcome in again] == [True] * 3
    assert stamps(out) == before
    prepare(tree, out, QUICK, names=["dev_1"], jobs=1, fresh=True, say=quiet)
    assert {path.name for path, stamp in stamps(out).items() if stamp != before[path]} == {"dev_1.mat"}


def fail_for(monkeypatch, name, error):
    """Make the preparation of a recording raise `error`."""
    prepare_recording = recording.prepare_recording

    def failing(video, *args, **settings):
        if video.stem == name:
            raise error
        return prepare_recording(video, *args, **settings)

    monkeypatch.setattr(recording, "prepare_recording", failing)


def test_an_interrupted_run_resumes_with_the_unfinished_recordings(tree, out, monkeypatch):
    fail_for(monkeypatch, "train_2", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        prepare(tree, out, QUICK, jobs=1, say=quiet)
    before = stamps(out)
    monkeypatch.undo()
    partial = out / "data" / "raw_data" / "HQ" / ".train_2.mat.123-abc.partial"
    partial.write_text("by a killed run")
    remove_abandoned.cache_clear()  # as in a new process
    outcomes = prepare(tree, out, QUICK, jobs=1, say=quiet)
    assert {outcome.name: outcome.before for outcome in outcomes} == {"train_1": True, "train_2": False, "dev_1": False}
    assert not partial.exists()
    boxes = out / "data" / "bbox" / "train_2.mat"
    assert stamps(out)[boxes] == before[boxes]


def test_changed_inputs_settings_or_results_are_prepared_again(tree, out):
    def made(settings=QUICK):
        return [not o.before for o in prepare(tree, out, settings, names=["train_1", "dev_1"], jobs=1, say=quiet)]

    assert made() == [True, True]
    assert made(PreparationSettings(figures=False, smallest=115)) == [True, True]
    assert made() == [True, True]
    gold = tree / "ratings_gold_standard" / "valence" / "dev_1.arff"
    gold.write_text(gold.read_text().replace("0.125", "0.625"))
    assert made() == [False, True]
    assert loadmat(out / "data" / "raw_data" / "HQ" / "dev_1.mat")["valence"][0, 1] == 0.625
    (out / "data" / "raw_data" / "HQ" / "train_1.mat").unlink()
    assert made() == [True, False]


def test_recola_is_prepared_with_labels_from_its_raters_under_either_name(out, tmp_path):
    tree = trees.recola(tmp_path / "RECOLA")
    traces = np.cumsum(np.random.RandomState(2).randn(FRAMES, 6), axis=0) / 10
    (tree / "boxes").mkdir()
    for seed, name in enumerate(["P16", "P38"]):
        video(tree / "RECOLA-Video-recordings" / f"{name}.mp4", seed=seed)
        rows = "".join(f"{k};{t};\n" for k, t in enumerate(trees.grid(FRAMES)))
        trees.put(tree / "RECOLA-Video-timings" / f"{name}.csv", f"frame;time in seconds\n{rows}")
        ratings = tree / "RECOLA-Annotation" / "emotional_behaviour" / "valence" / f"{name}.csv"
        trees.put(ratings, trees.ratings(trees.grid(FRAMES), traces))
        boxes = "".join(f"{t},20,10,120,110\n" for t in trees.grid(FRAMES))
        trees.put(tree / "boxes" / f"{name}.csv", f"time,left,top,width,height\n{boxes}")
    outcomes = prepare(tree, out, QUICK, names=["P38", "P16"], boxes=tree / "boxes", jobs=1, say=quiet)
    assert [(o.name, o.status, o.kept, o.boxes) for o in outcomes] == [
        ("test_1", "done", 12, "P38.csv"), ("P16", "done", 12, "P16.csv"),
    ]  # fmt: skip
    stored = loadmat(out / "data" / "raw_data" / "HQ" / "P16.mat")["valence"].ravel()
    np.testing.assert_allclose(stored, combine_ratings(np.round(traces, 3)), rtol=0, atol=1e-15)


def test_moved_folders_are_recognized(tree, out):
    prepare(tree, out, QUICK, names=["dev_1"], jobs=1, say=quiet)
    moved = out.rename(out.with_name("elsewhere"))
    (outcome,) = prepare(tree.rename(tree.with_name("tree")), moved, QUICK, names=["dev_1"], jobs=1, say=quiet)
    assert outcome.before


def test_the_users_own_boxes_and_labels_are_used_and_not_overwritten(tree, out):
    shutil.rmtree(tree / "bbox")
    times = np.array([0.04 * k for k in range(FRAMES + 1)])
    (out / "data" / "bbox").mkdir(parents=True)
    (out / "data" / "gsd").mkdir()
    boxes = {"bbox": np.tile([1, 1, 150, 150], (13, 1)), "time": times}
    savemat(out / "data" / "bbox" / "dev_1.mat", boxes, version="-v6")
    savemat(out / "data" / "gsd" / "dev_1.mat", {"gsd": np.full(13, 0.5), "time": times}, version="-v7.3")
    before = stamps(out)
    (outcome,) = prepare(tree, out, QUICK, names=["dev_1"], jobs=1, say=quiet)
    assert outcome.kept == 12
    assert set(loadmat(out / "data" / "raw_data" / "HQ" / "dev_1.mat")["valence"].ravel()) == {0.5}
    assert {path: stamp for path, stamp in stamps(out).items() if path in before} == before
    savemat(out / "data" / "gsd" / "dev_1.mat", {"gsd": np.full(13, 0.25), "time": times})
    (outcome,) = prepare(tree, out, QUICK, names=["dev_1"], jobs=1, say=quiet)
    assert set(loadmat(out / "data" / "raw_data" / "HQ" / "dev_1.mat")["valence"].ravel()) == {0.25}


def test_labels_can_come_from_the_raters_and_be_shifted_by_a_delay(tree, out):
    prepare(tree, out, QUICK, names=["dev_1"], jobs=1, say=quiet)
    plain = loadmat(out / "data" / "gsd" / "dev_1.mat")["gsd"].ravel()
    prepare(tree, out, PreparationSettings(delay=0.08, figures=False), names=["dev_1"], jobs=1, say=quiet)
    assert loadmat(out / "data" / "gsd" / "dev_1.mat")["gsd"].ravel().tolist() == plain.tolist()
    assert loadmat(out / "data" / "raw_data" / "HQ" / "dev_1.mat")["valence"].ravel()[0] == plain[2]
    prepare(tree, out, PreparationSettings(labels="raters", figures=False), names=["dev_1"], jobs=1, say=quiet)
    assert not np.isin(loadmat(out / "data" / "gsd" / "dev_1.mat")["gsd"], plain).any()


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BROKEN = {
    "no video": ("recordings_video/dev_1.mp4", None, "dev_1 has no video"),
    "empty video": ("recordings_video/dev_1.mp4", b"", "dev_1.mp4"),
    "truncated video": ("recordings_video/dev_1.mp4", cut, "dev_1.mp4: "),
    "fewer frames": ("recordings_video/dev_1.mp4", lambda path: video(path, 9), "dev_1.mp4: has 9 frames"),
    "no times": ("recordings_video_frame_time/dev_1.csv", None, "dev_1 has no table of frame times"),
    "other columns": ("recordings_video_frame_time/dev_1.csv", b"frame\n1\n", "dev_1.csv:1: "),
    "off the grid": ("recordings_video_frame_time/dev_1.csv", b"f;t\n1;0\n2;0.033\n", "dev_1.csv: time of row 2 = 0.033: "),
    "NaN labels": ("ratings_gold_standard/valence/dev_1.arff", trees.arff("dev_1", trees.grid(13), ["0", "?", *"01234567890"]).encode(), "dev_1.arff: "),
    "times without label": ("ratings_gold_standard/valence/dev_1.arff", trees.arff("dev_1", trees.grid(5), "01234").encode(), "dev_1.arff: time: the gold standard lacks 7 of 12 times: 0.20"),
    "empty .mat": ("bbox/dev_1.mat", b"", "dev_1.mat"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_recording_is_one_error_and_does_not_stop_the_rest(tree, out, case, capsys):
    file, content, message = BROKEN[case]
    if content is None:
        (tree / file).unlink()
    elif callable(content):
        content(tree / file)
    else:
        (tree / file).write_bytes(content)
    files = ("--recordings", tree, "--out", out)
    assert run("data", "prepare", *files, "--names", "dev_1", "train_1", "--no-figures") == 1
    output = capsys.readouterr()
    assert output.err.splitlines()[-1] == "lq-emotion: error: 1 of 2 failed: dev_1"
    (line,) = [line for line in output.out.splitlines() if line.startswith("dev_1: ")]
    assert message in line
    assert sorted(path.name for path in (out / "data" / "raw_data").rglob("*")) == ["HQ", "train_1.mat"]
    assert not list(out.rglob("*.partial"))
    entries = json.loads((out / "data" / "prepare.json").read_text())["recordings"]
    assert [(entry["name"], entry["status"]) for entry in entries] == [("train_1", "done"), ("dev_1", "failed")]


def test_an_unexpected_error_in_a_recording_does_not_stop_the_rest(tree, out, monkeypatch, caplog):
    fail_for(monkeypatch, "train_1", RuntimeError("bug"))
    outcomes = prepare(tree, out, QUICK, names=["train_1", "dev_1"], jobs=1, say=quiet)
    assert [(outcome.status, outcome.error) for outcome in outcomes] == [("failed", "RuntimeError: bug"), ("done", "")]
    assert "Traceback" in caplog.text


class Deadly:
    """Ends the process that unpickles it."""

    def __reduce__(self):
        return os._exit, (1,)


def test_a_killed_worker_is_an_error_of_its_recordings(tree, out):
    settings = PreparationSettings()
    object.__setattr__(settings, "luma", Deadly())
    outcomes = prepare(tree, out, settings, jobs=2, say=quiet)
    assert [(outcome.name, outcome.status) for outcome in outcomes] == [
        ("train_1", "failed"), ("train_2", "failed"), ("dev_1", "failed"),
    ]  # fmt: skip
    assert "worker died (" in outcomes[0].error


def test_processes_write_the_same_files(tree, out):
    prepare(tree, out, QUICK, jobs=1, say=quiet)
    other = out.with_name("processes")
    (tree / "recordings_video" / "train_2.mp4").write_bytes(b"")
    outcomes = prepare(tree, other, QUICK, jobs=2, say=quiet)
    assert [outcome.status for outcome in outcomes] == ["done", "failed", "done"]
    for path in (path for path in stamps(out) if path.stem != "train_2"):
        assert path.read_bytes() == (other / path.relative_to(out)).read_bytes()


@pytest.mark.filterwarnings("ignore")  # Dask's own, about its event loop
def test_a_dask_cluster_prepares_recordings(tree, out):
    distributed = pytest.importorskip("distributed")
    (tree / "recordings_video" / "train_2.mp4").write_bytes(b"")
    with distributed.Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None) as client:
        outcomes = prepare(tree, out, QUICK, cluster=client.scheduler.address, say=quiet)
        # the tasks ran on the cluster
        assert sum(worker.state.executed_count for worker in client.cluster.workers.values()) >= 3
    assert [(outcome.name, outcome.status) for outcome in outcomes] == [
        ("train_1", "done"), ("train_2", "failed"), ("dev_1", "done"),
    ]  # fmt: skip


def test_previews_of_crops_and_labels_are_drawn(tree, out):
    prepare(tree, out, names=["dev_1"], jobs=1, say=quiet)
    assert sorted(path.name for path in (out / "data" / "figures").iterdir()) == ["dev_1_crops.png", "dev_1_labels.png"]


def test_results_of_earlier_runs_stay_in_the_report(tree, out):
    prepare(tree, out, QUICK, names=["train_1"], jobs=1, say=quiet)
    prepare(tree, out, QUICK, names=["dev_1"], jobs=1, say=quiet)
    entries = json.loads((out / "data" / "prepare.json").read_text())["recordings"]
    assert [entry["name"] for entry in entries] == ["train_1", "dev_1"]


def test_the_table_lists_the_outcome_of_each_recording(tree, out):
    (tree / "recordings_video" / "train_2.mp4").write_bytes(b"")
    assert [*table_lines(table(prepare(tree, out, QUICK, jobs=1, say=quiet)))] == [
        "recording  frames  kept  no face  too small  box held  boxes",
        "train_1        12    10        1          1         0  train_1.mat",
        "train_2    failed",
        "dev_1          12    10        1          1         0  dev_1.mat",
    ]


def test_invalid_arguments_are_refused_before_anything_is_written(tree, out, tmp_path):
    with refused("invalid", field="--scales"):
        prepare(tree, out, PreparationSettings(scales=(3, 3)), say=quiet)
    with refused("name-unknown", field="names", value="dev_9"):
        prepare(tree, out, names=["dev_9"], say=quiet)
    with refused("file-missing", file="nowhere", field="boxes"):
        prepare(tree, out, boxes=tmp_path / "nowhere", say=quiet)
    assert not out.exists()


def test_the_command_reports_json(tree, out, capsys):
    base = ["data", "prepare", "--recordings", tree, "--out", out, "--names", "dev_1", "--no-figures"]
    assert run(*base, "--json", "--boxes", tree / "bbox", "--version", "v7") == 0
    (outcome,) = json.loads(capsys.readouterr().out)["recordings"]
    assert (outcome["name"], outcome["kept"]) == ("dev_1", 10)


@pytest.mark.slow
def test_a_full_disk_is_one_error_and_leaves_no_partial_file(tree, out):
    """A limit on file sizes simulates a full disk: only the crops of a recording exceed it."""
    resource = pytest.importorskip("resource")

    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))  # noqa: E731
    words = program("data", "prepare", "--recordings", tree, "--out", out, "--names", "dev_1", "--no-figures")
    done = subprocess.run(words, preexec_fn=limit, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "dev_1" in done.stdout
    assert sorted(path.name for path in (out / "data" / "raw_data").rglob("*")) == ["HQ"]


def test_an_unwritable_output_folder_is_refused(tree, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert "lq-emotion: error: " in failed(capsys, "data", "prepare", "--recordings", tree, "--out", tmp_path / "file")
