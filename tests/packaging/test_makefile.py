"""The Makefile passes folders with blanks on as one word."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    ("words", "ending"),
    [
        (["demo", "OUT=a b"], ["demo", "--out", "a b"]),
        (["sr-demo", "SR_OUT=a b", "IMAGES=my pictures"], ["study", "sr", "--out", "a b", "--images", "my pictures"]),
        (["sr-demo"], ["study", "sr", "--out", "sr_demo_out"]),
    ],
)
def test_folders_may_hold_blanks(words, ending):
    command = ["make", "--dry-run", "--no-print-directory", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert shlex.split(done.stdout.splitlines()[-1])[1:] == ending
