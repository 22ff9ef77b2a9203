# SPDX-License-Identifier: LGPL-2.1-or-later
"""libhandshake, bound with ctypes: the public functions and nothing else."""

import ctypes
import os
import pathlib
from ctypes import c_char_p, c_int, c_int64, c_short, c_size_t, c_ssize_t, c_uint, c_uint32, c_uint64, \
    c_void_p

ROOT = pathlib.Path(__file__).resolve().parents[2]

CLIENT, SERVER = 1, 2
OUTCOMES = ("pending", "established", "untouched", "poisoned")
RECORDS = {None: 0, "kernel": 1, "relay": 2}


def _load():
    # A library with a sanitizer in it cannot be loaded into this Python: always the plain one.
    path = os.environ.get("HANDSHAKE_LIBRARY")
    if not path:
        build = ROOT / os.environ.get("HANDSHAKE_BUILD", "build")
        if build.name != "build" and any(w in build.name for w in ("address", "thread")):
            build = ROOT / "build"
        path = build / "lib" / "libhandshake.so.1"
    library = ctypes.CDLL(str(path), use_errno=True)
    p = ctypes.POINTER
    for name, result, *arguments in (
        ("handshake_new", c_void_p),
        ("handshake_free", None, c_void_p),
        ("handshake_set_role", c_int, c_void_p, c_int),
        ("handshake_set_profile", c_int, c_void_p, c_char_p),
        ("handshake_set_peer_name", c_int, c_void_p, c_char_p),
        ("handshake_set_psk_identity", c_int, c_void_p, c_char_p),
        ("handshake_set_alpn", c_int, c_void_p, c_char_p),
        ("handshake_set_timeout", c_int, c_void_p, c_uint32),
        ("handshake_set_records", c_int, c_void_p, c_int),
        ("handshake_require_client_certificate", c_int, c_void_p),
        ("handshake_set_early_data", c_int, c_void_p, c_char_p, c_size_t),
        ("handshake_set_resume", c_int, c_void_p, c_int),
        ("handshake_perform", c_int, c_void_p, c_char_p, c_int),
        ("handshake_client_new", c_void_p, c_char_p),
        ("handshake_client_free", None, c_void_p),
        ("handshake_client_fd", c_int, c_void_p),
        ("handshake_client_events", c_short, c_void_p),
        ("handshake_client_start", c_int, c_void_p, c_void_p, c_int),
        ("handshake_client_process", c_int, c_void_p, p(c_void_p)),
        ("handshake_client_cancel", c_int, c_void_p, c_void_p),
        ("handshake_listener_new", c_void_p, c_char_p, c_void_p, c_int),
        ("handshake_listener_free", None, c_void_p),
        ("handshake_listener_fd", c_int, c_void_p),
        ("handshake_listener_accept", c_int, c_void_p, p(c_void_p), p(c_int)),
        ("handshake_outcome", c_int, c_void_p),
        ("handshake_error", c_char_p, c_void_p),
        ("handshake_failure_errno", c_int, c_void_p),
        ("handshake_may_retry", c_int, c_void_p),
        ("handshake_result", c_char_p, c_void_p, c_char_p, c_size_t),
        ("handshake_result_at", c_int, c_void_p, c_size_t, p(c_char_p), p(c_char_p)),
        ("handshake_peer_chain", c_char_p, c_void_p),
        ("handshake_early_data", c_void_p, c_void_p, p(c_size_t)),
        ("handshake_early_data_accepted", c_int, c_void_p),
        ("handshake_recv", c_ssize_t, c_void_p, c_int, c_void_p, c_size_t),
        ("handshake_send", c_ssize_t, c_void_p, c_int, c_char_p, c_size_t),
        ("handshake_sendfile", c_ssize_t, c_void_p, c_int, c_int, p(c_int64), c_size_t),
        ("handshake_close_notify", c_int, c_void_p, c_int),
        ("handshake_update_keys", c_int, c_void_p, c_int, c_uint),
        ("handshake_set_update_after", c_int, c_void_p, c_uint64),
        ("handshake_token", c_char_p, c_void_p),
        ("handshake_answer_later", c_int, c_void_p, c_int),
        ("handshake_adopt", c_int, c_void_p, c_char_p, c_int, c_char_p),
    ):
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library


_library = None


def lib():
    global _library
    if _library is None:
        _library = _load()
    return _library


def _encode(value):
    return None if value is None else str(value).encode()


def _error(sentence=""):
    number = ctypes.get_errno()
    return OSError(number, sentence or os.strerror(number))


class Handshake:
    """One handshake: the request, its result, the companion of its connection."""

    def __init__(self, role=None, profile=None, peer_name=None, alpn=None, timeout_ms=None,
                 records=None, client_certificate=False, resume=True, pointer=None, psk_identity=None):
        self.pointer = pointer or lib().handshake_new()
        if role is not None:
            self._check(lib().handshake_set_role(self.pointer, role))
        if profile is not None:
            self._check(lib().handshake_set_profile(self.pointer, _encode(profile)))
        if peer_name is not None:
            self._check(lib().handshake_set_peer_name(self.pointer, _encode(peer_name)))
        if psk_identity is not None:
            self._check(lib().handshake_set_psk_identity(self.pointer, _encode(psk_identity)))
        if alpn is not None:
            self._check(lib().handshake_set_alpn(self.pointer, _encode(alpn)))
        if timeout_ms is not None:
            self._check(lib().handshake_set_timeout(self.pointer, timeout_ms))
        if records is not None:
            self._check(lib().handshake_set_records(self.pointer, RECORDS[records]))
        if not resume:
            self._check(lib().handshake_set_resume(self.pointer, 0))
        if client_certificate:
            self._check(lib().handshake_require_client_certificate(self.pointer))

    def _check(self, result):
        if result < 0:
            raise _error(self.error)
        return result

    def free(self):
        if self.pointer:
            lib().handshake_free(self.pointer)
            self.pointer = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.free()

    def perform(self, path, fd):
        """0, or -1: look at outcome, error and errno."""
        return lib().handshake_perform(self.pointer, _encode(path), fd)

    @property
    def outcome(self):
        return OUTCOMES[lib().handshake_outcome(self.pointer)]

    @property
    def error(self):
        return lib().handshake_error(self.pointer).decode()

    @property
    def errno(self):
        return lib().handshake_failure_errno(self.pointer)

    @property
    def may_retry(self):
        return bool(lib().handshake_may_retry(self.pointer))

    def get(self, key, n=0):
        value = lib().handshake_result(self.pointer, key.encode(), n)
        return None if value is None else value.decode()

    def __getitem__(self, key):
        value = self.get(key)
        if value is None:
            raise KeyError(key)
        return value

    def results(self):
        key, value = c_char_p(), c_char_p()
        found = []
        while lib().handshake_result_at(self.pointer, len(found), ctypes.byref(key),
                                        ctypes.byref(value)) == 1:
            found.append((key.value.decode(), value.value.decode()))
        return found

    @property
    def chain(self):
        value = lib().handshake_peer_chain(self.pointer)
        return None if value is None else value.decode()

    def set_early_data(self, data):
        self._check(lib().handshake_set_early_data(self.pointer, data, len(data)))

    @property
    def early_data(self):
        size = c_size_t()
        data = lib().handshake_early_data(self.pointer, ctypes.byref(size))
        return ctypes.string_at(data, size.value) if data else None

    @property
    def early_data_accepted(self):
        return bool(lib().handshake_early_data_accepted(self.pointer))

    def recv(self, fd, size=65536):
        buffer = ctypes.create_string_buffer(size)
        count = lib().handshake_recv(self.pointer, fd, buffer, size)
        if count < 0:
            raise _error(self.error)
        return buffer.raw[:count]

    def send(self, fd, data):
        count = lib().handshake_send(self.pointer, fd, bytes(data), len(data))
        if count < 0:
            raise _error(self.error)
        return count

    def sendall(self, fd, data):
        view = memoryview(data)
        while view:
            view = view[self.send(fd, bytes(view[:1 << 20])):]

    def sendfile(self, fd, file_fd, offset, count):
        """Returns (sent, the new offset)."""
        position = c_int64(offset)
        sent = lib().handshake_sendfile(self.pointer, fd, file_fd, ctypes.byref(position), count)
        if sent < 0:
            raise _error(self.error)
        return sent, position.value

    def close_notify(self, fd):
        if lib().handshake_close_notify(self.pointer, fd) < 0:
            raise _error(self.error)

    def update_keys(self, fd, ask=False):
        if lib().handshake_update_keys(self.pointer, fd, 1 if ask else 0) < 0:
            raise _error(self.error)

    def set_update_after(self, records):
        self._check(lib().handshake_set_update_after(self.pointer, records))

    def adopt(self, path, fd, token):
        self._check(lib().handshake_adopt(self.pointer, _encode(path), fd, _encode(token)))

    def answer_later(self, yes=True):
        self._check(lib().handshake_answer_later(self.pointer, int(yes)))

    @property
    def token(self):
        value = lib().handshake_token(self.pointer)
        return None if value is None else value.decode()

    def __repr__(self):
        if not self.pointer:
            return "<freed>"
        return f"<{self.outcome} {self.error!r} {self.results()}>"


class Client:
    """The asynchronous client: many handshakes under way on one connection to the daemon."""

    def __init__(self, path):
        self.pointer = lib().handshake_client_new(_encode(path))
        if not self.pointer:
            raise _error()
        self.under_way = {}

    def fileno(self):
        return lib().handshake_client_fd(self.pointer)

    @property
    def events(self):
        return lib().handshake_client_events(self.pointer)

    def start(self, handshake, fd):
        if lib().handshake_client_start(self.pointer, handshake.pointer, fd) < 0:
            raise _error(handshake.error)
        self.under_way[handshake.pointer] = handshake

    def process(self):
        """The next handshake that ended, or None. ConnectionError: the daemon is gone."""
        pointer = c_void_p()
        result = lib().handshake_client_process(self.pointer, ctypes.byref(pointer))
        if result < 0:
            raise ConnectionError(ctypes.get_errno(), "the daemon is gone")
        return self.under_way.pop(pointer.value) if result == 1 else None

    def cancel(self, handshake):
        if lib().handshake_client_cancel(self.pointer, handshake.pointer) < 0:
            raise _error(handshake.error)
        self.under_way.pop(handshake.pointer, None)

    def free(self):
        if self.pointer:
            lib().handshake_client_free(self.pointer)
            self.pointer = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.free()


class Listener:
    """Established connections out of a listening socket."""

    def __init__(self, path, request, listening_fd):
        self.pointer = lib().handshake_listener_new(_encode(path), request.pointer, listening_fd)
        if not self.pointer:
            raise _error(request.error)

    def fileno(self):
        return lib().handshake_listener_fd(self.pointer)

    def accept(self):
        """(handshake, fd), or None when nothing waits."""
        pointer, fd = c_void_p(), c_int(-1)
        result = lib().handshake_listener_accept(self.pointer, ctypes.byref(pointer),
                                                 ctypes.byref(fd))
        if result < 0:
            raise _error()
        return (Handshake(pointer=pointer.value), fd.value) if result == 1 else None

    def free(self):
        if self.pointer:
            lib().handshake_listener_free(self.pointer)
            self.pointer = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.free()
