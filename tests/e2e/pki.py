# SPDX-License-Identifier: LGPL-2.1-or-later
"""Certificates for the tests, made when the tests run.

One root with an intermediate below it signs nearly everything; a second root is the one that nobody
trusts. Each certificate is a PEM file NAME.pem with its chain behind it and a key NAME.key.
"""

import datetime
import hashlib
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)
SERVER = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
KEYS = ("ecdsa", "rsa", "ed25519")
NAMES = ("localhost", "127.0.0.1", "::1", "*.example.test")


def _key(kind):
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1())


def _digest(key):
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def _general_name(name):
    """A DNS name or an address, or "uri:…" or "email:…"."""
    kind, _, rest = name.partition(":")
    if kind == "uri":
        return x509.UniformResourceIdentifier(rest)
    if kind == "email":
        return x509.RFC822Name(rest)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class Authority:
    """A certification authority: its certificate, its key, and what it signs."""

    def __init__(self, name, parent=None):
        self.key = _key("ecdsa")
        self.parent = parent
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.timezone.utc)
        # Python 3.13 and newer insist on whose key signed (RFC 5280, 4.2.1.1).
        signer = (parent or self).key.public_key()
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(parent.certificate.subject if parent else subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + 3650 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_key_usage(authority=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()),
                           critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer),
                           critical=False)
            .sign(parent.key if parent else self.key, hashes.SHA256())
        )

    def issue(self, name, kind="ecdsa", names=NAMES, purpose=SERVER, begins=-1, ends=365,
              encipher=False, extensions=()):
        """begins, ends: days from now. Returns (certificate, key)."""
        key = _key(kind)
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins * DAY)
            .not_valid_after(now + ends * DAY)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False, encipher=encipher), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False)
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(n) for n in names]), critical=False)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self.key, hashes.SHA256()), key

    def revoke(self, certificates):
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now - DAY)
            .next_update(now + 30 * DAY)
            .add_extension(x509.CRLNumber(1), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False)
        )
        for certificate in certificates:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(certificate.serial_number)
                .revocation_date(now - DAY)
                .build())
        return builder.sign(self.key, hashes.SHA256())

    def chain(self):
        """The certificates between what this authority signs and the root, the root left out."""
        return [self.certificate] + self.parent.chain() if self.parent else []


def _key_usage(authority, encipher=False):
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=encipher,
        data_encipherment=False, key_agreement=False, key_cert_sign=authority,
        crl_sign=authority, encipher_only=False, decipher_only=False)


def pem(*objects):
    return b"".join(o.public_bytes(serialization.Encoding.PEM) for o in objects)


class Pki:
    """All files of the tests below one directory, readable by root alone where they are keys."""

    def __init__(self, directory):
        self.directory = directory
        self.root = Authority("Test Root")
        self.intermediate = Authority("Test Intermediate", self.root)
        self.other = Authority("Other Root")
        self.certificates = {}
        self.trust = self._write("trust.pem", pem(self.root.certificate))
        self.other_trust = self._write("other-trust.pem", pem(self.other.certificate))
        for kind in KEYS:
            self.issue(kind, kind=kind)
            self.issue("client-" + kind, kind=kind, purpose=CLIENT,
                       names=("client.example.test",))
        self.issue("second", names=("second.test",))
        self.issue("third", names=("third.test",))
        self.issue("expired", ends=-1, begins=-30)
        self.issue("not-yet", begins=30)
        self.issue("wrong-purpose", purpose=CLIENT)
        self.issue("wrong-name", names=("elsewhere.test",))
        self.issue("revoked")
        self.issue("untrusted", authority=self.other)
        self.issue("client-expired", purpose=CLIENT, ends=-1, begins=-30)
        self.issue("client-not-yet", purpose=CLIENT, begins=30)
        self.issue("client-wrong-purpose", purpose=SERVER)
        self.issue("client-revoked", purpose=CLIENT)
        self.issue("client-untrusted", purpose=CLIENT, authority=self.other)
        # Every authority of the chain has a list: a strict verifier asks for each.
        self.revocation_list = self._write("revoked.crl", pem(
            self.intermediate.revoke([self.certificates["revoked"],
                                      self.certificates["client-revoked"]]),
            self.root.revoke([])))

    def issue(self, name, authority=None, file=None, **what):
        """Makes a certificate and writes FILE.pem (default: NAME.pem) and its key."""
        authority = authority or self.intermediate
        certificate, key = authority.issue(name, **what)
        file = file or name
        self.certificates[file] = certificate
        self._write(file + ".pem", pem(certificate, *authority.chain()))
        self._write(file + ".key", key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption()), 0o600)
        return certificate

    def export(self, authority, certificate, key):
        """Writes an authority's own certificate and key to these paths, for other programs to sign
        with."""
        self._write(certificate, pem(authority.certificate))
        self._write(key, authority.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption()), 0o600)

    def _write(self, name, data, mode=0o644):
        path = self.directory / name
        path.write_bytes(data)
        path.chmod(mode)
        return path

    def cert(self, name):
        return self.directory / (name + ".pem")

    def key(self, name):
        return self.directory / (name + ".key")

    def public_key_sha256(self, name):
        key = self.certificates[name].public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(key).hexdigest()

    def sha256(self, name):
        return self.certificates[name].fingerprint(hashes.SHA256()).hex()
