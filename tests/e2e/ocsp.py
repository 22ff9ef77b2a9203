# SPDX-License-Identifier: LGPL-2.1-or-later
"""OCSP responses for the certificates of pki.py, made when the tests run."""

import base64
import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

HOUR = datetime.timedelta(hours=1)
STATUS = {"good": ocsp.OCSPCertStatus.GOOD, "revoked": ocsp.OCSPCertStatus.REVOKED,
          "unknown": ocsp.OCSPCertStatus.UNKNOWN}


def response(pki, certificate, status="good", begins=-1, ends=24, issuer=None, responder=None,
             algorithm=None, next_update=True):
    """DER. begins, ends: hours from now. responder: (certificate, key) that signs; default: the
    issuer, which is the intermediate unless said otherwise."""
    issuer = issuer or pki.intermediate
    signer, key = responder or (issuer.certificate, issuer.key)
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=certificate, issuer=issuer.certificate, algorithm=algorithm or hashes.SHA1(),
        cert_status=STATUS[status], this_update=now + begins * HOUR,
        next_update=now + ends * HOUR if next_update else None,
        revocation_time=now - HOUR if status == "revoked" else None,
        revocation_reason=None,
    ).responder_id(ocsp.OCSPResponderEncoding.HASH, signer)
    if responder:
        builder = builder.certificates([signer])
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def error_response():
    return ocsp.OCSPResponseBuilder.build_unsuccessful(
        ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(serialization.Encoding.DER)


def responder(authority, purpose=ExtendedKeyUsageOID.OCSP_SIGNING, **what):
    """A certificate and key for a delegated responder."""
    return authority.issue("Test Responder", names=(), purpose=purpose, **what)


def pem(der):
    text = base64.encodebytes(der).decode()
    return f"-----BEGIN OCSP RESPONSE-----\n{text}-----END OCSP RESPONSE-----\n"


# An extension of certificates that demand a staple (RFC 7633).
MUST_STAPLE = x509.TLSFeature([x509.TLSFeatureType.status_request])

