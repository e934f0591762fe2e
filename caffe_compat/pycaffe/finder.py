"""``import caffe`` finds this package, in the process that asks for it and nowhere else."""

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
# What scripts import below `caffe`, and where it is here.
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
    """Hands out a module that has a name of its own, and leaves that name to it."""

    def __init__(self, home: str) -> None:
        self.home = home
        self.spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        del spec
        module = importlib.import_module(self.home)
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec  # the import system has put the alias's there


class _Finder(MetaPathFinder):
    """Finds ``caffe`` and all below it."""

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
    """Let ``import caffe``, ``caffe.io``, ``caffe.proto`` and so on find this package from now on.

    Wherever a genuine Caffe may lie on ``sys.path``, this one is found first. Calling it again changes nothing.

    Returns
    -------
    The package, ``caffe_compat.pycaffe``.

    Raises
    ------
    CaffeCompatError
        If another ``caffe`` is imported already: two of them in one process would be mixed up.
    """
    package = importlib.import_module(HOME)
    other = sys.modules.get(NAME, package)
    if other is not package:
        raise CaffeCompatError(
            "another caffe is imported already",
            value=getattr(other, "__file__", None) or repr(other),
            hint="call install() before the first `import caffe`",
        )
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    pb2_fallback.install()
    for name in ("_caffe", "pycaffe"):  # there after `import caffe` alone, too
        setattr(package, name, package)
    return package


def uninstall() -> None:
    """Undo :func:`install`; modules that imported ``caffe`` meanwhile keep what they have."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
    pb2_fallback.uninstall()
    for alias, home in _MODULES.items():
        if alias in sys.modules and sys.modules[alias] is sys.modules.get(home):
            del sys.modules[alias]
