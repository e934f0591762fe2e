"""The README's program runs, and the page of layers agrees with the registry."""

from pathlib import Path

import pytest

from caffe_compat.layers import every_layer

ROOT = Path(__file__).resolve().parents[2]


def test_the_ten_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    code = (ROOT / "README.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    assert ', "HQ.caffemodel")' in code
    exec(code.replace(', "HQ.caffemodel")', ")"), {})
    assert "self.conv1(data)" in capsys.readouterr().out
    assert {p.name for p in tmp_path.iterdir()} == {"HQ.pt", "again.caffemodel"}


def test_the_page_of_layers_lists_the_registrys_types() -> None:
    page = (ROOT / "docs" / "layers.md").read_text(encoding="utf-8")
    listed = page.split("## Layer types of Caffe 1.0\n\n")[1].split("\n\n")[0]
    assert listed.replace("\n", " ").split(", ") == [layer.type for layer in every_layer() if not layer.forks]
