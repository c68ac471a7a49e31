/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/upstream/upstream.h"

#include "common/container.h"
#include "common/crypto.h"
#include "common/freelist.h"
#include "common/log.h"
#include "common/netset.h"

#include "dnsproxyd/metrics.h"
#include "dnsproxyd/upstream/carrier.h"
#include "dnsproxyd/upstream/defence.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	ID_WORDS = 65536 / 64,
	ID_TRIES = 64,
	BUCKET_COUNT = 1024,
	SPARE_EXCHANGES_MAX = 256,
};

/* Of FNV-1a, over a question as it was sent. Whoever makes questions collide gets a longer list to
 * search, of at most max_open. */
#define HASH_BASIS UINT32_C(2166136261)
#define HASH_PRIME UINT32_C(16777619)

struct upstream {
	struct upstream_config config;
	struct carrier *carrier;
	struct health health;
	struct defence defence;
	struct upstream_stats stats;
	uint64_t no_edns_until_ms;
	bool leaves_marks;
	uint64_t loop_logged_ms; /* 0: never */
	uint64_t stream_heard_ms;
	uint32_t open_count;
	struct exchange *buckets[BUCKET_COUNT]; /* open exchanges, by question */
	uint64_t ids_used[ID_WORDS];            /* their ids */
	struct crypto_pool random;
	struct freelist spare_exchanges;
};

/* One message on its way. */
struct exchange {
	struct upstream *upstream;
	struct exchange *bucket_next;
	uint32_t sent_hash; /* of the question as sent: its bucket */
	void (*done)(void *arg, enum upstream_outcome outcome, const uint8_t *msg,
		     const struct dnsreply *reply); /* NULL once forgotten */
	void (*doubtful)(void *arg);
	void *arg;
	uint64_t sent_ms;
	uint32_t question_hash; /* as the client asked it, in lower case */
	uint16_t id;            /* no two open ones of a server share it */
	uint16_t sent_id;       /* what c-ares has made of it: see ares_io.h */
	bool with_edns;
	bool mixed_case;
	bool by_stream;
	bool for_defence; /* by stream because of forgers */
	bool again;
	bool is_verbatim;
	bool answered_elsewhere;
	/* an end that came while still being sent waits for the end of the turn */
	bool sending;
	enum upstream_outcome early_outcome;
	struct task early_task;
	/* as sent; not cleared beyond its length */
	uint16_t question_len;
	uint8_t question[DNSMSG_QUESTION_MAX];
};

static const char *const outcome_names[] = {
#define X(name, token) [UPSTREAM_##name] = token,
	UPSTREAM_OUTCOMES(X)
#undef X
};

const char *upstream_outcome_name(enum upstream_outcome outcome)
{
	return outcome_names[outcome];
}

static void count(struct upstream *u, enum dnsproxyd_metric metric)
{
	metrics_add(u->config.metrics, metric, 1);
}

static uint64_t now_ms(const struct upstream *u)
{
	return loop_now_ms(u->config.loop);
}

static void log_change(const struct upstream *u, enum log_level level, const char *event)
{
	char text[ENDPOINT_TEXT_MAX];

	log_event(level, event, KV_TEXT("server", endpoint_format(&u->config.endpoint, text)));
}

/* --- open exchanges -------------------------------------------------------------------------- */

static uint32_t hash_question(const uint8_t *question, size_t len)
{
	uint32_t hash = HASH_BASIS;

	for (size_t i = 0; i < len; i++) {
		hash = (hash ^ question[i]) * HASH_PRIME;
	}
	return hash;
}

static uint32_t hash_query(const struct dnsmsg_query *query)
{
	uint8_t lower[DNSMSG_QUESTION_MAX];

	/* Type and class as well: it is only a hash. */
	dnsname_lower(lower, query->question, query->question_len);
	return hash_question(lower, query->question_len);
}

static struct exchange **bucket_of(struct upstream *u, const uint8_t *question, size_t len)
{
	return &u->buckets[hash_question(question, len) % BUCKET_COUNT];
}

/* This id, if it is free. */
static bool take_this_id(struct upstream *u, uint16_t id)
{
	if (u->ids_used[id / 64] & (UINT64_C(1) << (id % 64))) {
		return false;
	}
	u->ids_used[id / 64] |= UINT64_C(1) << (id % 64);
	return true;
}

/* A random id that no open exchange of this server has (RFC 5452 section 9.2). False when that many
 * are open. */
static bool take_id(struct upstream *u, uint16_t *ret_id)
{
	for (int i = 0; i < ID_TRIES; i++) {
		uint16_t id;

		crypto_pool_take(&u->random, &id, sizeof id);
		if (take_this_id(u, id)) {
			*ret_id = id;
			return true;
		}
	}
	return false;
}

static void enlist(struct exchange *e)
{
	struct exchange **bucket;

	e->sent_hash = hash_question(e->question, e->question_len);
	bucket = &e->upstream->buckets[e->sent_hash % BUCKET_COUNT];
	e->bucket_next = *bucket;
	*bucket = e;
	e->upstream->open_count++;
}

static void delist(struct exchange *e)
{
	struct upstream *u = e->upstream;
	struct exchange **slot = &u->buckets[e->sent_hash % BUCKET_COUNT];

	while (*slot != e) {
		slot = &(*slot)->bucket_next;
	}
	*slot = e->bucket_next;
	u->open_count--;
	u->ids_used[e->id / 64] &= ~(UINT64_C(1) << (e->id % 64));
}

static bool has_question(const struct exchange *e, const uint8_t *question, size_t len)
{
	return e->question_len == len && memcmp(e->question, question, len) == 0;
}

bool upstream_is_asking(const struct upstream *u, const struct dnsmsg_query *query)
{
	const uint8_t *question = query->question;
	size_t len = query->question_len;
	uint32_t hash = hash_question(question, len);
	const struct exchange *e = u->buckets[hash % BUCKET_COUNT];

	for (; e; e = e->bucket_next) {
		if (e->sent_hash == hash && has_question(e, question, len) &&
		    (e->sent_id == query->id ||
		     (e->mixed_case && defence_case_is_telling(question, len - 4)))) {
			return true;
		}
	}
	return false;
}

/* --- what an outcome says of the server ------------------------------------------------------ */

static void note_down(struct upstream *u, bool went_down)
{
	if (went_down) {
		count(u, METRIC_upstream_down);
		log_change(u, LOG_LEVEL_WARNING, "upstream-down");
	}
}

static void note_answer(struct exchange *e)
{
	struct upstream *u = e->upstream;
	bool was_down = u->health.down;

	u->stats.answers++;
	count(u, METRIC_upstream_answers);
	health_note_answer(&u->health, e->sent_ms, now_ms(u));
	if (was_down) {
		log_change(u, LOG_LEVEL_NOTICE, "upstream-up");
	}
	if (e->mixed_case) {
		defence_note_exact(&u->defence);
	} else if (e->again && !e->by_stream && u->config.randomize_case &&
		   defence_note_strike(&u->defence, now_ms(u))) {
		count(u, METRIC_upstream_case_off);
		log_change(u, LOG_LEVEL_NOTICE, "random-case-off");
	}
}

static void note_failure(struct exchange *e)
{
	struct upstream *u = e->upstream;

	u->stats.failures++;
	note_down(u, health_note_failure(&u->health, e->sent_ms, now_ms(u)));
	if (e->mixed_case) {
		defence_note_silence(&u->defence);
	}
	if (e->for_defence) {
		defence_note_stream_failed(&u->defence, now_ms(u));
	}
}

static void note_outcome(struct exchange *e, enum upstream_outcome outcome)
{
	struct upstream *u = e->upstream;

	switch (outcome) {
	case UPSTREAM_ANSWER:
		note_answer(e);
		break;
	case UPSTREAM_ERROR:
		u->stats.errors++;
		count(u, METRIC_upstream_errors);
		health_note_life(&u->health, now_ms(u));
		if (e->answered_elsewhere) {
			note_down(u, health_note_doubt(&u->health, e->question_hash, now_ms(u)));
		}
		break;
	case UPSTREAM_MALFORMED:
		u->stats.failures++;
		count(u, METRIC_upstream_malformed);
		note_down(u, health_note_doubt(&u->health, e->question_hash, now_ms(u)));
		break;
	case UPSTREAM_TIMEOUT:
		count(u, METRIC_upstream_timeouts);
		note_failure(e);
		break;
	case UPSTREAM_UNREACHABLE:
		count(u, METRIC_upstream_unreachable);
		note_failure(e);
		break;
	case UPSTREAM_BY_STREAM:
	case UPSTREAM_NO_EDNS:
		health_note_life(&u->health, now_ms(u));
		break;
	case UPSTREAM_OVERLOAD:
	case UPSTREAM_CANCELLED:
		break;
	}
}

void upstream_note_refusal(struct upstream *u, const struct dnsmsg_query *query)
{
	note_down(u, health_note_doubt(&u->health, hash_query(query), now_ms(u)));
}

/* --- exchanges ------------------------------------------------------------------------------- */

static void finish(struct exchange *e, enum upstream_outcome outcome, const uint8_t *msg,
		   const struct dnsreply *reply)
{
	void (*done)(void *arg, enum upstream_outcome outcome, const uint8_t *msg,
		     const struct dnsreply *reply) = e->done;
	void *arg = e->arg;

	delist(e);
	/* First, as the call may free the upstream. */
	freelist_give(&e->upstream->spare_exchanges, e);
	if (done) {
		done(arg, outcome, msg, reply);
	}
}

/* rcodes after which another server may do better. */
static bool is_refusal(const struct dnsreply *reply)
{
	switch (reply->rcode) {
	case DNS_RCODE_NOERROR:
	case DNS_RCODE_NXDOMAIN:
		return false;
	default:
		return true;
	}
}

static bool is_about_edns(const struct exchange *e, enum dnsreply_status status,
			  const struct dnsreply *reply)
{
	bool complains = reply->rcode == DNS_RCODE_FORMERR || reply->rcode == DNS_RCODE_NOTIMP;

	return e->with_edns && complains &&
	       (status == DNSREPLY_BARE || (status == DNSREPLY_OK && !reply->has_opt));
}

static enum upstream_outcome judge(const struct exchange *e, const uint8_t *msg, size_t len,
				   struct dnsreply *ret_reply)
{
	enum dnsreply_status status =
		dnsreply_check(msg, len, e->sent_id, e->question, e->question_len, ret_reply);

	if (status != DNSREPLY_OK && status != DNSREPLY_BARE) {
		return UPSTREAM_MALFORMED;
	}
	if (is_about_edns(e, status, ret_reply)) {
		return UPSTREAM_NO_EDNS;
	}
	if (status == DNSREPLY_BARE) {
		return UPSTREAM_MALFORMED;
	}
	if (ret_reply->kind == DNSREPLY_TRUNCATED) {
		return e->by_stream ? UPSTREAM_MALFORMED : UPSTREAM_BY_STREAM;
	}
	return is_refusal(ret_reply) ? UPSTREAM_ERROR : UPSTREAM_ANSWER;
}

static void take_answer(struct exchange *e, const uint8_t *msg, size_t len)
{
	struct upstream *u = e->upstream;
	struct dnsreply reply;
	enum upstream_outcome outcome = judge(e, msg, len, &reply);
	bool has_reply = outcome == UPSTREAM_ANSWER || outcome == UPSTREAM_ERROR;

	if (e->by_stream) {
		u->stats.by_tcp++;
		count(u, METRIC_upstream_tcp);
		u->stream_heard_ms = now_ms(u);
	}
	if (e->by_stream && has_reply && reply.has_keepalive) {
		carrier_note_keepalive(u->carrier, reply.keepalive);
	}
	if (outcome == UPSTREAM_NO_EDNS) {
		u->no_edns_until_ms = now_ms(u) + UPSTREAM_NO_EDNS_MS;
	}
	note_outcome(e, outcome);
	finish(e, outcome, outcome == UPSTREAM_ANSWER ? msg : NULL, has_reply ? &reply : NULL);
}

/* A signed message is for the client to judge; what we learn of it is that the server lives. */
static void take_verbatim(struct exchange *e, const uint8_t *msg, size_t len)
{
	const struct dnsreply reply = { .end = len };

	note_outcome(e, UPSTREAM_ANSWER);
	finish(e, UPSTREAM_ANSWER, msg, &reply);
}

static void on_early(struct task *task)
{
	struct exchange *e = container_of(task, struct exchange, early_task);

	finish(e, e->early_outcome, NULL, NULL);
}

static enum upstream_outcome outcome_of(enum ares_io_status status)
{
	switch (status) {
	case ARES_IO_TIMEOUT:
		return UPSTREAM_TIMEOUT;
	case ARES_IO_REFUSED:
		return UPSTREAM_OVERLOAD;
	case ARES_IO_CANCELLED:
		return UPSTREAM_CANCELLED;
	default:
		return UPSTREAM_UNREACHABLE;
	}
}

/* A connection that was refused or reset ends at once; one whose peer has gone, after some time. */
static void note_silence(struct exchange *e)
{
	const struct upstream_config *config = &e->upstream->config;

	if (config->on_silence && now_ms(e->upstream) - e->sent_ms >= UPSTREAM_SILENCE_MS) {
		config->on_silence(config->on_silence_arg, e->sent_ms);
	}
}

static void on_answer(void *arg, enum ares_io_status status, const uint8_t *answer, size_t len,
		      bool via_tcp)
{
	struct exchange *e = arg;
	enum upstream_outcome outcome;
	bool lost_stream;

	(void)via_tcp;
	if (status == ARES_IO_OK && e->is_verbatim) {
		take_verbatim(e, answer, len);
		return;
	}
	if (status == ARES_IO_OK) {
		take_answer(e, answer, len);
		return;
	}
	outcome = outcome_of(status);
	note_outcome(e, outcome);
	lost_stream = outcome == UPSTREAM_UNREACHABLE && e->by_stream;
	if (lost_stream) {
		note_silence(e);
	}
	/* When several connections are given up at once, nobody is to be told before all of them
	 * are: what is sent next would go by one of the others. */
	if (e->sending || lost_stream) {
		e->early_outcome = outcome;
		loop_run_task(e->upstream->config.loop, &e->early_task, on_early);
	} else {
		finish(e, outcome, NULL, NULL);
	}
}

/* The exchange stays open, but whoever waits for it is told to go on. */
static void tell_and_detach(struct exchange *e, enum upstream_outcome outcome)
{
	void (*done)(void *arg, enum upstream_outcome outcome, const uint8_t *msg,
		     const struct dnsreply *reply) = e->done;

	e->done = NULL;
	if (done) {
		done(e->arg, outcome, NULL, NULL);
	}
}

static void on_other_case(struct upstream *u, struct exchange *e)
{
	count(u, METRIC_upstream_wrong_case);
	if (!e->mixed_case) {
		return; /* random case is not at fault */
	}
	if (defence_note_strike(&u->defence, now_ms(u))) {
		count(u, METRIC_upstream_case_off);
		log_change(u, LOG_LEVEL_NOTICE, "random-case-off");
	}
	if (e->done && e->doubtful) {
		e->doubtful(e->arg);
	}
}

/* Forgers, when they are many, know the port this exchange waits on: not to be waited on. */
static void on_other_answer(struct upstream *u, struct exchange *e)
{
	count(u, METRIC_upstream_wrong_answers);
	if (defence_note_wrong_id(&u->defence, now_ms(u))) {
		count(u, METRIC_upstream_bursts);
		log_change(u, LOG_LEVEL_WARNING, "forged-answers");
	}
	if (defence_wants_stream(&u->defence, now_ms(u))) {
		tell_and_detach(e, UPSTREAM_BY_STREAM);
	}
}

static void on_dropped(void *arg, const uint8_t *question, size_t len, bool other_case)
{
	struct upstream *u = arg;
	struct exchange *e = *bucket_of(u, question, len);

	while (e && !has_question(e, question, len)) {
		e = e->bucket_next;
	}
	if (!e) {
		return;
	}
	if (other_case) {
		on_other_case(u, e);
	} else {
		on_other_answer(u, e);
	}
}

/* Padding is for those who read along, and would tell them nothing in clear text (RFC 7830 section
 * 6); DNSCrypt has its own. For how long HTTPS connections stay is not DNS's to say. */
static unsigned encryption_flags(const struct upstream *u)
{
	unsigned flags = 0;

	if (u->config.endpoint.protocol == ENDPOINT_TLS) {
		flags |= DNSMSG_SEND_KEEPALIVE;
	}
	if (u->config.padding && endpoint_has_tls(&u->config.endpoint)) {
		flags |= DNSMSG_SEND_PADDING;
	}
	return flags;
}

/* The message for an exchange, with our mark if the server gets one. Returns its length. */
static size_t build_query(struct exchange *e, const struct dnsmsg_query *query,
			  uint8_t buf[DNSMSG_QUERY_MAX])
{
	struct upstream *u = e->upstream;
	unsigned flags = query->flags & DNSMSG_CD ? DNSMSG_SEND_CD : 0;
	struct dnsmsg_query marked;
	uint8_t nonce[TRAIL_NONCE_LEN];

	if (e->with_edns) {
		flags |= DNSMSG_SEND_EDNS | (query->dnssec_ok ? DNSMSG_SEND_DO : 0u);
		flags |= encryption_flags(u);
	}
	if (!u->leaves_marks || !e->with_edns) {
		return dnsmsg_build_query(query, e->id, flags, buf);
	}
	dnsmsg_query_copy(&marked, query);
	crypto_pool_take(&u->random, nonce, sizeof nonce);
	trail_add(&marked.trail, u->config.trail_key, query->question, query->question_len,
		  u->config.place, nonce);
	return dnsmsg_build_query(&marked, e->id, flags | DNSMSG_SEND_TRAIL, buf);
}

static void send_message(struct exchange *e, const uint8_t *msg, size_t len)
{
	struct upstream *u = e->upstream;

	u->stats.sends++;
	count(u, METRIC_upstream_sends);
	e->sending = true;
	carrier_send(u->carrier, e->by_stream, msg, len, on_answer, e, &e->sent_id);
	e->sending = false;
}

static void send_exchange(struct exchange *e, const struct dnsmsg_query *query)
{
	uint8_t buf[DNSMSG_QUERY_MAX];
	size_t len = build_query(e, query, buf);

	memcpy(buf + DNSMSG_HEADER_LEN, e->question, e->question_len);
	send_message(e, buf, len);
}

static void send_verbatim(struct exchange *e, const struct upstream_question *question)
{
	uint8_t buf[UPSTREAM_VERBATIM_MAX];

	assert(question->verbatim_len <= sizeof buf);
	memcpy(buf, question->verbatim, question->verbatim_len);
	dnsmsg_set_id(buf, e->id);
	send_message(e, buf, question->verbatim_len);
}

static void choose_defences(struct exchange *e, bool by_stream)
{
	struct upstream *u = e->upstream;
	uint8_t random[DEFENCE_RANDOM_LEN];

	e->for_defence = u->config.endpoint.protocol == ENDPOINT_UDP &&
			 defence_wants_stream(&u->defence, now_ms(u));
	e->by_stream = by_stream || e->for_defence || endpoint_is_stream(&u->config.endpoint);
	e->mixed_case = !e->by_stream && !e->is_verbatim && u->config.randomize_case &&
			!endpoint_is_encrypted(&u->config.endpoint) &&
			defence_wants_case(&u->defence, e->again, now_ms(u));
	if (e->mixed_case) {
		/* A bit for each octet of the name, behind which are type and class. */
		crypto_pool_take(&u->random, random, (e->question_len - 4u + 7u) / 8);
		defence_mix_case(e->question, e->question_len - 4u, random);
	}
}

struct exchange *upstream_ask(struct upstream *u, const struct upstream_question *question)
{
	const struct dnsmsg_query *query = question->query;
	struct exchange *e = freelist_take(&u->spare_exchanges);

	if (!e) {
		return NULL;
	}
	memset(e, 0, offsetof(struct exchange, question));
	e->is_verbatim = question->verbatim != NULL;
	e->id = query->id;
	if (!(e->is_verbatim && take_this_id(u, e->id)) && !take_id(u, &e->id)) {
		freelist_give(&u->spare_exchanges, e);
		return NULL;
	}
	e->upstream = u;
	e->done = question->done;
	e->doubtful = question->doubtful;
	e->arg = question->arg;
	e->again = question->again;
	e->sent_ms = now_ms(u);
	e->question_hash = hash_query(query);
	e->question_len = query->question_len;
	memcpy(e->question, query->question, query->question_len);
	e->with_edns = e->sent_ms >= u->no_edns_until_ms;
	choose_defences(e, question->by_stream);
	enlist(e);
	if (e->is_verbatim) {
		send_verbatim(e, question);
	} else {
		send_exchange(e, query);
	}
	return e;
}

void upstream_doubt_streams(struct upstream *u, uint64_t since_ms)
{
	if (u->stream_heard_ms < since_ms) {
		carrier_break_streams(u->carrier);
	}
}

void exchange_forget(struct exchange *e, bool answered)
{
	if (e) {
		e->done = NULL;
		e->answered_elsewhere = answered;
	}
}

/* --- what is known of it --------------------------------------------------------------------- */

const struct health *upstream_health(const struct upstream *u)
{
	return &u->health;
}

void upstream_begin_trial(struct upstream *u)
{
	count(u, METRIC_upstream_trials);
	health_begin_trial(&u->health, now_ms(u));
}

void upstream_note_network(struct upstream *u)
{
	carrier_note_network(u->carrier);
	health_forget(&u->health, now_ms(u));
}

bool upstream_should_log_loop(struct upstream *u)
{
	if (u->loop_logged_ms != 0 && now_ms(u) - u->loop_logged_ms < UPSTREAM_LOOP_LOG_MS) {
		return false;
	}
	u->loop_logged_ms = now_ms(u);
	return true;
}

uint32_t upstream_open_count(const struct upstream *u)
{
	return u->open_count;
}

const struct endpoint *upstream_endpoint(const struct upstream *u)
{
	return &u->config.endpoint;
}

const struct upstream_stats *upstream_stats(const struct upstream *u)
{
	return &u->stats;
}

uint64_t upstream_dropped_count(const struct upstream *u)
{
	return carrier_dropped_count(u->carrier);
}

/* --- life ------------------------------------------------------------------------------------ */

/* Only a server in this network can be one that asks us. */
static const struct netset neighbours = { .local = true };

struct upstream *upstream_new(const struct upstream_config *config)
{
	struct upstream *u = calloc(1, sizeof *u);
	const struct carrier_config carrier_config = {
		.loop = config->loop,
		.metrics = config->metrics,
		.endpoint = config->endpoint,
		.group = config->group,
		.timeout_ms = config->timeout_ms,
		.max_open = config->max_open,
		.on_dropped = on_dropped,
		.on_dropped_arg = u,
	};

	if (!u) {
		return NULL;
	}
	u->config = *config;
	u->spare_exchanges = (struct freelist){ .object_bytes = sizeof(struct exchange),
						.keep_max = SPARE_EXCHANGES_MAX };
	u->leaves_marks = config->trail_key && netset_contains(&neighbours, &config->endpoint.addr);
	u->carrier = carrier_new(&carrier_config);
	if (!u->carrier) {
		int saved = errno;

		free(u);
		errno = saved;
		return NULL;
	}
	u->config.group = NULL; /* need not live on */
	return u;
}

void upstream_inherit(struct upstream *u, const struct upstream *from)
{
	u->health = from->health;
	u->defence = from->defence;
	u->stats = from->stats;
	u->no_edns_until_ms = from->no_edns_until_ms;
}

void upstream_free(struct upstream *u)
{
	if (!u) {
		return;
	}
	carrier_free(u->carrier);
	/* Left are those that wait for the end of the turn. */
	for (size_t i = 0; i < BUCKET_COUNT; i++) {
		while (u->buckets[i]) {
			struct exchange *e = u->buckets[i];

			task_cancel(&e->early_task);
			finish(e, UPSTREAM_CANCELLED, NULL, NULL);
		}
	}
	freelist_clear(&u->spare_exchanges);
	free(u);
}
