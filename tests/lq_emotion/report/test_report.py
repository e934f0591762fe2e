"""The report, read back with the standard library's HTML parser, and as Markdown."""

import base64
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

from caffe_compat import load_net
from lq_emotion import prototxt
from lq_emotion.report.build import PARTS, make_report, write_report
from lq_emotion.report.example_frames import _show
from lq_emotion.studies.robust_lq.paper_vs_code import DISAGREEMENTS
from lq_emotion.studies.robust_lq.store import Store
from lq_emotion.studies.robust_lq.upscaling import DEPLOY
from tests.lq_emotion.commands import draw_weights, failed, run
from tests.refusals import refused

VOID = {"meta", "img", "br"}

NOT_ASKED = ("Intervals and tests", "Nets outside Table 1", "Figures 1 to 3")
SHOWN = [title for title in PARTS if title not in NOT_ASKED]


class Page(HTMLParser):
    """Sections by title: tables as rows of text (strong ones between asterisks), figures, paragraphs by class."""

    def __init__(self, text):
        super().__init__()
        self.open, self.sections, self.ids, self.links, self.sources = [], {}, [], [], []
        self._section, self._cell = None, None
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag not in VOID:
            self.open.append(tag)
        for name, places in (("id", self.ids), ("href", self.links), ("src", self.sources)):
            places += [values[name]] if name in values else []
        if tag == "h2":
            self._cell = []
        elif tag == "table":
            self._section["tables"].append([])
        elif tag == "tr":
            self._section["tables"][-1].append([])
        elif tag in ("td", "th", "caption", "figcaption", "p"):
            self._cell, self._kind = [], values.get("class")
        elif tag == "strong" and self._cell is not None:
            self._cell.append("*")
        elif tag == "img":
            self._section["figures"].append((values["alt"], int(values["width"]), int(values["height"])))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        text = "".join(self._cell or [])
        if tag == "h2":
            lists = {name: [] for name in ("tables", "figures", "captions", "text", "notes")}
            self._section = self.sections.setdefault(text, lists)
        elif tag in ("td", "th"):
            self._section["tables"][-1][-1].append(text)
        elif tag in ("caption", "figcaption"):
            self._section["captions"].append(text)
        elif tag == "p" and self._section:
            self._section["notes" if self._kind == "note" else "text"].append(text)
        elif tag == "strong":
            self._cell.append("*")

    def handle_data(self, data):
        if self._cell is not None:
            self._cell.append(data.replace("\N{NO-BREAK SPACE}", " "))


def made(root, out=None):
    report, out = make_report(root), out or root / "report"
    write_report(report, out)
    return (out / "report.html").read_text(encoding="utf-8"), (out / "report.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def written(whole, tmp_path_factory):
    """Folder, page and Markdown."""
    out = tmp_path_factory.mktemp("written")
    return out, *made(whole, out)


@pytest.fixture(scope="module")
def page(written):
    return Page(written[1])


def test_the_page_needs_nothing_but_itself(written, page):
    _, text, _ = written
    assert page.sources
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    for source in page.sources:
        assert base64.b64decode(source.partition(",")[2], validate=True).startswith(b"\x89PNG\r\n")
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert len(page.links) == len(SHOWN)
    assert not re.search(r"<script|<link|@import|url\(|https?://", text)


def test_every_part_is_present_in_order(page):
    assert list(page.sections) == SHOWN
    assert {title: len(of["figures"]) for title, of in page.sections.items() if of["figures"]} == {
        "Table 1": 1, "Example frames": 1, "Valence traces": 2, "Rate and distortion": 2,
    }  # fmt: skip


def test_table_1_has_measured_published_and_difference_with_the_best_of_each_factor_strong(page):
    (table,) = page.sections["Table 1"]["tables"]
    assert table[0] == ["", "RMSE", "CC", "CCC"]
    assert table[1] == ["Method", *["here", "paper", "Δ"] * 3]
    assert table[2][0] == "s = 3"
    assert table[5][:4] == ["Joint-OA", "*0.100*", "*0.129*", "−0.029"]
    assert table[6] == ["s = 12"]
    assert table[7][7] == "*0.400*"  # HR stands at every factor
    highest = "Highest CCC at s = 3: Joint-OA here, Joint-OA in the paper; s = 12: HR here, HR in the paper."
    assert highest in page.sections["Table 1"]["text"]


def test_the_papers_table_is_compared_with_its_text(page):
    text = page.sections["Table 1"]["text"][-1]
    assert "as its CCC is lower at s = 16; higher in CCC" in text
    assert "LR at s = 12, Non-Joint at s = 12, LR at s = 16, Non-Joint at s = 16, Joint at s = 16." in text


def test_synthetic_recordings_are_announced_first(written):
    _, text, markdown = written
    warning = '<p class="warning">Synthetic recordings: the faces are drawn, no person was filmed.'
    assert text.index(warning) < text.index("<nav") < text.index("<table")
    assert markdown.splitlines()[4].startswith("> **Synthetic recordings: ")
    assert "320 × 240 pixels, were drawn by" in text


def test_real_recordings_are_not_called_synthetic(root):
    (root.parent / "recordings/synthetic.json").unlink()
    path = root / "table/table.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "synthetic": False}))
    text, _ = made(root)
    assert "drawn" not in text
    assert 'class="warning"' not in text
    assert "Nothing here checks that these recordings are the package" in text


def test_rates_stand_beside_the_papers(page):
    costs, curves = page.sections["Rate and distortion"]["tables"]
    assert costs[2] == ["3", "x264", "20", "0.320", "0.300", "0.240", "41.3"]  # of QP 20 and 32 nearer to 24
    assert curves[2:] == [
        ["s = 3"],
        ["not coded", "–", "–", "0.700", "0.600"],
        ["20", "0.320", "41.3", "0.690", "0.590"],
        ["32", "0.200", "29.3", "0.400", "0.300"],
    ]


def test_settings_versions_seeds_and_trainings_are_listed(page):
    run = page.sections["What was run"]
    settings, versions, times, recordings, trainings, changes = run["tables"]
    assert ["seed", "7"] in settings
    assert ["torch", "2.9.9"] in versions
    assert times[1:] == [["crops of faces", "1", "61.0 s"], ["training", "2", "61.5 s"], ["together", "3", "2 min"]]
    assert recordings[1:] == [
        ["dev_1", "1,234", "1,200", "30", "4", "5", "found"],
        ["dev_2", "failed", "", "", "", "", ""],
    ]
    assert trainings[2] == ["HR", "HQ", "17", "300", "0.5", "0.0125", "0.03", "30.0 s"]
    assert changes[1] == ["HR", "max_iter: 30000 → 300"]
    assert run["notes"] == ["dev_2 failed: no video"]


def report_page(root):
    assert run("study", "report", "--out", root) == 0
    return Page((root / "report/report.html").read_text(encoding="utf-8"))


def settings_here(root):
    """Return the settings of switches, and what super-resolution learnt from, as `lq-emotion study report` has them."""
    page = report_page(root)
    switches = {row[4]: row[5] for row in page.sections["Paper and code"]["tables"][0] if row[4] != "none"}
    return switches, dict(page.sections["What was run"]["tables"][0])["super-resolution learnt from"]


def test_the_images_that_super_resolution_learnt_from_are_named(root):
    switches, learnt_from = settings_here(root)
    assert (switches["sr_images"], learnt_from) == ("faces", "faces of the training recordings")
    path = root / "table/table.json"
    table = json.loads(path.read_text())
    chosen = {"images": "/data/pretrain/Train", "max_factor": 8}
    path.write_text(json.dumps({**table, "settings": {**table["settings"], **chosen}}))
    switches, learnt_from = settings_here(root)
    assert (switches["sr_images"], learnt_from) == ("natural", "the images in /data/pretrain/Train")
    assert switches["max_factor"] == "8"
    path.write_text(json.dumps({**table, "cells": [cell for cell in table["cells"] if cell["method"] == "HR"]}))
    switches, learnt_from = settings_here(root)
    assert (switches["sr_images"], learnt_from) == ("natural", "–")  # the code's, of no consequence


def test_evaluations_contain_the_mean_of_recordings(page):
    (table,) = page.sections["All evaluations"]["tables"]
    assert table[2] == ["HR on HQ", "1,200", "0.200", "0.500", "0.400", "0.200", "0.500", "0.777", "0.400", "0.400"]
    assert len(table) == 2 + 5


def test_open_questions_are_listed(page):
    text = " ".join(page.sections["What could not be verified"]["text"])
    for question in ("*AVEC 2016.*", "*Published weights.*", "*Codec of Figure 4.*", "more than 300 iterations"):
        assert question in text


def test_the_markdown_has_the_same_content_and_its_figures_beside_it(written):
    out, _, text = written
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == SHOWN
    assert "| LR-3 | 0.300 | 0.142 | +0.158 | – | 0.392 | – | 0.000 | 0.302 | −0.302 |" in text
    figures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert len(figures) == len(set(figures)) == 6
    assert all((out / figure).read_bytes().startswith(b"\x89PNG") for figure in figures)
    assert {path.name for path in (out / "report_figures").iterdir()} == {name.split("/")[1] for name in figures}
    for table in (block for block in text.split("\n\n") if block.startswith("| ")):
        assert len({line.replace("\\|", "").count("|") for line in table.strip().splitlines()}) == 1


def test_the_same_files_give_the_same_report(whole, written, tmp_path):
    assert made(whole, tmp_path) == written[1:]


def test_the_report_of_an_empty_folder_lists_missing_parts(tmp_path):
    page = Page(made(tmp_path)[0])
    notes = [note for section in page.sections.values() for note in section["notes"]]
    assert len(notes) == 11
    assert notes[0] == "No Table 1: lq-emotion study run robust-lq has not run to its end in this folder."
    assert len(page.sections["Paper and code"]["tables"][0]) == 1 + len(DISAGREEMENTS)


def test_a_damaged_file_affects_only_its_own_part(root):
    (root / "rd/rd.json").write_text('{"points": [')
    (root / "runs/HR/train.json").write_text('{"net": "HQ"}')
    (root / "table/table.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (root / "data/raw_data/HQ/dev_1.mat").write_bytes(b"")
    page = Page(made(root)[0])
    assert len(page.sections["Table 1"]["tables"]) == 1
    assert page.sections["Table 1"]["notes"] == ["table/table.png is missing."]
    assert "rd.json" in page.sections["Rate and distortion"]["notes"][0]
    assert "dev_1.mat" in page.sections["Example frames"]["notes"][0]
    assert "train.json: unexpected contents" in page.sections["What was run"]["notes"][-1]
    assert len(page.sections["What was run"]["tables"]) == 4


def test_faces_are_super_resolved_by_the_net_of_their_factor_or_the_next_larger_one(root):
    net = load_net(prototxt.path(DEPLOY), seed=3)
    folder = root / "runs/pretrain-12/snapshots"
    folder.mkdir(parents=True)
    draw_weights(folder / "Pretrain_iter_5.caffemodel", definition=DEPLOY)
    (root / "runs/pretrain-3").mkdir()
    page = Page(made(root)[0])
    part = page.sections["Example frames"]
    assert "trained at s = 12: its unpadded" in part["captions"][0]
    assert part["figures"][0][0] == "Faces in full resolution and shrunk by 3, 12; super-resolved"
    assert len(part["notes"]) == 1
    assert "pretrain-3: no snapshot found" in part["notes"][0]
    face = _show(np.full((96, 96), 0.5, np.float32), 3, {12: net, 16: None})
    assert (face.net, face.bicubic.shape, face.sr.shape) == (12, (96, 96), (80, 80))
    assert _show(np.zeros((96, 96), np.float32), 16, {12: net, 3: None}).net == 12
    assert _show(np.zeros((96, 96), np.float32), 16, {}).sr is None


def test_names_with_markup_stay_text(root):
    shutil.move(root / "scores/LR-3_on_LR3", root / "scores/<b>|&_on_x")
    text, markdown = made(root)
    rows = Page(text).sections["All evaluations"]["tables"][0][2:]
    assert [row[0] for row in rows if "&" in row[0]] == ["<b>|& on x"]
    assert "| &lt;b&gt;\\|&amp; on x |" in markdown


def test_the_command_writes_below_the_folder_and_lists_missing_parts(root, capsys):
    assert run("study", "report", "--out", root, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["page"] == str(root / "report/report.html")
    assert result["sections"]["Table 1"] == {"tables": 1, "figures": 1}
    assert result["absent"] == [
        "No super-resolved faces: there are no weights in runs/pretrain-s.",
        "dev_2 failed: no video",
    ]
    assert (root / "report/report_figures/table_1.png").is_file()
    assert run("study", "report", "--out", root) == 0
    assert "absent: dev_2 failed: no video" in capsys.readouterr().out
    assert (root / "report/report.html").is_file()


def test_a_missing_folder_is_refused(tmp_path, capsys):
    assert "folder not found" in failed(capsys, "study", "report", "--out", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_codec_that_leads_out_of_the_folder_is_refused(root):
    path = root / "rd/rd.json"
    results = json.loads(path.read_text())
    results["points"][1]["codec"] = "../../../outside"
    path.write_text(json.dumps(results))
    with refused("damaged-file", file="rd.json"):
        _ = Store(root).sweeps


def test_an_evaluation_that_draws_nothing_lacks_no_traces(root):
    path = next(root.glob("scores/HR_on_*/scores.json"))
    (path.parent / "traces.png").unlink()
    assert "traces.png is missing" in made(root)[0]
    scores = json.loads(path.read_text())
    path.write_text(json.dumps({**scores, "files": ["scores.csv"]}))
    assert "traces.png" not in made(root)[0]
