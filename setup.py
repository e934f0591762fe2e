"""Packaging: three packages, ``caffe_compat``, ``matlab_ports`` and ``lq_emotion``.

What the first two share is a small private package without torch, ``caffe_compat_base``, in ``models``.
The application is in ``models/lq_emotion`` and the published definitions in ``prototxt``; ``package_dir`` installs
them as ``lq_emotion`` and ``lq_emotion.prototxt``. The extra ``lq-emotion`` brings the application's own dependencies.
"""

from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
VERSION = "0.1.0"

# Lower bounds are the releases whose behaviour the code relies on; exact versions for a reproducible environment are in
# constraints.txt.
REQUIRES = [
    "torch>=2.6,<3",  # torch.export in its settled form, torch.load(weights_only=True) as the default
    "protobuf>=4.25,<8",  # the generated module is the 4.25 compiler's; tried up to 7.36
    "numpy>=2.0,<3",
    "scipy>=1.15",
    "h5py>=3.11",
    "opencv-python>=4.10,<5",
    "matplotlib>=3.9",
    "pillow>=10",  # images, with an error where one is truncated
    "tqdm>=4.66",
]
VIDEO = ["av>=14"]  # writes H.264, and reads it; without it OpenCV reads
FAST = ["numba>=0.61"]  # imresize of many images, and the sums of exact=True, in compiled loops
LMDB = ["lmdb>=1.4"]
LEVELDB = ["plyvel>=1.5"]
EXPORT = [
    "onnx>=1.16",  # `export --to onnx`
    "safetensors>=0.5",  # `export --to safetensors`
]
INT8 = [*EXPORT, "onnxruntime>=1.18"]  # `export --int8`
LQ_EMOTION = [
    "scikit-image>=0.25",  # the images of sr-demo
]
PARQUET = ["pyarrow>=17"]  # `predict --format parquet`
TRUST = [
    "scikit-learn>=1.6",  # `calibrate`: a forest that rises with each measure (monotonic_cst)
]
SEARCH = ["bayesian-optimization>=3"]  # Gaussian process of scikit-learn; brings nothing else but colorama
DOCS = ["mkdocs>=1.6,<2", "mkdocstrings[python]>=1.0"]  # `make docs`; MkDocs 2 is another program
DEV = [
    "build>=1.2",
    "distributed>=2025.1",
    "hypothesis>=6.100",
    "import-linter>=2.3",
    "mypy>=1.13",
    "pytest>=8.3",
    "pytest-xdist>=3.6",
    "ruff>=0.8",
    "setuptools>=77.0.3",
    "types-protobuf>=4.25",
    "types-tqdm>=4.66",
    "wheel>=0.45",
]


BASE = ["caffe_compat_base"]
ENGINE = find_packages(include=["caffe_compat", "caffe_compat.*"])
PORTS = find_packages(include=["matlab_ports", "matlab_ports.*"])
APPLICATION = [*find_packages("models", include=["lq_emotion", "lq_emotion.*"]), "lq_emotion.prototxt"]

# Plain C, called through ctypes: one build serves every Python from 3.11 on and every torch. Without a compiler the
# package installs all the same, and nets run on torch's own kernels.
FAST_KERNELS = Path("caffe_compat/kernels/fast")
KERNELS = Extension(
    "caffe_compat.kernels.fast._native",
    sources=[str(FAST_KERNELS / f"{name}.c") for name in ("driver", "watch", "avx512", "avx2", "baseline")],
    depends=sorted(str(file) for pattern in ("*.h", "*.inc") for file in FAST_KERNELS.glob(pattern)),
    define_macros=[("Py_LIMITED_API", "0x030b0000")],
    extra_compile_args=["-std=gnu11", "-O3", "-g0", "-pthread"],
    extra_link_args=["-pthread"],
    py_limited_api=True,
    optional=True,
)


class BuildKernels(build_ext):
    """Builds what can be built."""

    def get_output_mapping(self) -> dict[str, str]:
        """Return the files built: a strict editable install links them and fails where one is missing."""
        return {built: source for built, source in super().get_output_mapping().items() if Path(built).exists()}


setup(
    name="caffe-compat",
    version=VERSION,
    description="Run, convert, train and verify legacy Caffe networks on PyTorch, number for number.",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8") if (ROOT / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=BASE + ENGINE + PORTS + APPLICATION,
    package_dir={
        "caffe_compat_base": "models/caffe_compat_base",
        "lq_emotion": "models/lq_emotion",
        "lq_emotion.prototxt": "prototxt",
    },
    include_package_data=False,
    ext_modules=[KERNELS],
    cmdclass={"build_ext": BuildKernels},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
    package_data={
        "caffe_compat": ["py.typed"],
        "caffe_compat_base": ["py.typed"],
        "caffe_compat.schema": ["*.proto", "*.pyi"],
        "lq_emotion": ["py.typed"],
        "lq_emotion.nets.known": ["*.toml"],
        "lq_emotion.prototxt": ["**/*.prototxt"],
        "lq_emotion.studies.robust_lq.recipes": ["*.toml"],
        "matlab_ports": ["py.typed"],
    },
    install_requires=REQUIRES,
    extras_require={
        "video": VIDEO,
        "fast": FAST,
        "lmdb": LMDB,
        "leveldb": LEVELDB,
        "export": EXPORT,
        "int8": INT8,
        "trust": TRUST,
        "parquet": PARQUET,
        "search": SEARCH,
        "lq-emotion": LQ_EMOTION + VIDEO + FAST + TRUST + SEARCH,
        "docs": DOCS,
        "dev": DEV + DOCS + LQ_EMOTION + TRUST + SEARCH + VIDEO + FAST + LMDB + LEVELDB + INT8 + PARQUET,
    },
    entry_points={
        "console_scripts": [
            "caffe-compat = caffe_compat.entry:caffe_compat",
            "lq-emotion = lq_emotion.entry:main",
        ]
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    zip_safe=False,
)
