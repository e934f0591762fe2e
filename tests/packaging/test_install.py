"""Built and installed, the project is ``caffe_compat``, ``lq_emotion`` and ``matlab_ports``, and claims no other name."""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("setup.py", "pyproject.toml", "LICENSE", "README.md", "caffe_compat", "matlab_ports", "models", "prototxt")
# Where each folder of the checkout installs.
INSTALLS_AS = {
    "caffe_compat": "caffe_compat",
    "matlab_ports": "matlab_ports",
    "models/caffe_compat_base": "caffe_compat_base",
    "models/lq_emotion": "lq_emotion",
    "prototxt": "lq_emotion/prototxt",
}
PROBE = """
import importlib.util, json, sys
from importlib.metadata import distribution, entry_points
import caffe_compat, lq_emotion, matlab_ports
from lq_emotion import prototxt
print(json.dumps({
    "engine": caffe_compat.__file__,
    "application": lq_emotion.__file__,
    "ports": matlab_ports.__file__,
    "definitions": len(prototxt.available()),
    "readable": prototxt.path("pretrain/Pretrain_net.prototxt").read_text().count("layer {"),
    "bare": [n for n in ("models", "prototxt") if importlib.util.find_spec(n)],
    "commands": sorted(e.name for e in entry_points(group="console_scripts") if e.value.startswith(("caffe_compat.", "lq_emotion."))),
}))
"""


def run(*command, cwd):
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def python_files(folder):
    """Name what a folder of the checkout must install, as installed."""
    top = ROOT / folder
    inside = (Path(base) / name for base, _, names in os.walk(top) for name in names)  # os.walk follows no symlinks
    wanted = {".py", ".pyi", ".proto", ".prototxt", ".toml", ".typed"}
    kept = (file for file in inside if file.suffix in wanted or file.name == "py.typed")
    return {f"{INSTALLS_AS[folder]}/{file.relative_to(top).as_posix()}" for file in kept}


@pytest.fixture(scope="module", autouse=True)
def _quick_compiler(tmp_path_factory):
    """The compiler, optimising nothing: whether kernels are built is the question here, and -O3 takes most of the time."""
    compiler, *options = sysconfig.get_config_var("CC").split()
    if shutil.which(compiler) is None:
        yield
        return
    quick = tmp_path_factory.mktemp("compiler") / compiler
    quick.write_text(f'#!/bin/sh\nexec {shlex.join([shutil.which(compiler), *options])} "$@" -O0\n', encoding="utf-8")
    quick.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CC", str(quick))
        yield


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy to build in: building leaves files behind."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy2(source, copy / name)
    return copy


@pytest.fixture(scope="module")
def built(checkout, tmp_path_factory):
    """The folder with an sdist made from the checkout and a wheel made from that sdist."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, checkout, cwd=out)
    return out


@pytest.fixture(scope="module")
def wheel(built):
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def sdist(built):
    (found,) = built.glob("*.tar.gz")
    return found


@pytest.fixture
def environment(tmp_path):
    """An environment of its own that sees this one's dependencies, but not an editable install of the project."""
    folder = tmp_path / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=tmp_path)
    python = folder / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return python


def install(environment, *arguments, cwd):
    pip = (sys.executable, "-m", "pip", "--python", environment, "install", "--quiet", "--disable-pip-version-check")
    run(*pip, "--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed", *arguments, cwd=cwd)


def probe(environment, cwd):
    return json.loads(run(environment, "-c", PROBE, cwd=cwd))


def test_the_wheel_holds_every_module_and_definition_of_the_checkout(wheel):
    expected = set().union(*map(python_files, INSTALLS_AS))
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    compiled = {name for name in packed if name.startswith("caffe_compat/kernels/fast/_native.")}
    assert packed - compiled == expected
    assert len(compiled) == (shutil.which(sysconfig.get_config_var("CC").split()[0]) is not None)
    assert sum(name.endswith(".prototxt") for name in packed) == 23
    assert {"caffe_compat/py.typed", "matlab_ports/py.typed", "caffe_compat/schema/caffe.proto"} <= packed


def test_the_wheel_claims_the_packages_names_and_two_commands(wheel):
    archive = zipfile.ZipFile(wheel)
    (info,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
    tops = {name.split("/")[0] for name in archive.namelist()} - {info}
    names = ["caffe_compat", "caffe_compat_base", "lq_emotion", "matlab_ports"]
    assert tops == {*names}
    assert archive.read(f"{info}/top_level.txt").decode().split() == names
    commands = archive.read(f"{info}/entry_points.txt").decode()
    assert "caffe-compat = caffe_compat.entry:caffe_compat" in commands
    assert "lq-emotion = lq_emotion.entry:main" in commands
    assert any(name.startswith(f"{info}/") and name.endswith("LICENSE") for name in archive.namelist())


def test_the_wheel_requires_the_applications_dependencies_for_its_extra_only(wheel):
    archive = zipfile.ZipFile(wheel)
    (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    lines = archive.read(metadata).decode().splitlines()
    required = [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")]
    always = {re.split(r"[<>=;\[ ]", line)[0] for line in required if "extra ==" not in line}
    assert always == {"torch", "protobuf", "numpy", "scipy", "h5py", "opencv-python", "matplotlib", "pillow", "tqdm"}
    application = {re.split(r"[<>=;\[ ]", line)[0] for line in required if line.endswith('extra == "lq-emotion"')}
    assert application == {"scikit-image", "av", "numba", "scikit-learn", "bayesian-optimization"}


def test_the_sdist_holds_the_sources_where_the_checkout_has_them(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"setup.py", "pyproject.toml", "LICENSE", "models/lq_emotion/__init__.py", "prototxt/__init__.py"} <= names
    assert "prototxt/pretrain/Pretrain_net.prototxt" in names
    code = {file for suffix in ("c", "h", "inc") for file in (ROOT / "caffe_compat/kernels/fast").glob(f"*.{suffix}")}
    assert len(code) > 4
    assert {file.relative_to(ROOT).as_posix() for file in code} <= names


def test_without_a_compiler_a_wheel_without_compiled_code_is_built(sdist, tmp_path):
    """It installs, and says so: nets run on torch's kernels."""
    command = (
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
        "-w",
        tmp_path,
        sdist,
    )
    run("env", "CC=false", *command, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "caffe_compat/kernels/fast/library.py" in names
    assert not [name for name in names if "_native" in name]


def test_without_a_compiler_a_strict_editable_install_works(checkout, environment, tmp_path, monkeypatch):
    monkeypatch.setenv("CC", "false")
    source = tmp_path / "source"
    shutil.copytree(checkout, source, symlinks=True, ignore=shutil.ignore_patterns("build", "*.egg-info", "*.so"))
    install(environment, "--config-settings", "editable_mode=strict", "--editable", source, cwd=tmp_path)
    assert probe(environment, tmp_path)["engine"].startswith(str(source))
    assert not list(source.rglob("_native*"))


def test_an_installed_wheel_works_from_an_empty_folder(wheel, environment, tmp_path):
    install(environment, wheel, cwd=tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    found = probe(environment, empty)
    site = str(tmp_path / "environment")
    assert found["engine"].startswith(site)
    assert found["ports"].startswith(site)
    assert found["application"].startswith(site)
    assert found["definitions"] == 23
    assert found["readable"] == 10
    assert found["bare"] == []
    assert found["commands"] == ["caffe-compat", "lq-emotion"]


@pytest.mark.parametrize("mode", ["default", "strict"])
def test_an_editable_install_works_from_an_empty_folder_and_from_the_root(mode, checkout, environment, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(checkout, source, symlinks=True, ignore=shutil.ignore_patterns("build", "*.egg-info"))
    options = ["--config-settings", "editable_mode=strict"] if mode == "strict" else []
    install(environment, *options, "--editable", source, cwd=tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder in (empty, source):
        found = probe(environment, folder)
        assert found["engine"].startswith(str(source))
        assert found["ports"].startswith(str(source))
        assert found["application"].startswith(str(source))
        assert found["definitions"] == 23
        assert found["readable"] == 10
        assert found["commands"] == ["caffe-compat", "lq-emotion"]
        if folder is empty:
            assert found["bare"] == []


def test_a_module_added_to_an_editable_checkout_is_seen_at_once(checkout, environment, tmp_path, monkeypatch):
    monkeypatch.setenv("CC", "false")
    source = tmp_path / "source"
    shutil.copytree(checkout, source, symlinks=True, ignore=shutil.ignore_patterns("build", "*.egg-info"))
    install(environment, "--editable", source, cwd=tmp_path)
    (source / "models" / "lq_emotion" / "added.py").write_text("ANSWER = 42\n", encoding="utf-8")
    code = "from lq_emotion.added import ANSWER; print(ANSWER)"
    assert run(environment, "-c", code, cwd=tmp_path).strip() == "42"


def test_every_dependency_is_pinned_to_one_version():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    assert pins["torch"] == "2.13.0"
    names = {name.lower().replace("_", "-") for name in pins}
    assert len(names) == len(pins)
    assert _requirements() <= names


def _requirements():
    """Read the names out of setup.py's lists."""
    wanted = {"REQUIRES", "VIDEO", "FAST", "LMDB", "LEVELDB", "LQ_EMOTION", "DOCS", "DEV"}
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    lists = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id in wanted
    }
    requirements = [entry for entries in lists.values() for entry in entries]
    assert lists.keys() == wanted
    return {entry.split("[")[0].split(">")[0].split("<")[0].split("=")[0].lower() for entry in requirements}
