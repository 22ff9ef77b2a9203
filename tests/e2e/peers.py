# SPDX-License-Identifier: LGPL-2.1-or-later
"""Other TLS programs as peers, each held to exactly one version, cipher and key: curl, openssl and
gnutls-cli as clients; openssl s_server, gnutls-serv and nginx as servers."""

import atexit
import contextlib
import functools
import hashlib
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading

import pytest

from endpoint import in_thread
from scale import die_with_parent, seconds, wait_until

VERSIONS = ("TLS1.3", "TLS1.2")
CIPHERS = ("AES-128-GCM", "AES-256-GCM", "CHACHA20-POLY1305", "AES-128-CCM")
KEYS = ("ecdsa", "rsa", "ed25519")

_OPENSSL_13 = {
    "AES-128-GCM": "TLS_AES_128_GCM_SHA256",
    "AES-256-GCM": "TLS_AES_256_GCM_SHA384",
    "CHACHA20-POLY1305": "TLS_CHACHA20_POLY1305_SHA256",
    "AES-128-CCM": "TLS_AES_128_CCM_SHA256",
}
_OPENSSL_12 = {
    "AES-128-GCM": "AES128-GCM-SHA256",
    "AES-256-GCM": "AES256-GCM-SHA384",
    "CHACHA20-POLY1305": "CHACHA20-POLY1305",
    "AES-128-CCM": "AES128-CCM",
}
_IANA_12 = {
    "AES-128-GCM": "AES_128_GCM_SHA256",
    "AES-256-GCM": "AES_256_GCM_SHA384",
    "CHACHA20-POLY1305": "CHACHA20_POLY1305_SHA256",
    "AES-128-CCM": "AES_128_CCM",
}
# RFC 6655 and RFC 7251 define no ECDHE-RSA suite with CCM.
CASES = [(version, cipher, key) for version in VERSIONS for cipher in CIPHERS for key in KEYS
         if (version, cipher, key) != ("TLS1.2", "AES-128-CCM", "rsa")]


def suite(version, cipher, key):
    """IANA's name of the cipher suite."""
    if version == "TLS1.3":
        return _OPENSSL_13[cipher]
    return f"TLS_ECDHE_{'RSA' if key == 'rsa' else 'ECDSA'}_WITH_{_IANA_12[cipher]}"


def openssl_12(cipher, key):
    return f"ECDHE-{'RSA' if key == 'rsa' else 'ECDSA'}-{_OPENSSL_12[cipher]}"


def openssl_options(version, cipher, key):
    if version == "TLS1.3":
        return ["-tls1_3", "-ciphersuites", _OPENSSL_13[cipher]]
    return ["-tls1_2", "-cipher", openssl_12(cipher, key)]


def gnutls_priority(version, cipher):
    return f"NORMAL:-VERS-ALL:+VERS-{version}:-CIPHER-ALL:+{cipher}"


def needs(program):
    """The path of the program; the test is skipped without it."""
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin")
    if not path:
        pytest.skip(f"{program} is not installed")
    return path


_EPHEMERAL = pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range")
_given = set()


def free_port():
    """A port for a server: none that a client's connection could be given meanwhile, nor one given before."""
    lowest = max(20000, int(_EPHEMERAL.read_text(encoding="ascii").split()[0]))
    for _ in range(1000):
        port = random.SystemRandom().randrange(10000, lowest)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port
    raise AssertionError(f"no port from 10000 to {lowest} is free")


def is_listening(port):
    """Looks without connecting: some servers count connections. gnutls-serv listens at IPv6 a moment
    before IPv4, where it is met."""
    wanted = f":{port:04X}"
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(wanted) and fields[3] == "0A":
            return True
    return False


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Program:
    """A peer's process in a group of its own, ended with the with-block."""

    def __init__(self, *arguments, port=None, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", subprocess.DEVNULL)
        options.setdefault("stderr", subprocess.PIPE)
        self.port = port
        self.errors = b""
        self.process = subprocess.Popen([str(a) for a in arguments], start_new_session=True,
                                        preexec_fn=die_with_parent, **options)
        if self.process.stderr:
            self.reader = threading.Thread(target=self._read_errors, daemon=True)
            self.reader.start()
        try:
            if port is not None:
                wait_until(self._listens, 20, f"{arguments[0]} on port {port}")
        except BaseException:
            self.end()
            raise

    def _read_errors(self):
        # The end of it is enough: gnutls-serv tells there of every byte that it echoes.
        with contextlib.suppress(ValueError):
            while data := os.read(self.process.stderr.fileno(), 65536):
                self.errors = (self.errors + data)[-20000:]

    def _listens(self):
        if self.process.poll() is not None:
            raise AssertionError(f"it ended with {self.process.returncode}: {self.errors}")
        return is_listening(self.port)

    def end(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stderr:
            self.reader.join(seconds(5))
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


_SHIM = """
#include <stdio.h>
#undef setbuf
void setbuf(FILE *stream, char *buffer) { (void)stream; (void)buffer; }
int setvbuf(FILE *stream, char *buffer, int mode, size_t size)
{
	(void)stream; (void)buffer; (void)mode; (void)size;
	return 0;
}
"""


@functools.lru_cache(maxsize=None)
def _buffered():
    """The environment in which gnutls-cli keeps its output buffered: it writes byte by byte, one
    system call each, which would take most of the time of these tests."""
    directory = tempfile.mkdtemp(prefix="shim-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    if not shutil.which("cc"):
        return None
    subprocess.run(["cc", "-shared", "-fPIC", "-o", f"{directory}/shim.so", "-x", "c", "-"],
                   input=_SHIM.encode(), check=True)
    return {**os.environ, "LD_PRELOAD": f"{directory}/shim.so"}


# ---- Servers ----

def s_server(pki, version, cipher, key, *more, **options):
    port = free_port()
    return Program(needs("openssl"), "s_server", "-quiet", "-accept", f"127.0.0.1:{port}",
                   "-cert", pki.cert(key), "-cert_chain", pki.cert(key), "-key", pki.key(key),
                   *openssl_options(version, cipher, key), *more, port=port, **options)


def gnutls_serv(pki, version, cipher, key, *more, **options):
    port = free_port()
    return Program(needs("gnutls-serv"), "--quiet", "--disable-client-cert", "--port", port,
                   "--priority", gnutls_priority(version, cipher), "--x509certfile",
                   pki.cert(key), "--x509keyfile", pki.key(key), *more, port=port, **options)


class Nginx:
    """One nginx with a port for every case, as HTTP server and as stream proxy before an echo."""

    def __init__(self, directory, pki, root):
        program = needs("nginx")
        self.directory = directory
        self.echo = Echo()
        self.http = {case: free_port() for case in CASES}
        self.stream = {case: free_port() for case in CASES}
        module = pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so")
        if not module.exists():
            pytest.skip("nginx's stream module is not installed (libnginx-mod-stream)")
        servers = {"http": "", "stream": ""}
        for case in CASES:
            version, cipher, key = case
            ciphers = (f"ssl_conf_command Ciphersuites {_OPENSSL_13[cipher]};"
                       if version == "TLS1.3" else f"ssl_ciphers {openssl_12(cipher, key)};")
            tls = (f"ssl_protocols {version.replace('TLS', 'TLSv')}; {ciphers} "
                   f"ssl_certificate {pki.cert(key)}; ssl_certificate_key {pki.key(key)};")
            servers["http"] += (f"server {{ listen 127.0.0.1:{self.http[case]} ssl; {tls} "
                                f"root {root}; }}\n")
            servers["stream"] += (f"server {{ listen 127.0.0.1:{self.stream[case]} ssl; {tls} "
                                  f"proxy_pass 127.0.0.1:{self.echo.port}; }}\n")
        temporary = "".join(f"{name}_temp_path {directory}/{name};\n" for name in
                            ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;\n" if os.geteuid() == 0 else ""
        (directory / "nginx.conf").write_text(
            f"load_module {module};\n{user}worker_processes 1;\ndaemon off;\n"
            f"pid {directory}/pid;\nerror_log {directory}/error.log;\n"
            "events { worker_connections 512; }\n"
            f"http {{\naccess_log off;\n{temporary}{servers['http']}}}\n"
            f"stream {{\n{servers['stream']}}}\n")
        self.program = Program(program, "-p", directory, "-c", directory / "nginx.conf",
                               port=self.stream[CASES[-1]])
        # One that could not bind a port ends only after some attempts.
        try:
            wait_until(lambda: all(map(is_listening, (*self.http.values(), *self.stream.values()))), 5,
                       "nginx on all of its ports")
        except BaseException:
            self.end()
            raise

    def end(self):
        self.program.end()
        self.echo.end()


class Echo:
    """A plain TCP server that sends back what comes, and ends when the other side does."""

    def __init__(self):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listening.accept()
            except OSError:
                return
            in_thread(self._serve, sock)

    @staticmethod
    def _serve(sock):
        with sock:
            while True:
                data = sock.recv(65536)
                if not data:
                    return
                sock.sendall(data)

    def end(self):
        with contextlib.suppress(OSError):
            self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()


# ---- Clients: each fetches /PATH from localhost:PORT, and sends `upload` with PUT if given ----

def curl(pki, port, path, version, cipher, key, upload=None, more=()):
    number = version[3:]
    ciphers = (["--tls13-ciphers", _OPENSSL_13[cipher]] if version == "TLS1.3"
               else ["--ciphers", openssl_12(cipher, key)])
    sending = ["--header", "Expect:", "--upload-file", upload] if upload else []
    done = _run([needs("curl"), "--silent", "--show-error", "--fail", "--http1.1", "--cacert",
                 pki.trust, f"--tlsv{number}", "--tls-max", number, *ciphers, *sending, *more,
                 f"https://localhost:{port}/{path}"])
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def s_client(pki, port, path, version, cipher, key, upload=None, more=()):
    done = _run([needs("openssl"), "s_client", "-quiet",
                 "-connect", f"127.0.0.1:{port}", "-servername", "localhost", "-CAfile",
                 pki.trust, "-verify_return_error", "-verify_hostname", "localhost",
                 *openssl_options(version, cipher, key), *more],
                _http_request(path, upload))
    return _http_body(done)


def gnutls_cli(pki, port, path, version, cipher, key, upload=None, more=()):
    done = _run([needs("gnutls-cli"), "--x509cafile", pki.trust, "--port", port, "--priority",
                 gnutls_priority(version, cipher), "--logfile", "/dev/null", *more, "localhost"],
                _http_request(path, upload), keep_open=True, env=_buffered())
    return _http_body(done)


CLIENTS = {"curl": curl, "s_client": s_client, "gnutls-cli": gnutls_cli}


def _run(arguments, data=None, keep_open=False, env=None):
    """Runs a client. keep_open: its standard input ends only after its output has."""
    process = subprocess.Popen([str(a) for a in arguments], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               start_new_session=True, env=env,
                               preexec_fn=die_with_parent)

    def write():
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(data or b"")
            process.stdin.flush()
            if not keep_open:
                process.stdin.close()

    writer, errors = in_thread(write), in_thread(process.stderr.read)
    killer = threading.Timer(seconds(60), process.kill)
    killer.start()
    try:
        output = process.stdout.read()
        process.wait()
        writer.result(seconds(10))
        return subprocess.CompletedProcess(arguments, process.returncode, output,
                                           errors.result(seconds(10)))
    finally:
        killer.cancel()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for pipe in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(OSError):
                pipe.close()


def _http_request(path, upload):
    body = pathlib.Path(upload).read_bytes() if upload else b""
    head = f"{'PUT' if upload else 'GET'} /{path} HTTP/1.1\r\nHost: localhost\r\n"
    if upload:
        head += f"Content-Length: {len(body)}\r\n"
    return (head + "Connection: close\r\n\r\n").encode() + body


def _http_body(done):
    start = done.stdout.find(b"HTTP/1.1 200")
    assert start >= 0, (done.returncode, done.stdout[:2000], done.stderr[-2000:])
    _, _, body = done.stdout[start:].partition(b"\r\n\r\n")
    return body
