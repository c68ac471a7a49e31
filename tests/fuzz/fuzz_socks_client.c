/* SPDX-License-Identifier: ISC */
/* What a SOCKS5 proxy says. Input: a byte whose lowest bit says whether we have a password, then
 * the bytes. */
#include "common/stream/socks_client.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct socks_route route = { .name = "dns.example", .port = 853 };
	struct socks_client client;
	size_t pos = 1;

	if (len == 0) {
		return 0;
	}
	if (data[0] & 1) {
		memset(route.proxy.user, 'u', SOCKS_TEXT_MAX - 1);
		memset(route.proxy.password, 'p', SOCKS_TEXT_MAX - 1);
	}
	socks_client_init(&client, &route);
	while (pos < len && !socks_client_is_done(&client)) {
		size_t n = socks_client_want(&client);

		assert(n > 0);
		socks_client_sent(&client, client.out_len);
		n = n < len - pos ? n : len - pos;
		if (socks_client_take(&client, data + pos, n) < 0) {
			return 0;
		}
		pos += n;
	}
	assert(!socks_client_is_done(&client) || socks_client_want(&client) == 0);
	return 0;
}
