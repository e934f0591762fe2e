"""The report in a real browser: its figures are shown, and no page, wide or narrow, is wider than its window."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from lq_emotion.report.build import make_report, write_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here: apt-get install chromium")

_LOOK = """<!DOCTYPE html><body><iframe srcdoc="{page}" style="width:{width}px;height:900px;border:0"></iframe><script>
addEventListener("load", () => {{
  const of = document.querySelector("iframe").contentDocument, all = (what) => [...of.querySelectorAll(what)];
  document.body.textContent = JSON.stringify({{
    page: [of.documentElement.scrollWidth, of.documentElement.clientWidth],
    images: all("img").map(one => [one.complete, one.naturalWidth, one.getBoundingClientRect().width]),
    tables: all("table").map(one => [one.rows.length, one.getBoundingClientRect().height, one.caption.textContent]),
    frames: all(".table").map(one => one.getBoundingClientRect().right),
    strong: all("td strong").map(one => getComputedStyle(one).fontWeight),
    right: all("td.number").map(one => getComputedStyle(one).textAlign),
  }});
}});
</script></body>"""


def chromium(folder, *arguments):
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *map(str, arguments)]
    profile = f"--user-data-dir={folder / 'profile'}"
    return subprocess.run([*command, profile], capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.fixture
def page(root):
    write_report(make_report(root), root)
    return root / "report.html"


def look(page, width, folder):
    looked = folder / f"look_{width}.html"
    text = page.read_text(encoding="utf-8")
    looked.write_text(_LOOK.format(page=html.escape(text), width=width), encoding="utf-8")
    dom = chromium(folder, "--window-size=1400,1000", "--dump-dom", looked.as_uri())
    return json.loads(html.unescape(re.search(r"<body>(.*)</body>", dom, re.DOTALL)[1]))


@pytest.mark.parametrize("width", [1200, 360])
def test_tables_and_figures_are_shown_within_the_window(page, tmp_path, width):
    layout = look(page, width, tmp_path)
    assert layout["page"][0] == layout["page"][1] == width
    assert len(layout["images"]) == 6
    assert all(done and natural > 0 and 0 < shown <= width for done, natural, shown in layout["images"])
    assert len(layout["tables"]) == 1 + 2 + 1 + 6 + 1
    assert all(height > 15 * rows for rows, height, _ in layout["tables"])
    caption = "Table 1. Valence, here and in the paper. Best of each factor in bold, for each of the two."
    assert layout["tables"][0][2] == caption
    assert all(right <= width for right in layout["frames"])
    assert layout["strong"]
    assert all(int(weight) >= 600 for weight in layout["strong"])
    assert set(layout["right"]) == {"right"}


@pytest.mark.slow
def test_the_page_is_drawn_and_printed(page, tmp_path):
    screenshot, pdf = tmp_path / "page.png", tmp_path / "page.pdf"
    chromium(tmp_path, "--window-size=1200,3000", f"--screenshot={screenshot}", page.as_uri())
    drawn = np.asarray(Image.open(screenshot).convert("L"))
    assert drawn.shape == (3000, 1200)
    assert np.mean(drawn < 128) > 0.01  # ink
    chromium(tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={pdf}", page.as_uri())
    assert pdf.read_bytes().startswith(b"%PDF-")
