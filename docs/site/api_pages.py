"""Add the API reference to the site: a page for each folder of the packages, from the docstrings of its modules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "caffe_compat": ROOT / "caffe_compat",
    "lq_emotion": ROOT / "models" / "lq_emotion",
    "matlab_ports": ROOT / "matlab_ports",
}
# Command lines, which docs/commands.md describes, and generated messages.
LEFT_OUT = {"cli", "entry", "subprocess_shim", "caffe_pb2", "forks_pb2"}


def on_config(config: MkDocsConfig) -> None:
    """Put the pages into the navigation."""
    entries: list[dict[str, Any]] = []
    for package, folder in PACKAGES.items():
        entries.append({package: [{name: page} for name, page, _ in _pages(package, folder)]})
    if config.nav is not None:
        config.nav.append({"API": entries})


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Make the pages."""
    for package, folder in PACKAGES.items():
        for name, page, modules in _pages(package, folder):
            blocks = "".join(f"::: {module}\n" for module in modules)
            files.append(File.generated(config, page, content=f"# `{name}`\n\n{blocks}"))


def _pages(package: str, folder: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Yield the dotted name of each folder, the path of its page, and its modules."""
    for init in sorted(folder.rglob("__init__.py")):
        parts = init.parent.relative_to(folder).parts
        if not any(map(_left_out, parts)):
            name = ".".join((package, *parts))
            modules = [file.stem for file in sorted(init.parent.glob("*.py")) if not _left_out(file.stem)]
            yield name, f"api/{name}.md", [name, *(f"{name}.{module}" for module in modules)]


def _left_out(name: str) -> bool:
    return name.startswith("_") or name in LEFT_OUT
