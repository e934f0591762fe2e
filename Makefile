# make demo                   the paper's experiment in small, on synthetic recordings, in a few minutes
# make sr-demo [IMAGES=folder] train the authors' super-resolution net on images, and show what it does
# make parity                 only the comparisons with what genuine Caffe and MATLAB computed
# make test                   lint, types, import rules, and the default tests
# make test-all               the same with the slow tests, and `make sanitize`
# make sanitize               the compiled kernels under GCC's sanitizers
# make docs                   the documentation as a site with search, in build/site
# make check | bench | proto
#
# PYTHON names the interpreter that creates the environment, VENV the environment's folder.

PYTHON ?= python3
VENV ?= .venv
IMAGES ?=
OUT ?= demo_out
SR_OUT ?= sr_demo_out

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet -c constraints.txt
DEFINITION := setup.py pyproject.toml constraints.txt $(wildcard caffe_compat/kernels/fast/*.[ch] caffe_compat/kernels/fast/*.inc)

.PHONY: help demo sr-demo parity test test-all sanitize no-sanitizers docs check bench proto clean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | sed '/^$$/q'

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# setuptools comes first so that building needs no second, unpinned environment.
$(VENV)/.demo: $(DEFINITION) | $(BIN)/python
	$(PIP) setuptools wheel
	$(PIP) --no-build-isolation -e '.[lq-emotion]'
	@touch $@

$(VENV)/.dev: $(DEFINITION) | $(BIN)/python
	$(PIP) setuptools wheel
	$(PIP) --no-build-isolation -e '.[dev]'
	@touch $@ $(VENV)/.demo

# Without a connection, the demo leaves out the photograph.
demo: $(VENV)/.demo
	-@$(BIN)/lq-emotion models get mini-xception mtcnn
	$(BIN)/lq-emotion demo --out "$(OUT)"

sr-demo: $(VENV)/.demo
	$(BIN)/lq-emotion study sr --out "$(SR_OUT)" $(if $(IMAGES),--images "$(IMAGES)")

# Every file that compares with what another program recorded. Without ../shared, what needs other people's files is skipped.
PARITY := $(addprefix tests/, build/test_authors_nets.py data/test_recorded.py data/test_ssd_data.py export/test_consumers.py \
  export/test_onnx.py export/test_onnx_layers.py export/test_program.py export/test_source.py export/test_tensors.py \
  formats/test_binary.py formats/test_schema.py formats/test_snapshots.py formats/test_text.py kernels/test_records.py \
  layers/test_detection_evaluate.py layers/test_multibox.py layers/test_records.py layers/test_reference.py \
  lq_emotion/metrics/test_regression.py lq_emotion/nets/known lq_emotion/nets/test_head.py lq_emotion/verify/test_engines.py \
  matlab_ports pycaffe/test_recorded.py solver/test_authors_traces.py solver/test_detection.py solver/test_recorded.py \
  solver/test_reference.py)

parity: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto -m 'slow or not slow' $(PARITY)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# pytest's own summary is the last thing printed. A process for each core: many tests wait for processes of their own.
test: check
	$(BIN)/python -m pytest -n auto

test-all: check sanitize
	$(BIN)/python -m pytest -n auto -m 'slow or not slow'

# Bounds, undefined behaviour and races of the kernels, wherever a net, a random one too, runs them. Only this build is
# watched, not torch or Python; ThreadSanitizer does not follow a fork.
FAST := caffe_compat/kernels/fast
SANITIZED := tests/kernels tests/build tests/fuzz/nets
SANITIZERS := $(if $(findstring /,$(shell gcc -print-file-name=libtsan.so 2>&1)),address thread)
sanitize: $(or $(SANITIZERS:%=sanitize-%),no-sanitizers)
no-sanitizers:
	@echo "make sanitize: skipped, for there is no GCC with libasan and libtsan"

build/sanitize/address/_native.abi3.so: SANITIZER := address,undefined -fno-sanitize-recover=all
build/sanitize/thread/_native.abi3.so: SANITIZER := thread
build/sanitize/%/_native.abi3.so: $(wildcard $(FAST)/*.[ch] $(FAST)/*.inc) | $(VENV)/.dev
	@mkdir -p $(@D)
	gcc -shared -fPIC -std=gnu11 -O1 -g -pthread -fno-omit-frame-pointer -fsanitize=$(SANITIZER) \
	  -I"$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include"))')" $(FAST)/*.c -o $@

sanitize-address: PRELOAD := libasan.so
sanitize-thread: PRELOAD := libtsan.so
sanitize-thread: NOT := -k 'not fork and not workers'
sanitize-address sanitize-thread: sanitize-%: build/sanitize/%/_native.abi3.so
	@rm -f $(<D)/report.*
	LD_PRELOAD="$$(gcc -print-file-name=$(PRELOAD)) $$(gcc -print-file-name=libstdc++.so)" KERNELS=$(<D) OMP_NUM_THREADS=2 \
	  ASAN_OPTIONS=detect_leaks=0:log_path=$(<D)/report UBSAN_OPTIONS=print_stacktrace=1:log_path=$(<D)/report \
	  TSAN_OPTIONS=ignore_noninstrumented_modules=1:die_after_fork=0:log_path=$(<D)/report \
	  $(BIN)/python -m pytest -p tests.kernels.sanitized -n auto $(NOT) $(SANITIZED); \
	  code=$$?; ! cat $(<D)/report.* 2>/dev/null && exit $$code

docs: $(VENV)/.dev
	$(BIN)/python -m mkdocs build --strict --quiet -f docs/site/mkdocs.yml
	@echo "build/site/index.html; for the search: $(BIN)/python -m mkdocs serve -f docs/site/mkdocs.yml"

bench: $(VENV)/.dev
	@for file in benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

# The generated module is committed; grpcio-tools 1.62 carries the 4.25 compiler, whose output every supported runtime reads.
proto:
	$(PYTHON) -m venv $(VENV)-proto
	$(VENV)-proto/bin/python -m pip install --quiet 'grpcio-tools==1.62.3' 'setuptools<82'
	$(VENV)-proto/bin/python -m grpc_tools.protoc -I . --python_out=. --pyi_out=. caffe_compat/schema/caffe.proto caffe_compat/schema/forks.proto

clean:
	rm -rf build dist demo_out cloud_demo_out sr_demo_out *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
