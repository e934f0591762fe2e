"""No script writes over a file that it reads, by its name or by a link."""

from pathlib import Path

import numpy as np
import pytest

from matlab_ports import savemat
from matlab_ports.__main__ import main
from tests.kept_inputs import ALIASES, kept

SCRIPTS = {
    "writeh5file": ("a.mat", "writeh5file a.mat --savepath OUT --chunksz 1"),
    "generate_h5": ("a.h5", "generate_h5 a.h5 --savepath STEM --chunksz 1"),
    "eval_video": ("a.mat", "eval_video a.mat --savepath OUT --single_model n.prototxt --single_weights n.caffemodel"),
    "eval_video, weights": ("n.caffemodel", "eval_video a.mat --savepath OUT --single_weights n.caffemodel"),
    "run_eval": ("n.prototxt", "run_eval --data_path . --savepath OUT --single_model n.prototxt"),
}


@ALIASES
@pytest.mark.parametrize("name", SCRIPTS)
def test_an_input_is_not_replaced(name, alias, folder, capsys):
    savemat("a.mat", {"data": np.zeros((2, 2, 1, 3), np.float32), "label": np.zeros((1, 3), np.float32)})
    for other in ("a.h5", "n.prototxt", "n.caffemodel"):
        Path(other).write_text(other)
    source, words = SCRIPTS[name]
    with kept(source, alias) as out:
        assert main([{"OUT": out, "STEM": Path(out).stem}.get(word, word) for word in words.split()]) == 1
        assert "would replace a file that is read" in capsys.readouterr().err
