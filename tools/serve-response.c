// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * From a request to a response. Touches files beneath the root, and the HTTP library. Never knows
 * that there is TLS below it: the connection's descriptor takes sendfile as any other.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "serve-condition.h"
#include "serve-file.h"
#include "serve-index.h"
#include "serve-path.h"
#include "serve.h"

#define INDEX_NAME "index.html"

struct answer {
	struct MHD_Connection *http;
	struct serve_connection *connection;
	struct MHD_Response *response; /* NULL: could not be made */
	unsigned int status;
};

static const char *request_field(struct MHD_Connection *http, const char *name)
{
	return MHD_lookup_connection_value(http, MHD_HEADER_KIND, name);
}

static void answer_header(const struct answer *answer, const char *name, const char *value)
{
	if (answer->response)
		MHD_add_response_header(answer->response, name, value);
}

/* Takes the page, memory to be freed. */
static void answer_page(struct answer *answer, unsigned int status, char *page, size_t size,
			const char *type)
{
	answer->status = status;
	answer->connection->length = size;
	answer->response = MHD_create_response_from_buffer(size, page, MHD_RESPMEM_MUST_FREE);
	if (!answer->response)
		free(page);
	answer_header(answer, MHD_HTTP_HEADER_CONTENT_TYPE, type);
}

/* A short page that says the status, for a person. */
static void answer_status(struct answer *answer, unsigned int status)
{
	char *page = NULL;
	int size = asprintf(&page, "%u %s\n", status, MHD_get_reason_phrase_for(status));

	if (size >= 0)
		answer_page(answer, status, page, (size_t)size, "text/plain; charset=utf-8");
}

static void answer_error(struct answer *answer, int error)
{
	switch (error) {
	case -EINVAL:
		answer_status(answer, MHD_HTTP_BAD_REQUEST);
		break;
	case -EXDEV:
	case -EACCES:
		answer_status(answer, MHD_HTTP_FORBIDDEN);
		break;
	case -ENOENT:
	case -ENAMETOOLONG:
		answer_status(answer, MHD_HTTP_NOT_FOUND);
		break;
	case -EMFILE:
	case -ENFILE:
	case -ENOMEM:
		answer_status(answer, MHD_HTTP_SERVICE_UNAVAILABLE);
		answer_header(answer, MHD_HTTP_HEADER_RETRY_AFTER, "1");
		break;
	default:
		answer_status(answer, MHD_HTTP_INTERNAL_SERVER_ERROR);
	}
}

/* Takes the file's descriptor. */
static void answer_file_part(struct answer *answer, const struct serve_file *file,
			     const struct serve_part *part)
{
	struct serve_connection *connection = answer->connection;

	answer->status = part->status;
	answer->response =
	    MHD_create_response_from_fd_at_offset64(part->length, file->fd, part->first);
	if (!answer->response) {
		close(file->fd);
		return;
	}
	connection->length = part->length;
	connection->file_fd = file->fd;
	connection->file_end = part->first + part->length;
	answer_header(answer, MHD_HTTP_HEADER_CONTENT_TYPE, file->type);
	answer_header(answer, "X-Content-Type-Options", "nosniff");
}

/* Takes the file's descriptor. */
static void answer_file(struct answer *answer, const struct serve_file *file)
{
	const struct serve_condition condition = {
	    .if_match = request_field(answer->http, MHD_HTTP_HEADER_IF_MATCH),
	    .if_none_match = request_field(answer->http, MHD_HTTP_HEADER_IF_NONE_MATCH),
	    .if_modified_since = request_field(answer->http, MHD_HTTP_HEADER_IF_MODIFIED_SINCE),
	    .if_unmodified_since = request_field(answer->http, MHD_HTTP_HEADER_IF_UNMODIFIED_SINCE),
	    .range = request_field(answer->http, MHD_HTTP_HEADER_RANGE),
	    .if_range = request_field(answer->http, MHD_HTTP_HEADER_IF_RANGE),
	    .is_get = strcmp(answer->connection->method, MHD_HTTP_METHOD_GET) == 0,
	};
	const struct serve_entity *entity = &file->entity;
	struct serve_part part;
	char text[96];

	serve_condition_judge(&condition, entity, &part);
	if (part.status == MHD_HTTP_OK || part.status == MHD_HTTP_PARTIAL_CONTENT) {
		answer_file_part(answer, file, &part);
	} else if (part.status == MHD_HTTP_NOT_MODIFIED) {
		close(file->fd);
		answer->status = part.status;
		answer->response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
	} else {
		close(file->fd);
		answer_status(answer, part.status);
	}
	if (part.status == MHD_HTTP_PARTIAL_CONTENT) {
		snprintf(text, sizeof(text), "bytes %llu-%llu/%llu", (unsigned long long)part.first,
			 (unsigned long long)(part.first + part.length - 1),
			 (unsigned long long)entity->size);
		answer_header(answer, MHD_HTTP_HEADER_CONTENT_RANGE, text);
	} else if (part.status == MHD_HTTP_RANGE_NOT_SATISFIABLE) {
		snprintf(text, sizeof(text), "bytes */%llu", (unsigned long long)entity->size);
		answer_header(answer, MHD_HTTP_HEADER_CONTENT_RANGE, text);
	}
	if (part.status != MHD_HTTP_PRECONDITION_FAILED) {
		serve_date_write(entity->modified, text);
		answer_header(answer, MHD_HTTP_HEADER_ACCEPT_RANGES, "bytes");
		answer_header(answer, MHD_HTTP_HEADER_ETAG, entity->etag);
		answer_header(answer, MHD_HTTP_HEADER_LAST_MODIFIED, text);
	}
}

/* The links in a directory's page are relative, so its address must end with a slash. The path is
 * written anew: what a client sent, "//host" above all, must not become another site's address. */
static void answer_redirect(struct answer *answer, const struct serve_path *path)
{
	const char *query = strchr(answer->connection->target, '?');
	char link[3 * SERVE_PATH_SIZE + 8];
	bool fits = false;
	_Static_assert(sizeof(link) < 16384, "the link fits the HTTP library's memory");

	if (serve_path_link(path->text, true, link, sizeof(link)) == 0) {
		size_t length = strlen(link);

		fits = snprintf(link + length, sizeof(link) - length, "%s", query ? query : "") <
		       (int)(sizeof(link) - length);
	}
	if (!fits) {
		answer_status(answer, MHD_HTTP_URI_TOO_LONG);
		return;
	}
	answer_status(answer, MHD_HTTP_MOVED_PERMANENTLY);
	answer_header(answer, MHD_HTTP_HEADER_LOCATION, link);
}

/* Takes the directory's descriptor. */
static void answer_directory(struct answer *answer, const struct serve_path *path, int fd)
{
	const int root_fd = answer->connection->serve->root_fd;
	char *page, index[SERVE_PATH_SIZE + sizeof(INDEX_NAME) + 1];
	struct serve_file file = {.fd = -1};
	size_t size;
	int r;

	snprintf(index, sizeof(index), "%s/%s", path->text, INDEX_NAME);
	r = serve_file_open(root_fd, index, &file);
	if (r == 0 && !file.directory) {
		answer_file(answer, &file);
	} else {
		if (r == 0)
			close(file.fd);
		if (r == 0 || r == -ENOENT) {
			r = serve_index_make(root_fd, fd, path->text, &page, &size);
			if (r == 0)
				answer_page(answer, MHD_HTTP_OK, page, size,
					    "text/html; charset=utf-8");
		}
		if (r < 0)
			answer_error(answer, r);
	}
	close(fd);
}

static void answer_target(struct answer *answer)
{
	struct serve_path path;
	struct serve_file file = {.fd = -1};
	int r = serve_path_read(answer->connection->target, &path);

	if (r == 0)
		r = serve_file_open(answer->connection->serve->root_fd, path.text, &file);
	if (r == 0 && !file.directory && path.directory) {
		close(file.fd);
		r = -ENOENT;
	}
	if (r < 0) {
		answer_error(answer, r);
	} else if (!file.directory) {
		answer_file(answer, &file);
	} else if (!path.directory) {
		close(file.fd);
		answer_redirect(answer, &path);
	} else {
		answer_directory(answer, &path, file.fd);
	}
}

/* Gives the response to the HTTP library, which keeps it as long as it needs it. */
static enum MHD_Result answer_queue(struct answer *answer)
{
	struct serve_connection *connection = answer->connection;
	enum MHD_Result queued;

	if (!answer->response)
		return MHD_NO; /* no memory: the library closes the connection */
	answer_header(answer, MHD_HTTP_HEADER_SERVER, "handshake/" VERSION);
	if (connection->serve->stopping)
		answer_header(answer, MHD_HTTP_HEADER_CONNECTION, "close");
	connection->status = answer->status;
	connection->phase = SERVE_ANSWERING;
	if (strcmp(connection->method, MHD_HTTP_METHOD_HEAD) == 0)
		connection->length = 0;
	queued = MHD_queue_response(answer->http, answer->status, answer->response);
	MHD_destroy_response(answer->response);
	return queued;
}

/* A request with content is not read to its end: the answer is the same whatever comes. */
static bool request_has_content(struct MHD_Connection *http)
{
	const char *length = request_field(http, MHD_HTTP_HEADER_CONTENT_LENGTH);

	return request_field(http, MHD_HTTP_HEADER_TRANSFER_ENCODING) ||
	       (length && strcmp(length, "0") != 0);
}

static enum MHD_Result host_count(void *count, enum MHD_ValueKind kind, const char *name,
				  const char *value)
{
	(void)kind;
	(void)value;
	if (strcasecmp(name, MHD_HTTP_HEADER_HOST) == 0)
		++*(unsigned int *)count;
	return MHD_YES;
}

/* RFC 9112, 3.2: exactly one Host field, but for HTTP/1.0. */
static bool request_names_host(const struct answer *answer)
{
	unsigned int count = 0;

	MHD_get_connection_values(answer->http, MHD_HEADER_KIND, host_count, &count);
	return count == 1 ||
	       (count == 0 && strcmp(answer->connection->version, MHD_HTTP_VERSION_1_0) == 0);
}

enum MHD_Result serve_response_handle(void *context, struct MHD_Connection *http, const char *url,
				      const char *method, const char *version, const char *upload,
				      size_t *upload_size, void **request_context)
{
	struct serve_connection *connection = *request_context;
	struct answer answer = {.http = http, .connection = connection};
	const bool fetches =
	    strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;

	(void)context;
	(void)url; /* cut and unescaped; the target is read as it came */
	(void)upload;
	/* The library presents the request once more after this. */
	if (serve_early_switch(connection))
		return MHD_YES;
	if (!connection->presented) {
		connection->presented = true;
		snprintf(connection->method, sizeof(connection->method), "%s", method);
		snprintf(connection->version, sizeof(connection->version), "%s", version);
		/* An answer at the first call makes the library close the connection after it. */
		if (!request_has_content(http))
			return MHD_YES;
	}
	*upload_size = 0;
	if (!connection->target || !request_names_host(&answer)) {
		answer_status(&answer, MHD_HTTP_BAD_REQUEST);
	} else if (!fetches) {
		answer_status(&answer, MHD_HTTP_METHOD_NOT_ALLOWED);
		answer_header(&answer, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	} else {
		answer_target(&answer);
	}
	return answer_queue(&answer);
}
