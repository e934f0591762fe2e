"""Trees as their owners hold them go through the study untouched: AVEC 2016's with its unlabelled test partition, RECOLA's."""

import json
import shutil

import pytest

from lq_emotion.datasets.avec.gold import read_gold
from tests.lq_emotion.commands import STUDY, assert_nothing_is_left_to_do, draw_recordings, run
from tests.lq_emotion.datasets.avec import trees

pytest.importorskip("av", reason="needs PyAV (the extra `video`)")
pytestmark = pytest.mark.slow
FRAMES = 150
TINY = (
    *("--preset", "demo", "--iterations", 1, "--scales", 3, "--mixture", 3, "--max-factor", 3, "--device=cpu"),
    *("--codecs", "x264", "--qps", 24, "--coded-frames", 20),
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return draw_recordings(tmp_path_factory.mktemp("drawn") / "recordings", train=1, dev=2, frames=FRAMES, seed=2)


@pytest.fixture
def avec(drawn, tmp_path):
    """AVEC's package: the third recording is test_1, whose labels were withheld."""
    tree = tmp_path / "AVEC_2016"
    for folder in ("recordings_video", "recordings_video_frame_time", "ratings_individual", "ratings_gold_standard"):
        shutil.copytree(drawn / folder, tree / folder)
    shutil.copytree(drawn / "synthetic_face_boxes", tree / "bbox")
    for path in sorted(tree.rglob("dev_2.*")):
        if path.parent.name in ("valence", "arousal"):
            path.unlink()
        else:
            path.rename(path.with_stem("test_1"))
    return tree


@pytest.fixture
def recola(drawn, tmp_path):
    return trees.as_recola(drawn, tmp_path / "RECOLA", {"train_1": "P16", "dev_1": "P17", "dev_2": "P38"})


def files(tree):
    return {path: path.stat().st_mtime_ns for path in tree.rglob("*") if path.is_file()}


def study(tree, root, *more):
    """Run a tiny study of a tree, which must stay as it is; return table.json."""
    before = files(tree)
    assert run(*STUDY, "--recordings", tree, "--out", root, *TINY, *more) == 0
    assert files(tree) == before
    return json.loads((root / "table/table.json").read_text())


def test_avecs_package_with_an_unlabelled_test_partition(avec, tmp_path, capsys):
    root = tmp_path / "root"
    table = study(avec, root)
    assert [cell["method"] for cell in table["cells"]] == ["HR", "LR", "Non-Joint", "Joint", "Joint-OA"]
    assert all(50 < cell["measured"]["frames"] <= FRAMES for cell in table["cells"])
    assert (root / "report/report.html").is_file()
    assert (root / "rd/rd.json").is_file()
    assert [path.name for path in (root / "submission/valence").glob("*.arff")] == ["test_1.arff"]
    assert read_gold(root / "submission/valence/test_1.arff").time.size == FRAMES
    assert sorted(path.stem for path in (root / "data/raw_data/LR3").iterdir()) == ["dev_1", "train_1"]
    assert_nothing_is_left_to_do(capsys, *STUDY, "--recordings", avec, "--out", root, *TINY)


def test_recola(recola, tmp_path):
    table = study(recola, tmp_path / "root", "--train", "P16", "--dev", "P17", "P38", "--rows", "HR", "LR")
    assert [cell["method"] for cell in table["cells"]] == ["HR", "LR"]
    assert all(100 < cell["measured"]["frames"] <= 2 * FRAMES for cell in table["cells"])
    scores = json.loads((tmp_path / "root/scores/HR_on_HQ/scores.json").read_text())["scores"]
    assert set(scores) == {"P17", "test_1", "concatenated", "mean"}
