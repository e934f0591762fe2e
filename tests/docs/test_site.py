"""The site builds without a warning: pages, links, navigation, and an API page for every package."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder with the site."""
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "-f",
        "docs/site/mkdocs.yml",
        "-d",
        folder,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.slow
def test_the_api_pages_show_docstrings(site):
    for package, name in (
        ("caffe_compat", "load_net"),
        ("caffe_compat.layers", "register"),
        ("matlab_ports", "imresize"),
        ("lq_emotion.metrics", "ccc"),
    ):
        assert f">{name}<" in (site / "api" / f"{package}.html").read_text(encoding="utf-8"), (package, name)


@pytest.mark.slow
def test_the_site_loads_nothing_from_elsewhere(site):
    for page in (site / "index.html", site / "api" / "caffe_compat.html"):
        assert re.findall(r"""src=["'](?:https?:)?//[^"']+""", page.read_text(encoding="utf-8")) == []
        assert re.findall(r"""<link[^>]+href=["'](?:https?:)?//[^"']+""", page.read_text(encoding="utf-8")) == []
    assert not any("//fonts." in css.read_text(encoding="utf-8") for css in site.rglob("*.css"))
    assert (site / "search" / "search_index.json").stat().st_size > 100_000
