# SPDX-License-Identifier: LGPL-2.1-or-later
# handshaked, libhandshake and handshake. "make help" tells the targets.

PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
MODULESDIR ?= $(PREFIX)/lib/modules-load.d
LIBDIR ?= $(PREFIX)/lib
DESTDIR ?=
VERSION := 0.1.0

# SANITIZE=address (with undefined), thread or valgrind builds everything again, beside the plain build.
# SANITIZED leaves out the system-call filter, which such tools cannot live in.
SANITIZE ?=
# Another plain build beside the first: VARIANT=newest for one in tests/vm's newest user space.
VARIANT ?=
B := build$(addprefix -,$(SANITIZE))$(addprefix -,$(VARIANT))
CC ?= cc
PKG_CONFIG ?= pkg-config
Q := $(if $(V),,@)

DAEMON_PACKAGES := gnutls libnl-genl-3.0 libevent_core inih libseccomp libcap-ng lmdb libkeyutils
TOOLS_PACKAGES := libmicrohttpd jansson
have = $(shell $(PKG_CONFIG) --exists $(1) && echo yes)
ifeq ($(call have,libsystemd),yes)
DAEMON_PACKAGES += libsystemd
SYSTEMD := -DHAVE_SYSTEMD
endif

# The signer signs RSA and ECDSA with it, several times faster.
ifeq ($(call have,"libcrypto >= 3.0"),yes)
DAEMON_PACKAGES += libcrypto
OPENSSL := -DHAVE_OPENSSL
endif

CFLAGS ?= -O2 -g
WARNINGS := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
HARDENING := -fstack-protector-strong -fPIC -fvisibility=hidden $(if $(SANITIZE),,-D_FORTIFY_SOURCE=2)
ifeq ($(SANITIZE),address)
SANITIZERS := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -DSANITIZED
else ifeq ($(SANITIZE),thread)
SANITIZERS := -fsanitize=thread -DSANITIZED
else ifeq ($(SANITIZE),valgrind)
SANITIZERS := -DSANITIZED
endif
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE -Iinclude -Ilibhandshake -DVERSION='"$(VERSION)"' $(SYSTEMD) $(OPENSSL) \
	$(WARNINGS) $(HARDENING) $(SANITIZERS) -MMD -MP $(CFLAGS)
# cmocka 2 deprecates assert_in_range for names that cmocka 1 lacks.
UNIT_CFLAGS := -iquote daemon -iquote tools -DCMOCKA_DISABLE_DEPRECATION_WARNINGS
ALL_LDFLAGS = -Wl,-z,relro,-z,now $(SANITIZERS) $(LDFLAGS)
packages = $(shell $(PKG_CONFIG) $(1) $(2))

LIBRARY := $(patsubst %.c,$(B)/obj/%.o,$(wildcard libhandshake/*.c))
PACKETS := libhandshake/descriptors.c libhandshake/message.c
DAEMON := $(patsubst %.c,$(B)/obj/%.o,$(wildcard daemon/*.c) $(PACKETS))
TOOLS := $(patsubst %.c,$(B)/obj/%.o,$(wildcard tools/*.c) $(PACKETS))
PERF := $(patsubst %.c,$(B)/obj/%.o,$(filter-out %/main.c,$(wildcard tools/perf/*.c)) tools/options.c \
	tools/markup.c tools/daemon-status.c $(PACKETS))
UNITS := $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/test-*.c))
BENCHES := $(patsubst bench/%.c,$(B)/bench/%,$(wildcard bench/*.c))
FUZZERS := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/fuzz-*.c))

.PHONY: all help unit units check demo drawings bench bench-upcall fuzzers install lint uninstall clean
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:

all: $(B)/bin/handshaked $(B)/bin/handshake $(B)/bin/handshake-perf $(B)/lib/libhandshake.a $(B)/lib/libhandshake.so.1

help:
	@echo "make          builds $(B)/bin and $(B)/lib (SANITIZE=address|thread, VARIANT=newest: in build-…)"
	@echo "make demo     the main job, on this machine or in a guest with a real kernel"
	@echo "make check    all tests; tests/check --list names the steps"
	@echo "make unit     the unit tests alone"
	@echo "make bench    rates and throughput beside others'; see bench/README.md"
	@echo "make bench-upcall  the kernel's requests by this daemon and by tlshd, in a guest; see bench/upcall.md"
	@echo "make install  to DESTDIR and PREFIX (now $(PREFIX))"
	@echo "make uninstall  removes from there what \"make install\" put there, but no configuration"
	@echo "make clean    everything built, but not what was fetched"

$(B)/obj/daemon/%.o: daemon/%.c
	@mkdir -p $(@D); echo "  CC $@"
	$(Q)$(CC) $(call packages,--cflags,$(DAEMON_PACKAGES)) $(ALL_CFLAGS) -c -o $@ $<

$(B)/obj/libhandshake/%.o: libhandshake/%.c
	@mkdir -p $(@D); echo "  CC $@"
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(B)/obj/tools/%.o: tools/%.c
	@mkdir -p $(@D); echo "  CC $@"
	$(Q)$(CC) $(call packages,--cflags,$(TOOLS_PACKAGES)) $(ALL_CFLAGS) -c -o $@ $<

$(B)/obj/tests/unit/%.o: tests/unit/%.c
	@mkdir -p $(@D); echo "  CC $@"
	$(Q)$(CC) $(call packages,--cflags,$(DAEMON_PACKAGES) cmocka) $(ALL_CFLAGS) $(UNIT_CFLAGS) -c -o $@ $<

$(B)/bin/handshaked: $(DAEMON)
	@mkdir -p $(@D); echo "  LD $@"
	$(Q)$(CC) -o $@ $(DAEMON) $(ALL_LDFLAGS) -pie $(call packages,--libs,$(DAEMON_PACKAGES))

$(B)/bin/handshake: $(TOOLS) $(B)/lib/libhandshake.a
	@mkdir -p $(@D); echo "  LD $@"
	$(Q)$(CC) -o $@ $^ $(ALL_LDFLAGS) -pie $(call packages,--libs,$(TOOLS_PACKAGES)) -ldl

# All of handshake-perf but its main(): the programs of bench/ take out of it what they call.
$(B)/obj/perf.a: $(PERF)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

# A load and what to compare with link the TLS library; the command does not.
$(B)/bin/handshake-perf: $(B)/obj/tools/perf/main.o $(B)/obj/perf.a $(B)/lib/libhandshake.a
	@mkdir -p $(@D); echo "  LD $@"
	$(Q)$(CC) -o $@ $^ $(ALL_LDFLAGS) -pie $(call packages,--libs,gnutls jansson) -lm -lpthread

# One object, so that nothing but the interface can be linked with.
$(B)/lib/libhandshake.a: $(LIBRARY)
	@mkdir -p $(@D); echo "  AR $@"
	$(Q)$(LD) -r -o $(B)/obj/libhandshake.o $(LIBRARY)
	$(Q)objcopy --localize-hidden $(B)/obj/libhandshake.o
	$(Q)rm -f $@ && $(AR) rcs $@ $(B)/obj/libhandshake.o

$(B)/lib/libhandshake.so.1: $(LIBRARY) libhandshake/libhandshake.map
	@mkdir -p $(@D); echo "  LD $@"
	$(Q)$(CC) -shared -o $@ $(LIBRARY) $(ALL_LDFLAGS) -Wl,-soname,libhandshake.so.1 \
		-Wl,--version-script,libhandshake/libhandshake.map -Wl,-z,defs
	$(Q)ln -sf libhandshake.so.1 $(B)/lib/libhandshake.so

# All of the daemon but its main(): a unit test takes out of it what it calls. Objects that a test replaces
# or needs beside it stand in its line "/* links: tests/unit/x.o … */".
$(B)/obj/daemon.a: $(filter-out %/main.o,$(DAEMON))
	$(Q)rm -f $@ && $(AR) rcs $@ $^

links = $(addprefix $(B)/obj/,$(shell sed -n 's|^/\* links: *\(.*\) \*/.*|\1|p' tests/unit/$(1).c))
define unit_rule
$(B)/unit/$(1): $(B)/obj/tests/unit/$(1).o $(call links,$(1)) $(B)/obj/daemon.a
	@mkdir -p $$(@D); echo "  LD $$@"
	$(Q)$(CC) -o $$@ $$^ $$(ALL_LDFLAGS) $$(call packages,--libs,$(DAEMON_PACKAGES) cmocka jansson) -lm -lpthread
endef
$(foreach t,$(notdir $(UNITS)),$(eval $(call unit_rule,$(t))))

units: $(UNITS)

unit: $(UNITS)
	$(Q)tests/unit/run $(UNITS)

$(B)/bench/%: bench/%.c $(B)/obj/perf.a $(B)/lib/libhandshake.a
	@mkdir -p $(@D); echo "  LD $@"
	$(Q)$(CC) $(call packages,--cflags,gnutls jansson) $(ALL_CFLAGS) -iquote tools -o $@ $< $(B)/obj/perf.a \
		$(B)/lib/libhandshake.a $(ALL_LDFLAGS) $(call packages,--libs,gnutls jansson) -lm -lpthread

# libFuzzer comes with clang; each harness includes the .c under test. What that calls comes from the daemon
# as it was built, without sanitizers.
$(B)/fuzz/%: tests/fuzz/%.c $(B)/obj/daemon.a
	@mkdir -p $(@D); echo "  FUZZ $@"
	$(Q)clang -std=gnu11 -D_GNU_SOURCE -Iinclude -Ilibhandshake -iquote daemon -iquote tools -g -O1 -MMD -MP \
		$(call packages,--cflags,gnutls) -fsanitize=fuzzer,address,undefined \
		-fno-sanitize-recover=undefined -o $@ $< $(B)/obj/daemon.a $(call packages,--libs,$(DAEMON_PACKAGES))

fuzzers: $(FUZZERS)

check:
	$(Q)tests/check

lint:
	$(Q)tests/lint

# The examples of the manual, from real handshakes on a kernel with TLS; looks best there.
drawings: all
	$(Q)tests/vm/run --kernel 6.12 --out $(CURDIR)/docs -- docs/draw-handshakes

demo:
	$(Q)demo/run

bench:
	$(Q)bench/run

bench-upcall:
	$(Q)bench/upcall

install: all
	install -D -m 755 $(B)/bin/handshaked $(DESTDIR)$(PREFIX)/sbin/handshaked
	install -D -m 755 $(B)/bin/handshake $(DESTDIR)$(PREFIX)/bin/handshake
	install -D -m 755 $(B)/bin/handshake-perf $(DESTDIR)$(PREFIX)/bin/handshake-perf
	install -D -m 755 $(B)/lib/libhandshake.so.1 $(DESTDIR)$(LIBDIR)/libhandshake.so.1
	ln -sf libhandshake.so.1 $(DESTDIR)$(LIBDIR)/libhandshake.so
	install -D -m 644 $(B)/lib/libhandshake.a $(DESTDIR)$(LIBDIR)/libhandshake.a
	mkdir -p $(DESTDIR)$(LIBDIR)/pkgconfig
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@VERSION@|$(VERSION)|' \
		libhandshake/libhandshake.pc.in > $(DESTDIR)$(LIBDIR)/pkgconfig/libhandshake.pc
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/include include/handshake.h include/handshake-protocol.h
	for page in docs/*.[1-9]; do install -D -m 644 $$page \
		$(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$${page##*/} || exit 1; done
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/handshaked docs/*.md
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/handshaked/handshakes docs/handshakes/*.svg
	test -e $(DESTDIR)$(SYSCONFDIR)/handshaked/handshaked.conf || \
		install -D -m 644 dist/handshaked.conf $(DESTDIR)$(SYSCONFDIR)/handshaked/handshaked.conf
	mkdir -p $(DESTDIR)$(UNITDIR)
	sed 's|@SBINDIR@|$(PREFIX)/sbin|' dist/handshaked.service > $(DESTDIR)$(UNITDIR)/handshaked.service
	install -D -m 644 dist/handshaked.sysusers $(DESTDIR)$(SYSUSERSDIR)/handshaked.conf
	install -D -m 644 dist/handshaked.tmpfiles $(DESTDIR)$(TMPFILESDIR)/handshaked.conf
	install -D -m 644 dist/modules-load.conf $(DESTDIR)$(MODULESDIR)/handshaked.conf
	install -D -m 644 dist/handshake.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/handshake

# What is configured, and what the daemon keeps, stays.
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/sbin/handshaked $(DESTDIR)$(PREFIX)/bin/handshake $(DESTDIR)$(PREFIX)/bin/handshake-perf
	rm -f $(DESTDIR)$(LIBDIR)/libhandshake.so.1 $(DESTDIR)$(LIBDIR)/libhandshake.so $(DESTDIR)$(LIBDIR)/libhandshake.a
	rm -f $(DESTDIR)$(LIBDIR)/pkgconfig/libhandshake.pc
	rm -f $(DESTDIR)$(PREFIX)/include/handshake.h $(DESTDIR)$(PREFIX)/include/handshake-protocol.h
	for page in docs/*.[1-9]; do rm -f $(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$${page##*/}; done
	rm -rf $(DESTDIR)$(PREFIX)/share/doc/handshaked
	rm -f $(DESTDIR)$(UNITDIR)/handshaked.service $(DESTDIR)$(SYSUSERSDIR)/handshaked.conf
	rm -f $(DESTDIR)$(TMPFILESDIR)/handshaked.conf $(DESTDIR)$(MODULESDIR)/handshaked.conf
	rm -f $(DESTDIR)$(PREFIX)/share/bash-completion/completions/handshake

clean:
	rm -rf build/bin build/lib build/obj build/unit build/bench build/fuzz build/check build-address build-thread build-valgrind build-newest

-include $(shell find $(B)/obj $(B)/bench $(B)/fuzz -name "*.d" 2>/dev/null)
