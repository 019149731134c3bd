# SPDX-License-Identifier: Apache-2.0
# make            library and tools in build/<flag set>/bin (build/bin points to the plain set)
# make demo       installs what is missing, builds, runs the pipeline on samples/
# make check      installs what is missing, builds, runs every test; make check-san: the same under ASan and UBSan
# make check-gpu  everything that needs an NVIDIA GPU; MODEL= names a packed model beside the tiny ones, ORIGINAL=, TEXT=, RS_PYTHON= and RS_REFERENCE= what learning is measured against. make ptxas-report: registers and spills of the CUDA kernels on each architecture
# make check-long a real model on the emulated device, minutes; MODEL=, TEXT= name it and a text
# make bench      measures; MODEL=, TEXT= name a model and a text
# make paper      the paper's table on MODEL= with rotations learned on CALIB= and perplexity on TEXT=; samples/paper.sh lists what else can be set
# make outliers   where the outliers of MODEL= are, before and after rotating it: learned on CALIB=, activations on TEXT=; samples/outliers.sh lists what else can be set
# make study      what learning depends on: seeds, rates, recipes, data (hours); tests/study.sh lists its parts
# make update-golden   writes the screens in tests/screen anew and shows what changed
# make install    DESTDIR=, PREFIX=/usr/local
# Variables: CC=clang  SAN=1 (address and undefined sanitizers)  CUDA=0 or NVCC= (leave CUDA out)  CURSES=0 (leave the screens of rs-top out)  V=1 (show commands)  RS_SHARED= (extra test data)

CC = gcc
PREFIX = /usr/local
SAN = 0
CUDA = 1
CUDA_WANT = 75 80 86 89 90 100
CURSES := $(if $(shell pkg-config --exists ncursesw 2>/dev/null && echo yes),1,0)
NVCC := $(or $(shell command -v nvcc 2>/dev/null),$(wildcard /usr/local/cuda/bin/nvcc))
DEBS = gcc g++ make pkg-config libmsgpack-dev libopenblas-dev libncurses-dev libxxhash-dev libpcre2-dev libjansson-dev
LIBS = msgpack openblas libxxhash libpcre2-8 jansson

MAKEFLAGS += --no-print-directory
# of demo, check and the like, where the command line names none
JOBS = $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))
.DEFAULT_GOAL := all
Q := $(if $(V),,@)

# ---- flags; the set of flags names the folder of the objects
WARN = -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings -Wvla -Wformat=2 -Wundef -Wcast-align -Wno-unknown-warning-option
OPT = -O3 -g -ffp-contract=off -fno-math-errno -fno-trapping-math
COMMA := ,
SANFLAGS = $(if $(filter 1,$(SAN)),-fsanitize=address$(COMMA)undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
CFLAGS =
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -I. $(OPT) $(WARN) $(SANFLAGS) -pthread $(PKG_CFLAGS) $(CFLAGS)
ALL_LDLIBS = $(PKG_LIBS) $(CUDA_LIBS) -lm -pthread
# of the kernels that tests run on the processor
CXX = $(if $(findstring clang,$(CC)),clang++,g++)
CXXFLAGS = -std=c++17 -D_GNU_SOURCE -Itests/cuda/twin -I. -O2 -g -ffp-contract=off -fno-exceptions -fno-rtti -fno-threadsafe-statics -Wall -Wextra -Wno-unknown-pragmas -Wno-pass-failed $(SANFLAGS)

NEED_PKG := $(filter-out deps clean help,$(or $(MAKECMDGOALS),all))
ifneq ($(NEED_PKG),)
PKG_CFLAGS := $(shell pkg-config --cflags $(LIBS) 2>/dev/null)
PKG_LIBS := $(shell pkg-config --libs $(LIBS) 2>/dev/null)
endif
CUDA_ALL := $(wildcard kernels/cuda/*.cu)
CUDA_SRC := $(if $(filter-out 0,$(CUDA)),$(if $(NVCC),$(CUDA_ALL)))
ifneq ($(CUDA_SRC),)
# those that this nvcc knows, and code for newer ones from the last
CUDA_ARCHS := $(filter $(CUDA_WANT),$(patsubst compute_%,%,$(shell $(NVCC) --list-gpu-arch)))
CUDA_HOME := $(patsubst %/,%,$(dir $(patsubst %/,%,$(dir $(realpath $(shell command -v $(NVCC)))))))
CUDA_LIBS = -L$(CUDA_HOME)/lib64 -lcudart_static -ldl -lrt
endif
NVCC_FLAGS = -std=c++17 -O3 -fmad=false -ftz=false -prec-div=true -prec-sqrt=true -I. -Xcompiler -fno-exceptions,-fno-threadsafe-statics,-ffp-contract=off -Xptxas -v \
  $(foreach a,$(CUDA_ARCHS),-gencode arch=compute_$(a),code=sm_$(a)) -gencode arch=compute_$(lastword $(CUDA_ARCHS)),code=compute_$(lastword $(CUDA_ARCHS))
SET_FLAGS = $(CC) $(OPT) $(SANFLAGS) $(CFLAGS) cuda:$(if $(CUDA_SRC),$(NVCC) $(NVCC_FLAGS),none)$(if $(filter 0,$(CURSES)), curses:none)
PLAIN := $(if $(filter gcc:0::,$(CC):$(SAN):$(CFLAGS):),1)
SET := $(notdir $(CC))$(if $(filter 1,$(SAN)),-san)$(if $(CUDA_SRC),-cuda)-$(shell printf '%s' '$(SET_FLAGS)' | cksum | cut -d' ' -f1)
B := build/$(SET)

# ---- what there is
FLOORS = formats kernels kernels/cpu transforms quantize inspect
TOOL_SRC := $(wildcard $(addsuffix /rs-*.c,$(FLOORS)))
LIB_SRC := $(filter-out $(TOOL_SRC),$(wildcard $(addsuffix /*.c,$(FLOORS)))) $(if $(CUDA_SRC),,$(wildcard kernels/cuda/none.c)) inspect/curses/$(if $(filter 0,$(CURSES)),none,terminal).c
TEST_SRC := $(wildcard tests/test_*.c)
BENCH_SRC := $(wildcard tests/bench_*.c)
TOOLS := $(addprefix $(B)/bin/,$(basename $(notdir $(TOOL_SRC))))
TESTS := $(TEST_SRC:tests/%.c=$(B)/tests/%)
EMULATED := $(patsubst %.cu,$(B)/emulated/%.o,$(filter-out kernels/cuda/runtime.cu,$(CUDA_ALL))) $(patsubst %.cc,$(B)/emulated/%.o,$(wildcard tests/cuda/*.cc)) $(patsubst %.cu,$(B)/emulated/%.o,$(wildcard tests/cuda/*.cu))
EMULATED_TESTS := $(filter $(B)/tests/test_cuda%,$(TESTS))
FUZZERS := $(patsubst %.c,$(B)/%,$(wildcard tests/fuzz/fuzz_*.c))
BENCHES := $(BENCH_SRC:tests/%.c=$(B)/tests/%)
LIB_OBJ := $(LIB_SRC:%.c=$(B)/%.o) $(CUDA_SRC:%.cu=$(B)/%.cu.o)
COMMIT := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)

.PHONY: all oracle-venv deps demo run-demo check check-san check-gpu check-long ptxas-report bench paper outliers study install clean help tests update-golden FORCE
.SECONDARY:
all: $(TOOLS) $(if $(PLAIN),build/bin)

build/bin: FORCE
	@mkdir -p build $(B)/bin && ln -sfn $(SET)/bin build/bin

$(B)/%.o: %.c
	@mkdir -p $(@D)
	@$(if $(V),,echo '  CC   $<')
	$(Q)$(CC) $(ALL_CFLAGS) $(DEFS) -MMD -MP -c -o $@ $<

# what ptxas says of each kernel is kept beside the object
$(B)/%.cu.o: %.cu
	@mkdir -p $(@D)
	@$(if $(V),,echo '  NVCC $< (sm $(CUDA_ARCHS))')
	$(Q)$(NVCC) $(NVCC_FLAGS) -MMD -MP -c -o $@ $< >$@.ptxas 2>&1 || { cat $@.ptxas; exit 1; }

# the same sources for the processor, and what they stand on there
$(B)/emulated/%.o: %.cu
	@mkdir -p $(@D)
	@$(if $(V),,echo '  CXX  $<')
	$(Q)$(CXX) $(CXXFLAGS) -MMD -MP -x c++ -c -o $@ $<

$(B)/emulated/%.o: %.cc
	@mkdir -p $(@D)
	@$(if $(V),,echo '  CXX  $<')
	$(Q)$(CXX) $(CXXFLAGS) -MMD -MP -c -o $@ $<

$(B)/formats/stage.o: private DEFS = -DRS_COMMIT='"$(COMMIT)"'
$(B)/formats/stage.o: $(B)/commit
$(B)/commit: FORCE
	@mkdir -p $(@D); printf '%s\n' '$(COMMIT)' | cmp -s - $@ || printf '%s\n' '$(COMMIT)' >$@

$(B)/librs.a: $(LIB_OBJ)
	@$(if $(V),,echo '  AR   $@')
	$(Q)rm -f $@ && ar rcs $@ $^ && printf '%s\n' '$(ALL_LDLIBS)' >$(B)/librs.libs

define tool_rule
$(B)/bin/$(basename $(notdir $(1))): $(B)/$(1:.c=.o) $(B)/librs.a
	@mkdir -p $$(@D)
	@$$(if $(V),,echo '  LD   $$(notdir $$@)')
	$$(Q)$$(CC) $$(ALL_CFLAGS) -o $$@ $$^ $$(ALL_LDLIBS)
endef
$(foreach t,$(TOOL_SRC),$(eval $(call tool_rule,$(t))))
ifneq ($(CURSES),0)
$(B)/inspect/curses/terminal.o: private PKG_CFLAGS += $(shell pkg-config --cflags ncursesw)
$(B)/bin/rs-top $(B)/tests/test_terminal: private PKG_LIBS += $(shell pkg-config --libs ncursesw)
endif

$(B)/tests/fuzz/%: $(B)/tests/fuzz/%.o $(B)/tests/fuzz/driver.o $(B)/librs.a
	@$(if $(V),,echo '  LD   $(notdir $@)')
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDLIBS)

# before the library, which has another device
$(EMULATED_TESTS): $(B)/tests/%: $(B)/tests/%.o $(B)/tests/tiny.o $(EMULATED) $(B)/librs.a
	@$(if $(V),,echo '  LD   $(notdir $@)')
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDLIBS)

$(B)/tests/%: $(B)/tests/%.o $(B)/tests/tiny.o $(B)/librs.a
	@$(if $(V),,echo '  LD   $(notdir $@)')
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDLIBS)

# the tools that can use a device, with the emulated one
EMULATED_TOOLS = $(addprefix $(B)/emulated/,rs-eval rs-learn rs-pack rs-stat rs-verify)
$(EMULATED_TOOLS): $(B)/emulated/%: $(EMULATED) $(B)/librs.a
	@$(if $(V),,echo '  LD   $@')
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(ALL_LDLIBS)
$(foreach t,$(TOOL_SRC),$(eval $(B)/emulated/$(basename $(notdir $(t))): $(B)/$(t:.c=.o)))

# tests of the kernels on a real device
GPU_TESTS = $(addprefix $(B)/gpu/,test_cuda test_cuda_grad test_cuda_gptq test_cuda_decoder test_cuda_network test_cuda_layer test_cuda_learn test_cuda_large)
$(GPU_TESTS): $(B)/gpu/%: $(B)/tests/%.o $(B)/tests/tiny.o $(B)/tests/cuda/device.o $(B)/librs.a
	@mkdir -p $(@D)
	@$(if $(V),,echo '  LD   $@')
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDLIBS)

# the runtime's side of the kernels on machines that a test describes
$(B)/tests/test_device: $(B)/tests/test_device.o $(B)/emulated/kernels/cuda/runtime.o $(B)/emulated/tests/cuda/cudart/cudart.o $(B)/emulated/tests/cuda/emulate.o $(B)/librs.a
	@$(if $(V),,echo '  LD   $(notdir $@)')
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDLIBS)

$(B)/gpu/bench_cuda: $(B)/tests/bench_cuda.o $(B)/librs.a
	@mkdir -p $(@D)
	@$(if $(V),,echo '  LD   $@')
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDLIBS)

$(B)/emulated/bench_cuda: $(B)/tests/bench_cuda.o $(EMULATED) $(B)/librs.a
	@$(if $(V),,echo '  LD   $@')
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDLIBS)

tests: all $(TESTS) $(FUZZERS) $(EMULATED_TOOLS) $(B)/emulated/bench_cuda $(if $(CUDA_SRC),$(GPU_TESTS) $(B)/gpu/bench_cuda)

deps:
	@sh tests/deps.sh $(DEBS)

check: deps
	@[ "$$(id -u)" != 0 ] || sh tests/deps.sh tmux || true # for the tests of rs-top on a terminal, which are left out without it
	@$(MAKE) $(JOBS) tests
	@B=$(abspath $(B)) SAN=$(SAN) bash tests/run.sh

check-san:
	@$(MAKE) SAN=1 check

update-golden: tests
	@UPDATE_GOLDEN=1 T=tests $(B)/tests/test_screen_golden
	@git --no-pager diff --stat -- tests/screen

check-gpu: all $(if $(CUDA_SRC),$(GPU_TESTS) $(B)/gpu/bench_cuda)
	@B=$(abspath $(B)) MODEL='$(MODEL)' bash tests/gpu.sh

check-long: tests
	@B=$(abspath $(B)) MODEL='$(MODEL)' TEXT='$(TEXT)' bash tests/long.sh

ptxas-report: $(if $(CUDA_SRC),$(CUDA_SRC:%.cu=$(B)/%.cu.o) all)
	@ARCHS='$(CUDA_ARCHS)' bash tests/ptxas.sh $(CUDA_SRC:%.cu=$(B)/%.cu.o.ptxas)

bench: $(BENCHES) all
	@B=$(abspath $(B)) MODEL='$(MODEL)' TEXT='$(TEXT)' bash tests/bench.sh

paper: deps
	@$(MAKE) $(JOBS) all
	@B=$(abspath $(B)) MODEL='$(MODEL)' CALIB='$(CALIB)' TEXT='$(TEXT)' bash samples/paper.sh

outliers: all
	@B=$(abspath $(B)) MODEL='$(MODEL)' CALIB='$(CALIB)' TEXT='$(TEXT)' bash samples/outliers.sh

study: all
	@B=$(abspath $(B)) MODEL='$(MODEL)' CALIB='$(CALIB)' TEXT='$(TEXT)' bash tests/study.sh

# without CUDA, which it has no use for, and without the time that nvcc takes
demo: deps
	@$(MAKE) $(JOBS) CUDA=0 run-demo

run-demo: all
	@B=$(abspath $(B)) bash samples/demo.sh

oracle-venv:
	@sh tests/oracle-venv.sh

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 755 $(TOOLS) $(DESTDIR)$(PREFIX)/bin
	$(if $(wildcard $(addsuffix /*.1,$(FLOORS))),install -m 644 $(wildcard $(addsuffix /*.1,$(FLOORS))) $(DESTDIR)$(PREFIX)/share/man/man1)

clean:
	rm -rf build

help:
	@sed -n '2,14s/^# //p' Makefile

FORCE:
-include $(shell find $(B) -name '*.d' 2>/dev/null)
