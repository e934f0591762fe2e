"""`table --sr-images`: the authors' folder `pretrain` is used as it is, and refused before any work if incomplete."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from PIL import Image

from lq_emotion.nets.names import Method
from lq_emotion.nets.switches import AS_CODE
from lq_emotion.studies.robust_lq.plan import StudyPlan
from lq_emotion.studies.robust_lq.stages import stages
from tests.lq_emotion.commands import TABLE, drawn_files, failed, run


@pytest.fixture
def pretrain(tmp_path):
    """The authors' checkout, with what Windows and macOS leave in folders of images."""
    rng = np.random.default_rng(0)
    names = {"Train": ("t1", "t10", "t2"), "Test/Set5": ("baby_GT", "bird_GT"), "Test/Set14": ("baboon",)}
    for folder, stems in names.items():
        (tmp_path / "pretrain" / folder).mkdir(parents=True)
        for stem in stems:
            pixels = rng.integers(0, 256, (160, 160, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pretrain" / folder / f"{stem}.bmp")
        (tmp_path / "pretrain" / folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0 no image")
    (tmp_path / "pretrain/Test/.DS_Store").write_bytes(b"\0\0\0\1Bud1")
    return tmp_path / "pretrain"


def table(recordings, pretrain, out):
    options = ["--sr-images", pretrain, "--rows", "Joint", "--scales", 3, "--preset", "small", "--iterations", 1]
    return [*TABLE, *drawn_files(recordings, out), *options]


def test_patches_are_cut_from_the_authors_own_folder_as_it_is(recordings, pretrain, tmp_path):
    plan = StudyPlan(recordings=recordings, out=tmp_path, rows=(Method.JOINT,), scales=(3,), preset="small", images=pretrain,
                      switches=replace(AS_CODE, sr_images="natural"))  # fmt: skip
    (patches,) = (stage for stage in stages(plan) if stage.name == "patches for super-resolution at 3")
    names = [path.relative_to(pretrain).as_posix() for path in patches.reads]
    assert names == [*(f"Train/{stem}.bmp" for stem in ("t1", "t10", "t2")),
                     *(f"Test/Set5/{stem}.bmp" for stem in ("baby_GT", "bird_GT"))]  # fmt: skip
    (tmp_path / "sr/3").mkdir(parents=True)
    patches.run(print)
    with h5py.File(tmp_path / "sr/3/train.h5") as train, h5py.File(tmp_path / "sr/3/test.h5") as test:
        assert train["data"].shape[0] >= 128
        assert test["data"].shape[0] == 2 * 7 * 7  # 159 x 159 pixels, patches of 32 every 20


@pytest.mark.slow
def test_the_authors_own_folder_is_taken_as_it_is(recordings, pretrain, tmp_path):
    assert run(*table(recordings, pretrain, tmp_path / "root")) == 0
    done = json.loads((tmp_path / "root/ledger.json").read_text())["done"]
    assert "train pretrain-3" in done
    assert json.loads((tmp_path / "root/table/table.json").read_text())["settings"]["images"] == str(pretrain)


@pytest.mark.parametrize("problem", ["Train", "Test/Set5", "t3.bmp"])
def test_missing_and_damaged_images_are_refused_before_anything_is_made(
    recordings, pretrain, tmp_path, capsys, problem
):
    if problem == "t3.bmp":
        (pretrain / "Train/t3.bmp").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    else:
        for path in [*(pretrain / problem).glob("*.bmp"), *(pretrain / "Test/Set14").glob("*.bmp")]:
            path.unlink()
    assert problem in failed(capsys, *table(recordings, pretrain, tmp_path / "root"))
    assert not (tmp_path / "root/data").exists()
