"""Make ``import caffe`` find this package, in this process only."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from caffe_compat.errors import CaffeCompatError, did_you_mean
from caffe_compat.schema import pb2_fallback

NAME = "caffe"
HOME = __name__.rpartition(".")[0]
# Module that scripts import -> module that they get.
_MODULES = {
    NAME: HOME,
    f"{NAME}._caffe": HOME,
    f"{NAME}.pycaffe": HOME,
    f"{NAME}.proto": f"{HOME}.proto",
    f"{NAME}.proto.caffe_pb2": "caffe_compat.schema.caffe_pb2",
    **{
        f"{NAME}.{name}": f"{HOME}.{name}" for name in ("classifier", "coord_map", "detector", "draw", "io", "net_spec")
    },
}


class _AliasLoader(Loader):
    """Loads a module under an alias and leaves its own name and spec in place."""

    def __init__(self, home: str) -> None:
        self.home = home
        self.spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        del spec
        module = importlib.import_module(self.home)
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec  # the import system set the alias's spec


class _Finder(MetaPathFinder):
    """Finds ``caffe`` and its submodules."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        if fullname.partition(".")[0] != NAME:
            return None
        if fullname not in _MODULES:
            hint = did_you_mean(fullname, _MODULES)
            raise ModuleNotFoundError(
                f"No module named {fullname!r} in caffe_compat.pycaffe{f' ({hint})' if hint else ''}", name=fullname
            )
        return ModuleSpec(fullname, _AliasLoader(_MODULES[fullname]), is_package=fullname in (NAME, f"{NAME}.proto"))


def install() -> ModuleType:
    """Make ``import caffe``, ``caffe.io``, ``caffe.proto`` and so on find this package.

    It takes precedence over a genuine Caffe on ``sys.path``. Calling it again has no effect.

    Returns
    -------
    The package, ``caffe_compat.pycaffe``.

    Raises
    ------
    CaffeCompatError
        If another ``caffe`` was imported before: the two would be mixed up.
    """
    package = importlib.import_module(HOME)
    other = sys.modules.get(NAME, package)
    if other is not package:
        raise CaffeCompatError(
            "another caffe was imported before",
            code="conflict",
            value=getattr(other, "__file__", None) or repr(other),
            hint="call install() before the first `import caffe`",
        )
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    pb2_fallback.install()
    for name in ("_caffe", "pycaffe"):  # also available after a plain `import caffe`
        setattr(package, name, package)
    return package


def uninstall() -> None:
    """Undo :func:`install`; modules that imported ``caffe`` in the meantime keep their references."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
    pb2_fallback.uninstall()
    for alias, home in _MODULES.items():
        if alias in sys.modules and sys.modules[alias] is sys.modules.get(home):
            del sys.modules[alias]
