// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Names of TLS's numbers, for who reads a trace. Touches nothing. Decides nothing: what has no name here
 * may well be in use.
 */
#include "tls-names.h"

#include <stddef.h>

#include "suite-names.h"

struct name {
	uint16_t number;
	const char *name;
};

static const struct name groups[] = {
    {19, "secp192r1"},
    {21, "secp224r1"},
    {22, "secp256k1"},
    {23, "SECP256R1"},
    {24, "SECP384R1"},
    {25, "SECP521R1"},
    {26, "brainpoolP256r1"},
    {27, "brainpoolP384r1"},
    {28, "brainpoolP512r1"},
    {29, "X25519"},
    {30, "X448"},
    {256, "FFDHE2048"},
    {257, "FFDHE3072"},
    {258, "FFDHE4096"},
    {259, "FFDHE6144"},
    {260, "FFDHE8192"},
    {512, "MLKEM512"},
    {513, "MLKEM768"},
    {514, "MLKEM1024"},
    {4587, "SecP256r1MLKEM768"},
    {4588, "X25519MLKEM768"},
    {4589, "SecP384r1MLKEM1024"},
    {25497, "X25519Kyber768"},
};

static const struct name schemes[] = {
    {0x0101, "rsa_pkcs1_md5"},
    {0x0201, "rsa_pkcs1_sha1"},
    {0x0202, "dsa_sha1"},
    {0x0203, "ecdsa_sha1"},
    {0x0301, "rsa_pkcs1_sha224"},
    {0x0302, "dsa_sha224"},
    {0x0303, "ecdsa_sha224"},
    {0x0401, "rsa_pkcs1_sha256"},
    {0x0402, "dsa_sha256"},
    {0x0403, "ecdsa_secp256r1_sha256"},
    {0x0501, "rsa_pkcs1_sha384"},
    {0x0502, "dsa_sha384"},
    {0x0503, "ecdsa_secp384r1_sha384"},
    {0x0601, "rsa_pkcs1_sha512"},
    {0x0602, "dsa_sha512"},
    {0x0603, "ecdsa_secp521r1_sha512"},
    {0x0804, "rsa_pss_rsae_sha256"},
    {0x0805, "rsa_pss_rsae_sha384"},
    {0x0806, "rsa_pss_rsae_sha512"},
    {0x0807, "ed25519"},
    {0x0808, "ed448"},
    {0x0809, "rsa_pss_pss_sha256"},
    {0x080a, "rsa_pss_pss_sha384"},
    {0x080b, "rsa_pss_pss_sha512"},
    {0x081a, "ecdsa_brainpoolP256r1tls13_sha256"},
    {0x081b, "ecdsa_brainpoolP384r1tls13_sha384"},
    {0x081c, "ecdsa_brainpoolP512r1tls13_sha512"},
    {0x0904, "mldsa44"},
    {0x0905, "mldsa65"},
    {0x0906, "mldsa87"},
};

static const struct name extensions[] = {
    {0, "server_name"},
    {1, "max_fragment_length"},
    {5, "status_request"},
    {10, "supported_groups"},
    {11, "ec_point_formats"},
    {13, "signature_algorithms"},
    {14, "use_srtp"},
    {15, "heartbeat"},
    {16, "application_layer_protocol_negotiation"},
    {18, "signed_certificate_timestamp"},
    {19, "client_certificate_type"},
    {20, "server_certificate_type"},
    {21, "padding"},
    {22, "encrypt_then_mac"},
    {23, "extended_master_secret"},
    {27, "compress_certificate"},
    {28, "record_size_limit"},
    {34, "delegated_credential"},
    {35, "session_ticket"},
    {41, "pre_shared_key"},
    {42, "early_data"},
    {43, "supported_versions"},
    {44, "cookie"},
    {45, "psk_key_exchange_modes"},
    {47, "certificate_authorities"},
    {48, "oid_filters"},
    {49, "post_handshake_auth"},
    {50, "signature_algorithms_cert"},
    {51, "key_share"},
    {0xfe0d, "encrypted_client_hello"},
    {0xff01, "renegotiation_info"},
};

static const struct name versions[] = {
    {0x0002, "SSL2"},   {0x0300, "SSL3"},   {0x0301, "TLS1.0"},
    {0x0302, "TLS1.1"}, {0x0303, "TLS1.2"}, {0x0304, "TLS1.3"},
};

/* The last is what GnuTLS calls a ServerHello that is a HelloRetryRequest. */
static const struct name messages[] = {
    {0, "HelloRequest"},
    {1, "ClientHello"},
    {2, "ServerHello"},
    {4, "NewSessionTicket"},
    {5, "EndOfEarlyData"},
    {8, "EncryptedExtensions"},
    {11, "Certificate"},
    {12, "ServerKeyExchange"},
    {13, "CertificateRequest"},
    {14, "ServerHelloDone"},
    {15, "CertificateVerify"},
    {16, "ClientKeyExchange"},
    {20, "Finished"},
    {22, "CertificateStatus"},
    {23, "SupplementalData"},
    {24, "KeyUpdate"},
    {25, "CompressedCertificate"},
    {1025, "HelloRetryRequest"},
};

static const struct name records[] = {
    {20, "change_cipher_spec"}, {21, "alert"},     {22, "handshake"},
    {23, "application_data"},   {24, "heartbeat"},
};

static const char *name_find(const struct name *names, size_t count, unsigned number)
{
	for (size_t i = 0; i < count; i++)
		if (names[i].number == number)
			return names[i].name;
	return NULL;
}

#define NAME_FIND(names, number) name_find(names, sizeof(names) / sizeof((names)[0]), number)

const char *tls_suite_name(uint16_t number)
{
	/* Signalling values, which are no suites: RFC 5746, 3.3 and RFC 7507. */
	if (number == 0x00ff)
		return "TLS_EMPTY_RENEGOTIATION_INFO_SCSV";
	if (number == 0x5600)
		return "TLS_FALLBACK_SCSV";
	for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++)
		if (suites[i].number == number)
			return suites[i].name;
	return NULL;
}

const char *tls_group_name(uint16_t number)
{
	return NAME_FIND(groups, number);
}

const char *tls_scheme_name(uint16_t number)
{
	return NAME_FIND(schemes, number);
}

const char *tls_extension_name(uint16_t number)
{
	return NAME_FIND(extensions, number);
}

const char *tls_version_name(uint16_t number)
{
	return NAME_FIND(versions, number);
}

const char *tls_message_name(unsigned type)
{
	return NAME_FIND(messages, type);
}

const char *tls_record_name(uint8_t type)
{
	return NAME_FIND(records, type);
}

bool tls_is_grease(uint16_t number)
{
	return (number & 0x0f0f) == 0x0a0a && number >> 8 == (number & 0xff);
}
