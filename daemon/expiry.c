// SPDX-License-Identifier: LGPL-2.1-or-later
// Says what of the loaded certificates and staples has run out, and what is next. Touches the log;
// decides nothing: each handshake asks the clock itself.
#include "expiry.h"

#include "certificate-file.h"
#include "credentials.h"
#include "log.h"
#include "staple.h"

static void sooner(time_t *next, time_t until)
{
	if (!*next || until < *next)
		*next = until;
}

static void profile_find(const struct credentials *credentials, time_t now, struct expiry *expiry)
{
	struct credentials_pair pair;

	for (unsigned i = 0; credentials_pair(credentials, i, &pair); i++) {
		expiry->certificates++;
		if (pair.expires <= now)
			expiry->certificates_expired++;
		else
			sooner(&expiry->certificate_next, pair.expires);
		if (!pair.staple)
			continue;
		expiry->staples++;
		if (!staple_holds(pair.staple, now))
			expiry->staples_expired++;
		else
			sooner(&expiry->staple_next, pair.staple->answer.next_update);
	}
}

void expiry_find(const struct loaded *loaded, time_t now, struct expiry *ret_expiry)
{
	struct expiry expiry = {};

	for (size_t i = 0; i < loaded->config->profile_count; i++)
		profile_find(loaded->profiles[i].credentials, now, &expiry);
	*ret_expiry = expiry;
}

static void staple_tell(struct staple *staple, const char *profile, time_t now)
{
	char date[32];

	if (staple->told)
		return;
	staple->told = true;
	if (staple->answer.next_update <= now)
		log_warning("[profile %s] the staple \"%s\" expired on %s and is not sent; fetch a"
			    " new one",
			    profile, staple->path,
			    certificate_time(staple->answer.next_update, date, sizeof(date)));
	else
		log_warning("[profile %s] the staple \"%s\" holds only from %s and is not sent"
			    " before; is the clock right?",
			    profile, staple->path,
			    certificate_time(staple->answer.this_update, date, sizeof(date)));
}

time_t expiry_tell(const struct loaded *loaded, time_t now)
{
	time_t next = 0;

	for (size_t i = 0; i < loaded->config->profile_count; i++) {
		const struct profile *profile = &loaded->profiles[i];
		struct credentials_pair pair;

		for (unsigned j = 0; credentials_pair(profile->credentials, j, &pair); j++) {
			if (!pair.staple)
				continue;
			if (!staple_holds(pair.staple, now))
				staple_tell(pair.staple, profile->config->name, now);
			else
				sooner(&next, pair.staple->answer.next_update);
			if (staple_holds(pair.staple, now) &&
			    pair.staple->answer.status == OCSP_REVOKED && !pair.staple->told) {
				pair.staple->told = true;
				log_error("[profile %s] the staple \"%s\" says that its certificate"
					  " has been revoked; clients refuse it: replace the"
					  " certificate",
					  profile->config->name, pair.staple->path);
			}
		}
	}
	return next;
}
