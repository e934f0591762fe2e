"""A script that says ``import caffe`` runs unchanged, as Python would run it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import caffe_compat.pycaffe
from caffe_compat.pycaffe import finder
from caffe_compat.pycaffe.runner import main
from tests.refusals import refused

ROOT = Path(__file__).resolve().parents[2]


SHIM = ROOT / "caffe_compat" / "pycaffe" / "subprocess_shim"


def python(*arguments, search_path, cwd=None, stdin=None):
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cwd, env={**os.environ, "PYTHONPATH": str(search_path)},
        input=stdin, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def run(*arguments, cwd, stdin=None):
    return python("-m", "caffe_compat.pycaffe", *arguments, search_path=ROOT, cwd=cwd, stdin=stdin)


@pytest.fixture(autouse=True)
def _search_path_of_subprocesses(monkeypatch):
    """Take back what the runner adds to PYTHONPATH: other tests start processes as well."""
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))


@pytest.fixture
def installed():
    finder.install()
    yield
    finder.uninstall()


@pytest.fixture
def process(monkeypatch):
    """What a run changes in its process, put back."""
    monkeypatch.setattr(sys, "argv", ["pytest"])
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    yield
    finder.uninstall()


@pytest.fixture
def write(tmp_path):
    """Write a file below the temporary folder; return its path."""

    def written(text, name="script.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    return written


def test_every_module_that_scripts_import_is_this_package(installed):
    import caffe
    import caffe.coord_map
    import caffe.draw
    import caffe.io
    import caffe.net_spec
    import caffe.proto.caffe_pb2 as by_path
    from caffe import layers, params
    from caffe._caffe import Net as raw
    from caffe.classifier import Classifier
    from caffe.coord_map import crop
    from caffe.detector import Detector
    from caffe.proto import caffe_pb2
    from caffe.pycaffe import Net

    from caffe_compat.definition import netspec
    from caffe_compat.pycaffe import coord_map, draw, io
    from caffe_compat.schema import caffe_pb2 as ours

    assert caffe is caffe_compat.pycaffe
    assert (caffe.io, caffe.draw, caffe.coord_map) == (io, draw, coord_map)
    assert caffe.proto.caffe_pb2 is caffe_pb2 is by_path is ours
    assert (layers, params) == (netspec.layers, netspec.params)
    assert Net is raw is caffe.Net
    assert (Classifier, Detector) == (caffe.Classifier, caffe.Detector)
    assert crop is coord_map.crop


def test_the_package_has_caffes_names_and_its_modules_keep_their_own(installed):
    import caffe.io

    names = """Net SGDSolver NesterovSolver AdaGradSolver RMSPropSolver AdaDeltaSolver AdamSolver NCCL Timer init_log log
        set_mode_cpu set_mode_gpu set_device Layer get_solver layer_type_list set_random_seed solver_count solver_rank
        set_solver_count set_solver_rank set_multiprocess has_nccl __version__ TRAIN TEST Classifier Detector io layers
        params NetSpec to_proto net_spec classifier detector proto pycaffe _caffe"""
    assert [name for name in names.split() if not hasattr(caffe, name)] == []
    assert caffe._caffe.Net is caffe.pycaffe.Net is caffe.Net
    assert caffe.__name__ == caffe.__spec__.name == "caffe_compat.pycaffe"
    assert caffe.io.__name__ == caffe.io.__spec__.name == "caffe_compat.pycaffe.io"


def test_modules_caffe_does_not_have_are_not_found(installed):
    with pytest.raises(ModuleNotFoundError, match=r"'caffe\.nett' in caffe_compat"):
        import caffe.nett
    with pytest.raises(ModuleNotFoundError):
        import caffe.runner  # noqa: F401  (ours, but nothing Caffe has)


def test_installing_twice_changes_nothing_and_uninstalling_undoes_it():
    before = list(sys.meta_path)
    assert finder.install() is caffe_compat.pycaffe
    finder.install()
    assert len(sys.meta_path) == len(before) + 2  # caffe, and old caffe_pb2
    import caffe

    finder.uninstall()
    assert sys.meta_path == before
    with pytest.raises(ModuleNotFoundError):
        import caffe  # noqa: F401


def test_a_caffe_imported_before_is_not_replaced(monkeypatch):
    other = type(sys)("caffe")
    other.__file__ = "/opt/caffe/python/caffe/__init__.py"
    monkeypatch.setitem(sys.modules, "caffe", other)
    with refused("conflict", value="/opt/caffe/python/caffe/__init__.py"):
        finder.install()
    assert sys.modules["caffe"] is other
    assert not any(isinstance(f, finder._Finder) for f in sys.meta_path)


def test_a_caffe_on_the_path_is_shadowed(tmp_path, process, write, capsys):
    write("raise ImportError('No module named _caffe')", "python/caffe/__init__.py")
    write("raise ImportError('needs skimage')", "python/caffe/io.py")
    code = f"import sys; sys.path.insert(0, '{tmp_path}/python'); import caffe, caffe.io; print(caffe.__name__, caffe.io.__name__)"
    assert main([write(code)]) == 0
    assert capsys.readouterr().out == "caffe_compat.pycaffe caffe_compat.pycaffe.io\n"


def test_a_script_runs_in_the_environment_that_python_would_set_up(tmp_path, process, write, monkeypatch, capsys):
    write("value = 42\n", "lib/neighbour.py")
    write(
        "import pickle, sys\n"
        "import neighbour\n"
        "class Record: pass\n"
        "record = pickle.loads(pickle.dumps(Record()))\n"
        "print(__name__, __file__, sys.argv, sys.path[0], neighbour.value)\n"
        "print(__package__, __spec__, sys.modules['__main__'].Record is Record, type(record) is Record)\n",
        "lib/script.py",
    )
    monkeypatch.chdir(tmp_path)
    assert main(["lib/script.py", "-x", "--help"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"__main__ lib/script.py ['lib/script.py', '-x', '--help'] {tmp_path / 'lib'} 42",
        "None None True True",
    ]


def test_a_folder_with_a_main_runs(tmp_path, process, write, capsys):
    write("import caffe, sys; print('tool', sys.argv[1:])", "tool/__main__.py")
    assert main([str(tmp_path / "tool"), "1"]) == 0
    assert capsys.readouterr().out == "tool ['1']\n"


def test_exit_codes_and_output_pass_through(tmp_path, write):
    script = write(
        "import sys, caffe\nprint(sys.stdin.read() + caffe.__name__)\n"
        "print([name for name in ('torch._dynamo', 'matplotlib', 'skimage') if name in sys.modules])\nsys.exit(7)\n"
    )
    done = run(script, cwd=tmp_path, stdin="in: ")
    # modules that take seconds to import wait until they are needed
    assert (done.returncode, done.stdout, done.stderr) == (7, "in: caffe_compat.pycaffe\n[]\n", "")


CHILDREN = """
import multiprocessing, subprocess, sys
import caffe

def name(_):
    import caffe.io
    return caffe.__name__, caffe.io.__name__

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(*pool.map_async(name, [0]).get(timeout=60)[0])
    code = "import caffe, caffe.draw; from caffe.proto import caffe_pb2; print(caffe.__name__, caffe.draw.__name__)"
    print(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip())
"""


@pytest.mark.slow
def test_child_processes_of_a_script_can_import_caffe(tmp_path, write):
    done = run(write(CHILDREN), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "caffe_compat.pycaffe caffe_compat.pycaffe.io",
        "caffe_compat.pycaffe caffe_compat.pycaffe.draw",
    ]


@pytest.mark.slow
def test_children_find_a_checkout_that_is_not_on_their_path(tmp_path):
    code = "import caffe, sys; print(caffe.__name__, any('subprocess_shim' in p for p in sys.path))"
    assert python("-c", code, search_path=SHIM, cwd=tmp_path).stdout == "caffe_compat.pycaffe False\n"


def test_the_search_path_of_children_is_added_to_not_replaced(process, monkeypatch, capsys):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["/a", "/b"]))
    for _ in range(2):
        assert main(["-c", "import os; print(os.environ['PYTHONPATH'])"]) == 0
    assert capsys.readouterr().out.splitlines() == [os.pathsep.join([str(SHIM), "/a", "/b"])] * 2


OLD_MESSAGES = """# Generated by the protocol buffer compiler.  DO NOT EDIT!
# source: caffe.proto
from google.protobuf import descriptor as _descriptor
_NETPARAMETER = _descriptor.Descriptor(name='NetParameter', full_name='caffe.NetParameter', filename=None, file=None,
  containing_type=None, fields=[_descriptor.FieldDescriptor(name='name', full_name='caffe.NetParameter.name', index=0,
  number=1, type=9, cpp_type=9, label=1, has_default_value=False, default_value=unicode("", "utf-8"), message_type=None,
  enum_type=None, containing_type=None, is_extension=False, extension_scope=None, options=None)],
  extensions=[], nested_types=[], enum_types=[], options=None, is_extendable=False, extension_ranges=[])
"""
USES_OLD_MESSAGES = """
import subprocess, sys
import caffe_pb2
from tools import caffe_pb2 as nested
net = caffe_pb2.NetParameter(name="net")
print(type(net).__module__, nested is caffe_pb2, caffe_pb2.TEST)
code = "import caffe_pb2, sitecustomize; print(caffe_pb2.NetParameter(name='n').name, sitecustomize.__file__)"
print(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip())
"""


def test_an_old_caffe_pb2_beside_the_script_gives_way_to_ours_in_its_processes_too(
    tmp_path, process, write, monkeypatch, capsys
):
    for name in ("caffe_pb2.py", "tools/caffe_pb2.py"):
        write(OLD_MESSAGES, name)
    for name in ("caffe_pb2", "tools", "tools.caffe_pb2"):
        monkeypatch.setitem(sys.modules, name, None)
        del sys.modules[name]  # and again when the test ends
    monkeypatch.chdir(tmp_path)
    assert main([write(USES_OLD_MESSAGES)]) == 0
    streams = capsys.readouterr()
    assert streams.out.splitlines() == ["caffe_compat.schema.caffe_pb2 True 1", f"n {SHIM / 'sitecustomize.py'}"]
    assert [str(tmp_path / "caffe_pb2.py") in line for line in streams.err.splitlines()] == [True, False]
    assert "generated by an" in streams.err


def test_the_machines_own_sitecustomize_runs_as_well(tmp_path, write):
    write("print('theirs')", "sitecustomize.py")
    code = "import sys; print(any(type(f).__name__ == 'OldMessages' for f in sys.meta_path), 'torch' in sys.modules)"
    done = python("-c", code, search_path=os.pathsep.join([str(SHIM), str(tmp_path)]))
    assert (done.stdout, done.stderr) == ("theirs\nTrue False\n", "")


def test_a_caffe_pb2_that_loads_or_is_not_caffes_is_not_replaced(process, write, monkeypatch, capsys):
    write("NetParameter = 'their own'\n", "good/caffe_pb2.py")
    write("raise ImportError('needs tools')\n", "other/caffe_pb2.py")
    for name in ("good", "good.caffe_pb2", "other", "other.caffe_pb2"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert main([write("from good.caffe_pb2 import NetParameter; print(NetParameter); import other.caffe_pb2")]) == 1
    streams = capsys.readouterr()
    assert streams.out == "their own\n"
    assert "ImportError: needs tools" in streams.err


def test_an_exception_shows_the_scripts_own_lines_only(process, write, capsys):
    script = write("def fail():\n    raise ValueError('so')\n\nfail()\n")
    assert main([script]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["Traceback (most recent call last):", f'  File "{script}", line 4, in <module>']
    assert lines[-1] == "ValueError: so"
    assert not any("runner.py" in line for line in lines)


def test_a_system_exit_propagates(process, write):
    with pytest.raises(SystemExit, match="stop"):
        main([write("raise SystemExit('stop')")])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        *((f"import caffe\n{statement}\n", 2) for statement in (
            "print 'x'", "print x", "raise E, 'x'", "exec 'x'", "mode = 0777", "n = 10L", "a <> b",
        )),
        ("try:\n    pass\nexcept E, e: pass\n", 3),
    ],
)  # fmt: skip
def test_a_script_for_python_2_gets_a_hint(process, write, capsys, text, line):
    assert main([write(text)]) == 1
    err = capsys.readouterr().err
    assert "SyntaxError" in err
    assert f"script.py, line {line}, looks like Python 2" in err
    assert "2to3 -w" in err


def test_an_old_module_that_a_script_imports_is_named(process, write, capsys):
    write("print 'loading'\n", "oldtools.py")
    assert main([write("import caffe\nimport oldtools\n")]) == 1
    assert "oldtools.py, line 1, looks like Python 2" in capsys.readouterr().err


def test_valid_code_and_errors_in_any_python_get_no_hint(process, write, capsys):
    assert main([write("import caffe\nprint\n")]) == 0
    assert main([write("x = (1,\n")]) == 1
    err = capsys.readouterr().err
    assert "SyntaxError" in err
    assert "Python 2" not in err


def test_code_and_modules_can_be_run(tmp_path, process, write, monkeypatch, capsys):
    write("import sys, caffe; print(__name__, sys.argv[1:], caffe.__name__)", "mod.py")
    monkeypatch.chdir(tmp_path)
    assert main(["-m", "mod", "a"]) == 0
    assert main(["-c", "import sys, caffe; print(__name__, sys.argv, caffe.__name__)", "b"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "__main__ ['a'] caffe_compat.pycaffe",
        "__main__ ['-c', 'b'] caffe_compat.pycaffe",
    ]


def test_tests_that_import_caffe_run_under_pytest(tmp_path, write, monkeypatch):
    write("import caffe\n\ndef test_it():\n    assert caffe.__version__ == '1.0.0'\n", "test_it.py")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "usage:"),
        (["-m"], "-m needs a module"),
        (["-c"], "-c needs code"),
        (["--fast", "x.py"], "unknown option --fast"),
        (["missing.py"], "can't open file 'missing.py'"),
        (["--fork=sgnet", "x.py"], "unknown fork of Caffe (did you mean 'segnet'?)"),
    ],
)
def test_wrong_usage_exits_with_code_2(arguments, problem, capsys):
    assert main(arguments) == 2
    assert problem in capsys.readouterr().err


def test_help_exits_with_code_0(capsys):
    assert main(["--help"]) == 0
    assert "usage: python -m caffe_compat.pycaffe SCRIPT" in capsys.readouterr().out


def test_the_fork_flag_precedes_the_script(tmp_path, process, write, monkeypatch, capsys):
    write(
        'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 4 } } }\n'
        'layer { name: "bn" type: "BN" bottom: "x" top: "y" }',
        "net.prototxt",
    )
    monkeypatch.chdir(tmp_path)
    code = "import caffe; print(len(caffe.Net('net.prototxt', caffe.TEST).params['bn']))"
    assert [main([f"--fork={fork}", "-c", code]) for fork in ("segnet", "pspnet")] == [0, 0]
    assert main(["-c", code]) == 1
    streams = capsys.readouterr()
    assert streams.out == "2\n4\n"
    assert "name the fork (pspnet" in streams.err
