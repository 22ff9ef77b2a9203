/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names of TLS's numbers as IANA's registries have them. NULL: none is known. */
#ifndef TLS_NAMES_H
#define TLS_NAMES_H

#include <stdbool.h>
#include <stdint.h>

const char *tls_suite_name(uint16_t number);
const char *tls_group_name(uint16_t number);
const char *tls_scheme_name(uint16_t number); /* of signatures */
const char *tls_extension_name(uint16_t number);
const char *tls_version_name(uint16_t number); /* "TLS1.3" */
const char *tls_message_name(unsigned type);   /* "ClientHello" */
const char *tls_record_name(uint8_t type);     /* "handshake" */
/* Numbers that clients send so that servers learn to ignore what they do not know (RFC 8701). */
bool tls_is_grease(uint16_t number);

#endif
