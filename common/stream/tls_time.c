/* SPDX-License-Identifier: ISC */
#include "common/stream/tls_time.h"

#include "build_config.h"

bool tls_time_is_wrong(int64_t clock_unix_s)
{
	return clock_unix_s < BUILD_TIME;
}

struct tls_time tls_time_judge(int64_t clock_unix_s)
{
	if (!tls_time_is_wrong(clock_unix_s)) {
		return (struct tls_time){ .unix_s = clock_unix_s };
	}
	return (struct tls_time){ .unix_s = BUILD_TIME,
				  .early_until_s = BUILD_TIME + TLS_TIME_GRACE_S };
}
