"""Contact sheet, valence trace and boxes: figures that show what is in the files."""

import numpy as np
import pytest
from PIL import Image

from lq_emotion.crops.previews import box_overlay, contact_sheet, label_trace
from lq_emotion.datasets.avec.gold import GoldStandard
from tests.lq_emotion.commands import save_crops
from tests.videos import write_video


def crops(path, count):
    """Faces whose upper half is bright."""
    video = np.full((96, 96, count), 0.2)
    video[:48] = 0.8
    return save_crops(path, video, valence=np.sin(np.arange(count) * 0.04))


def gray(path):
    return np.asarray(Image.open(path).convert("L"), float)


@pytest.mark.parametrize("count", [1, 5, 200])
def test_the_sheet_shows_faces_upright_and_below_as_files_hold_them(tmp_path, count):
    contact_sheet(crops(tmp_path / "dev_1.mat", count), tmp_path / "sheet.png")
    sheet = gray(tmp_path / "sheet.png")
    height, width = sheet.shape
    first = sheet[height // 12 : height // 5, : width // 10]
    rows = first.mean(axis=1)
    assert rows[: len(rows) // 4].mean() > rows[-len(rows) // 4 :].mean() + 80  # upright: bright above
    last = sheet[-height // 8 : -height // 30, width // 100 : width // 11]
    columns = last.mean(axis=0)
    # transposed: bright at the left
    assert columns[: len(columns) // 4].mean() > columns[-len(columns) // 4 :].mean() + 80


def test_the_trace_shows_gold_and_the_frames_kept(tmp_path):
    time = np.arange(400) * 0.04
    gold = GoldStandard(np.sin(time), time, tmp_path / "gold.arff")
    label_trace(crops(tmp_path / "dev_1.mat", 100), tmp_path / "trace.png", gold={"valence": gold})
    colours = np.asarray(Image.open(tmp_path / "trace.png").convert("RGB")).reshape(-1, 3)
    assert (np.abs(colours.astype(int) - [0x1F, 0x5F, 0xA8]).sum(axis=1) < 20).sum() > 200
    assert (np.abs(colours.astype(int) - 191).sum(axis=1) < 20).sum() > 200


def test_the_overlay_draws_a_box_where_there_is_a_face(tmp_path):
    video = write_video(tmp_path / "v.mkv", [np.zeros((60, 80, 3), np.uint8)] * 12)
    orange = []
    for box in ((20, 10, 30, 30), (0, 0, 0, 0)):
        box_overlay(video, np.tile(box, (12, 1)), tmp_path / "o.png", count=3)
        colours = np.asarray(Image.open(tmp_path / "o.png").convert("RGB")).reshape(-1, 3).astype(int)
        orange.append((np.abs(colours - [0xFF, 0xB0, 0]).sum(axis=1) < 30).sum())
    assert orange[0] > 300
    assert orange[1] == 0
