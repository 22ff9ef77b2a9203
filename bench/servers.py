# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon, and the servers that are measured beside it: all on loopback, with the same certificate and
AES-128-GCM with X25519 alone. Each has a port, and parts: what its processes are, by their ids."""

import os
import pathlib
import subprocess
import time

from processes import descendants, first_line, free_port, start, stop, wait_for_port

TOP = pathlib.Path(__file__).resolve().parent.parent
BIN = TOP / "build" / "bin"
BENCH = TOP / "build" / "bench"
PRIORITIES = "NONE:+VERS-TLS{}:+AES-128-GCM:+AEAD:{}+GROUP-X25519:+SIGN-ALL:+CTYPE-X509"


def priorities(version):
    return PRIORITIES.format(version, "" if version == "1.3" else "+ECDHE-ECDSA:+ECDHE-RSA:")


class Place:
    """A directory with what all of them use: certificates and files to serve."""

    def __init__(self, directory):
        self.directory = directory
        self.root = directory / "root"
        self.root.mkdir(mode=0o755)
        for kind, options in (("ecdsa", ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]), ("rsa", ["rsa:2048"])):
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", *options, "-nodes", "-days", "30", "-subj",
                 "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", self.key(kind), "-out",
                 self.certificate(kind)], check=True, capture_output=True)
            self.key(kind).chmod(0o600)
            both = directory / f"{kind}.both"
            both.write_bytes(self.key(kind).read_bytes() + self.certificate(kind).read_bytes())
            both.chmod(0o600)
        # Younger files may have changed while they are read: the daemon would read them once more.
        time.sleep(2)

    def certificate(self, kind="ecdsa"):
        return self.directory / f"{kind}.pem"

    def key(self, kind="ecdsa"):
        return self.directory / f"{kind}.key"

    def file(self, size):
        """A file of so many bytes to be served; its name is its size."""
        path = self.root / str(size)
        if not path.exists():
            path.write_bytes(os.urandom(size))
            path.chmod(0o644)
        return path

    def index(self):
        """What is served as /: 1 KiB."""
        path = self.root / "index.html"
        if not path.exists():
            path.write_bytes(b"x" * 1023 + b"\n")
            path.chmod(0o644)

    def write(self, name, text):
        path = self.directory / name
        path.write_text(text, encoding="utf-8")
        return path


class Server:
    """One that is measured. Subclasses set process and port."""

    name = ""
    process = None
    port = 0
    backend = None

    @property
    def parts(self):
        found = {pid: "program" for pid in descendants(self.process.pid)}
        if self.backend:
            found |= {pid: "backend" for pid in self.backend.parts}
        return found

    def stop(self):
        stop(self.process)
        if self.backend:
            self.backend.stop()


class Daemon(Server):
    """handshaked with a profile for each kind of certificate."""

    name = "handshaked"

    def __init__(self, place, workers=1, certificates=None):
        """certificates: a directory of them, for a profile "many"."""
        number = len(list(place.directory.glob("daemon-*")))
        self.directory = place.directory / f"daemon-{number}"
        self.directory.mkdir(mode=0o755)
        self.socket = self.directory / "socket"
        text = f"""[daemon]
workers = {workers}
socket = {self.socket}
{"user = nobody" if os.geteuid() == 0 else ""}
handshakes-total = 32768
handshakes-per-user = 32768
relayed-total = 32768
relayed-per-user = 32768
"""
        for kind in ("ecdsa", "rsa"):
            for version in ("1.3", "1.2"):
                text += f"""[profile {kind}-{version}]
role = server
certificate = {place.certificate(kind)}
private-key = {place.key(kind)}
min-version = TLS{version}
ciphers = AES-128-GCM
timeout-ms = 120000
"""
        if certificates:
            text += f"""[profile many]
role = server
certificate-directory = {certificates}
min-version = TLS1.3
ciphers = AES-128-GCM
"""
        config = self.directory / "handshaked.conf"
        config.write_text(text, encoding="utf-8")
        self.log = self.directory / "log"
        began = time.monotonic()
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = start([BIN / "handshaked", "--foreground", "--config", config], stderr=log)
        while not self.socket.exists():
            if self.process.poll() is not None or time.monotonic() > began + 120:
                raise SystemExit(f"bench: the daemon did not start:\n{self.log.read_text()}")
            time.sleep(0.005)
        self.start_seconds = time.monotonic() - began
        self.environment = dict(os.environ, HANDSHAKED_SOCKET=str(self.socket))
        time.sleep(0.3)

    @property
    def parts(self):
        found = {}
        for pid in descendants(self.process.pid):
            line = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            found[pid] = ("relay" if b"--relay" in line else "signer" if b"--signer" in line
                          else "supervisor" if pid == self.process.pid else "worker")
        return found


class Bare(Server):
    """A program of bench/ that prints its port."""

    def __init__(self, command, environment=None):
        self.process = start(command, stdout=subprocess.PIPE, text=True, env=environment)
        self.port = int(first_line(self.process, command[0]))


class RateServer(Bare):
    """bench/rate-server: handshakes and nothing else. mode: gnutls, listen or handshake."""

    def __init__(self, place, mode, daemon=None, kind="ecdsa", version="1.3", profile=None, tickets=False):
        self.name = mode
        self.daemon = None if mode == "gnutls" else daemon
        super().__init__(
            [BENCH / "rate-server", "--mode", mode, "--profile", profile or f"{kind}-{version}", "--certificate",
             place.certificate(kind), "--key", place.key(kind), "--priorities",
             priorities(version) + ":%SERVER_PRECEDENCE", *(["--tickets"] if tickets else [])],
            daemon.environment if daemon else None)
        time.sleep(0.2)

    @property
    def parts(self):
        return {self.process.pid: "program"} | (self.daemon.parts if self.daemon else {})


class FileServer(Bare):
    """bench/file-server: the least that can send files. mode: plain, gnutls or kernel."""

    def __init__(self, place, mode, kind="ecdsa"):
        self.name = {"plain": "plain TCP", "gnutls": "GnuTLS in process", "kernel": "bare kernel TLS"}[mode]
        self.plain = mode == "plain"
        super().__init__([BENCH / "file-server", "--mode", mode, "--root", place.root, "--certificate",
                          place.certificate(kind), "--key", place.key(kind)])


class Serve(Server):
    """handshake serve, with the daemon's processes."""

    def __init__(self, place, daemon, kind="ecdsa", records=None):
        self.name = "handshake serve" + (f", {records}" if records else "")
        self.daemon = daemon
        self.port = free_port()
        self.process = start(
            [BIN / "handshake", "serve", "--listen", f"127.0.0.1:{self.port}", "--root", place.root, "--profile",
             f"{kind}-1.3", "--quiet", *(["--records", records] if records else [])], env=daemon.environment)
        wait_for_port(self.port, self.process, self.name)

    @property
    def parts(self):
        return {self.process.pid: "program"} | self.daemon.parts


class Nginx(Server):
    """records: user, kernel, or plain for no TLS at all."""

    def __init__(self, place, records="user", kind="ecdsa"):
        self.name = {"user": "nginx", "kernel": "nginx, kernel TLS", "plain": "nginx, plain"}[records]
        self.port = free_port()
        ktls = "ssl_conf_command Options KTLS;" if records == "kernel" else ""
        tls = "" if records == "plain" else f"""
        ssl_certificate {place.certificate(kind)};
        ssl_certificate_key {place.key(kind)};
        ssl_protocols TLSv1.3;
        ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
        {ktls}
        ssl_ecdh_curve X25519;
        ssl_session_tickets off;
        ssl_session_cache off;"""
        temporary = "\n".join(f"    {name}_temp_path {place.directory}/nginx-{name};"
                              for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        config = place.write(f"nginx-{self.port}.conf", f"""worker_processes 1;
daemon off;
pid {place.directory}/nginx-{self.port}.pid;
error_log stderr;
{"user www-data;" if os.geteuid() == 0 else ""}
events {{ worker_connections 16384; }}
http {{
    access_log off;
    default_type application/octet-stream;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
{temporary}
    server {{
        listen 127.0.0.1:{self.port}{"" if records == "plain" else " ssl"} backlog=4096;{tls}
        root {place.root};
    }}
}}
""")
        self.log = place.directory / f"nginx-{self.port}.log"
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = start(["/usr/sbin/nginx", "-c", config, "-p", place.directory, "-e", self.log],
                                 stderr=log)
        wait_for_port(self.port, self.process, self.name)


class Stunnel(Server):
    """In front of nginx without TLS."""

    name = "stunnel + nginx"

    def __init__(self, place, kind="ecdsa"):
        self.backend = Nginx(place, "plain")
        self.port = free_port()
        config = place.write(f"stunnel-{self.port}.conf", f"""foreground = yes
debug = crit
pid =
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
[bench]
accept = 127.0.0.1:{self.port}
connect = 127.0.0.1:{self.backend.port}
cert = {place.certificate(kind)}
key = {place.key(kind)}
sslVersionMin = TLSv1.3
ciphersuites = TLS_AES_128_GCM_SHA256
curves = X25519
options = NO_TICKET
TIMEOUTclose = 0
""")
        self.process = start(["stunnel4", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for_port(self.port, self.process, self.name)


class Hitch(Server):
    """In front of nginx without TLS."""

    name = "hitch + nginx"

    def __init__(self, place, kind="ecdsa"):
        self.backend = Nginx(place, "plain")
        self.port = free_port()
        config = place.write(f"hitch-{self.port}.conf", f"""frontend = "[127.0.0.1]:{self.port}"
backend = "[127.0.0.1]:{self.backend.port}"
pem-file = "{place.directory / (kind + ".both")}"
tls-protos = TLSv1.3
ciphersuites = "TLS_AES_128_GCM_SHA256"
ecdh-curve = "X25519"
workers = 1
backlog = 4096
daemon = off
quiet = on
{'user = "nobody"' if os.geteuid() == 0 else ""}
""")
        self.process = start(["/usr/sbin/hitch", f"--config={config}"], stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
        wait_for_port(self.port, self.process, self.name)


class GnutlsServ(Server):
    """GnuTLS's own test server; it answers with a page about the connection."""

    name = "gnutls-serv"

    def __init__(self, place, kind="ecdsa"):
        self.port = free_port()
        self.process = start(
            ["gnutls-serv", "--http", "--quiet", "--noticket", "--disable-client-cert", "-p", self.port,
             "--x509certfile", place.certificate(kind), "--x509keyfile", place.key(kind), "--priority",
             priorities("1.3")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for_port(self.port, self.process, self.name)
