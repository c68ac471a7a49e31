/* SPDX-License-Identifier: ISC */
#include "socksd/session/clients.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

enum {
	FIRST_CAP = 64,
	FAIR_PART = 8,      /* one in so many of each maximum is kept for those with little */
	DICE_SIDES = 10000, /* hundredths of a percent */
};

/* An open hash table with linear probing; sessions == 0 marks a free place. */
struct client {
	struct source source;
	uint32_t sessions;
	uint32_t half_open;
	uint32_t services[CLIENTS_SERVICES];
};

struct clients {
	struct crypto_key key;
	pthread_mutex_t lock; /* guards all below */
	struct client *table;
	size_t cap; /* power of two */
	size_t source_count;
	uint64_t session_count;
	uint64_t half_open_count;
	uint64_t dice_count;
};

struct clients *clients_new(const struct crypto_key *key)
{
	struct clients *c = calloc(1, sizeof *c);

	if (!c) {
		return NULL;
	}
	c->table = calloc(FIRST_CAP, sizeof *c->table);
	if (!c->table) {
		free(c);
		return NULL;
	}
	c->cap = FIRST_CAP;
	c->key = *key;
	pthread_mutex_init(&c->lock, NULL);
	return c;
}

void clients_free(struct clients *c)
{
	if (c) {
		pthread_mutex_destroy(&c->lock);
		free(c->table);
		free(c);
	}
}

/* --- the table ------------------------------------------------------------------------------- */

static size_t home_of(const struct clients *c, const struct source *source, size_t cap)
{
	return crypto_siphash(&c->key, source->bytes, sizeof source->bytes) & (cap - 1);
}

/* The source's place, or the free one where it would go. */
static struct client *find(const struct clients *c, struct client *table, size_t cap,
			   const struct source *source)
{
	size_t i = home_of(c, source, cap);

	while (table[i].sessions > 0 && !source_equal(&table[i].source, source)) {
		i = (i + 1) & (cap - 1);
	}
	return &table[i];
}

/* Keep a quarter of the table free. False: out of memory. */
static bool make_room(struct clients *c)
{
	size_t cap = c->cap * 2;
	struct client *table;

	if (c->source_count < c->cap / 4 * 3) {
		return true;
	}
	table = calloc(cap, sizeof *table);
	if (!table) {
		return false;
	}
	for (size_t i = 0; i < c->cap; i++) {
		if (c->table[i].sessions > 0) {
			*find(c, table, cap, &c->table[i].source) = c->table[i];
		}
	}
	free(c->table);
	c->table = table;
	c->cap = cap;
	return true;
}

/* Free a place, and move up those behind it that would not be found across the gap. */
static void forget(struct clients *c, struct client *client)
{
	size_t gap = (size_t)(client - c->table);
	size_t i = gap;

	c->table[gap] = (struct client){ 0 };
	c->source_count--;
	for (;;) {
		size_t home;

		i = (i + 1) & (c->cap - 1);
		if (c->table[i].sessions == 0) {
			return;
		}
		home = home_of(c, &c->table[i].source, c->cap);
		if (((i - home) & (c->cap - 1)) >= ((i - gap) & (c->cap - 1))) {
			c->table[gap] = c->table[i];
			c->table[i] = (struct client){ 0 };
			gap = i;
		}
	}
}

/* --- the rules ------------------------------------------------------------------------------- */

/* Whether one more half-open handshake is to be dropped. */
static bool is_dropped(struct clients *c, const struct clients_limits *limits,
		       const struct client *client)
{
	uint64_t n = c->half_open_count;
	uint64_t start = limits->half_open_start;
	uint64_t end = limits->max_half_open - limits->max_half_open / FAIR_PART;
	uint64_t chance;

	if (client->half_open == 0) {
		return n >= limits->max_half_open;
	}
	if (n < start || n >= end) {
		return n >= end;
	}
	chance = limits->half_open_rate_percent * (DICE_SIDES / 100);
	chance += (DICE_SIDES - chance) * (n - start) / (end - start);
	c->dice_count++;
	return crypto_siphash(&c->key, &c->dice_count, sizeof c->dice_count) % DICE_SIDES < chance;
}

static enum clients_verdict judge(struct clients *c, const struct clients_limits *limits,
				  const struct client *client)
{
	uint64_t max = limits->max_sessions;

	if (c->session_count >= max) {
		return CLIENTS_MAX_SESSIONS;
	}
	if (client->sessions >= limits->max_sessions_per_client) {
		return CLIENTS_MAX_PER_CLIENT;
	}
	if (c->session_count >= max - max / FAIR_PART && client->sessions > 0 &&
	    client->sessions >= max / (c->source_count + 1)) {
		return CLIENTS_FAIR_SHARE;
	}
	return is_dropped(c, limits, client) ? CLIENTS_HALF_OPEN : CLIENTS_ADMITTED;
}

enum clients_verdict clients_enter(struct clients *c, const struct clients_limits *limits,
				   const struct source *source)
{
	enum clients_verdict verdict = CLIENTS_NO_MEMORY;

	pthread_mutex_lock(&c->lock);
	if (make_room(c)) {
		struct client *client = find(c, c->table, c->cap, source);

		verdict = judge(c, limits, client);
		if (verdict == CLIENTS_ADMITTED) {
			c->source_count += client->sessions == 0;
			client->source = *source;
			client->sessions++;
			client->half_open++;
			c->session_count++;
			c->half_open_count++;
		}
	}
	pthread_mutex_unlock(&c->lock);
	return verdict;
}

void clients_handshake_done(struct clients *c, const struct source *source)
{
	struct client *client;

	pthread_mutex_lock(&c->lock);
	client = find(c, c->table, c->cap, source);
	assert(client->half_open > 0);
	client->half_open--;
	c->half_open_count--;
	pthread_mutex_unlock(&c->lock);
}

void clients_leave(struct clients *c, const struct source *source, bool half_open)
{
	struct client *client;

	pthread_mutex_lock(&c->lock);
	client = find(c, c->table, c->cap, source);
	assert(client->sessions > 0);
	c->session_count--;
	client->half_open -= half_open;
	c->half_open_count -= half_open;
	if (client->sessions == 1) {
		forget(c, client);
	} else {
		client->sessions--;
	}
	pthread_mutex_unlock(&c->lock);
}

bool clients_enter_service(struct clients *c, const struct source *source,
			   enum clients_service service, uint64_t max)
{
	struct client *client;
	bool entered;

	pthread_mutex_lock(&c->lock);
	client = find(c, c->table, c->cap, source);
	assert(client->sessions > 0);
	entered = client->services[service] < max;
	client->services[service] += entered;
	pthread_mutex_unlock(&c->lock);
	return entered;
}

void clients_leave_service(struct clients *c, const struct source *source,
			   enum clients_service service)
{
	struct client *client;

	pthread_mutex_lock(&c->lock);
	client = find(c, c->table, c->cap, source);
	assert(client->services[service] > 0);
	client->services[service]--;
	pthread_mutex_unlock(&c->lock);
}

uint64_t clients_session_count(struct clients *c)
{
	uint64_t count;

	pthread_mutex_lock(&c->lock);
	count = c->session_count;
	pthread_mutex_unlock(&c->lock);
	return count;
}

uint64_t clients_source_count(struct clients *c)
{
	uint64_t count;

	pthread_mutex_lock(&c->lock);
	count = c->source_count;
	pthread_mutex_unlock(&c->lock);
	return count;
}
