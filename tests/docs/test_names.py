"""Names in the pages exist: modules and functions, files of the checkout, commands and their flags."""

import importlib
import io
import re
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path

import pytest

import caffe_compat.cli
import lq_emotion.cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NAME = re.compile(r"(?<![\w/.-])(?:caffe_compat|lq_emotion|matlab_ports)(?:\.\w+)+(?!\w*[/(]?\*)")
IMPORT = re.compile(r"^from ((?:caffe_compat|lq_emotion|matlab_ports)[\w.]*) import ([\w, ]+)$", re.MULTILINE)
FILE = re.compile(r"`((?:benchmarks|caffe_compat|docs|matlab_ports|models|prototxt|tests)/[\w./+-]+)`")
SOURCE = re.compile(r"`((?:\w+/)+)([a-z_0-9]+)\.py(?::([\w.]+))?`")
PACKAGES = {"": ".", "caffe_compat.": "caffe_compat", "lq_emotion.": "models/lq_emotion"}
COMMAND = re.compile(r"\b(caffe-compat|lq-emotion) ([a-z][\w-]*)((?:.*\\\n)*.*)")
MAINS = {"caffe-compat": caffe_compat.cli.main, "lq-emotion": lq_emotion.cli.main}

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def exists(name):
    """Tell whether a dotted name is a module, or an attribute of one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[count:]:
            if not hasattr(value, attribute):
                return False
            value = getattr(value, attribute)
        return True
    return False


@cache
def help_of(program, *command):
    """Return the help of a command or of a group of commands."""
    out = io.StringIO()
    with redirect_stdout(out):
        code = MAINS[program]([*command, "--help"])
    return out.getvalue() if code == 0 else ""


@every_page
def test_modules_functions_and_files_exist(page):
    text = page.read_text(encoding="utf-8")
    imported = {f"{module}.{name}" for module, names in IMPORT.findall(text) for name in names.split(", ")}
    assert sorted(name for name in {*NAME.findall(text), *imported} if not exists(name)) == []
    assert sorted({name for name in FILE.findall(text) if not (ROOT / name).exists()}) == []


@every_page
def test_source_files_and_what_they_define_exist(page):
    wrong = []
    for folder, module, name in SOURCE.findall(page.read_text(encoding="utf-8")):
        file = f"{folder}{module}.py"
        found = [prefix for prefix, package in PACKAGES.items() if (ROOT / package / file).exists()]
        dotted = "".join(found[:1]) + file.removesuffix(".py").replace("/", ".")
        wrong += [] if found and (not name or exists(f"{dotted}.{name}")) else [f"{file}:{name}"]
    assert wrong == []


@every_page
def test_commands_and_flags_exist(page):
    text = page.read_text(encoding="utf-8")
    code = re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    spans = (span.replace("\n", " ") + "\n" for span in re.findall(r"`((?:caffe-compat|lq-emotion) [^`]*)`", text))
    wrong = []
    for program, command, rest in COMMAND.findall("".join([*code, *spans])):
        words = [command]
        shown = help_of(program, *words)
        while rest.split()[len(words) - 1 :] and re.match(r"usage:[^\n]* (ACTION|COMMAND) \.\.\.", shown):  # a group
            words.append(rest.split()[len(words) - 1])
            shown = help_of(program, *words)
        command = " ".join(words)
        flags = re.findall(r"(?<![\w-])(--[a-z][\w-]*)", rest.split("#")[0].split(" ; ")[0])
        wrong += [f"{program} {command} {flag}" for flag in flags if flag not in shown]
        wrong += [] if shown else [f"{program} {command}"]
    assert wrong == []
