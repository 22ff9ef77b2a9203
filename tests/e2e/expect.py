# SPDX-License-Identifier: LGPL-2.1-or-later
"""What every failure must show: to the caller, to the peer, and in the daemon's counters."""

import contextlib

import endpoint
from scale import wait_until

# RFC 8446, 6.2, and RFC 5246, 7.2.
ALERT_WORDS = {
    0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 22: "record_overflow",
    40: "handshake_failure", 42: "bad_certificate", 43: "unsupported_certificate",
    44: "certificate_revoked", 45: "certificate_expired", 46: "certificate_unknown",
    47: "illegal_parameter", 48: "unknown_ca", 49: "access_denied", 50: "decode_error", 70: "protocol_version",
    71: "insufficient_security", 80: "internal_error", 90: "user_canceled",
    112: "unrecognized_name", 113: "bad_certificate_status_response", 116: "certificate_required", 120: "no_application_protocol",
}


def assert_established(reply, version):
    assert reply is not None, "the daemon closed the connection instead of answering"
    assert reply.outcome == "established", reply
    assert reply["version"] == version, reply


def assert_failure(reply, classes, outcome="poisoned", alert=None, direction=None, retry=None):
    """alert: the numbers that are right, None: not looked at."""
    assert reply is not None, "the daemon closed the connection instead of answering"
    assert reply.operation == "reply", reply
    classes = (classes,) if isinstance(classes, str) else classes
    outcome = (outcome,) if isinstance(outcome, str) else outcome
    assert reply.outcome in outcome, reply
    assert reply["class"] in classes, reply
    assert len(reply["error"]) > 10 and "\n" not in reply["error"], reply
    assert reply["retry"] in ("yes", "no"), reply
    if retry is not None:
        assert reply["retry"] == retry, reply
    if alert is not None:
        number = int(reply["alert-number"])
        assert number in alert, reply
        assert reply["alert"] == ALERT_WORDS[number], reply
        assert reply["alert-direction"] == direction, reply
    assert not reply.fds, "a failure came with descriptors"
    assert reply.get("version") is None, "a failure told what was negotiated"


def assert_untouched(reply, classes, ours, theirs, **more):
    """The request was refused, and plain TCP goes on."""
    assert_failure(reply, classes, "untouched", **more)
    assert reply.get("alert") is None, reply
    endpoint.assert_plain(ours, theirs)


@contextlib.contextmanager
def counted_failure(daemon, classes):
    """The daemon counts one failure, of one of these classes, and nothing stays under way."""
    classes = (classes,) if isinstance(classes, str) else classes
    before = daemon.status()
    yield
    def settled():
        now = daemon.status()
        return now if (now["handshakes-failed"] > before["handshakes-failed"] and
                       now["handshakes-under-way"] <= before["handshakes-under-way"]) else None
    after = wait_until(settled, 10, "the failure in the counters")
    assert after["handshakes-failed"] == before["handshakes-failed"] + 1
    assert after["handshakes-established"] == before["handshakes-established"]
    assert sum(after["failed-" + c] - before["failed-" + c] for c in classes) == 1, after
