"""`lq-emotion data degrade` as a user calls it."""

import json

import pytest

from tests.lq_emotion.commands import run
from tests.lq_emotion.video.test_degrade import read_video, stripes, write_video

pytest.importorskip("av")


def test_the_command_writes_a_video_and_says_how_many_bits_it_takes(tmp_path, capsys):
    source = write_video(tmp_path / "source.mkv", stripes(10), range(0, 400, 40))
    out = tmp_path / "small.mp4"
    assert run("data", "degrade", source, "--out", out, "--scale", 2, "--qp", 36, "--fps", 12.5, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["frames"], result["width"], result["height"]) == (5, 36, 24)
    assert result["bpp"] == result["bits"] / (5 * 36 * 24)
    assert len(read_video(out)) == 5
