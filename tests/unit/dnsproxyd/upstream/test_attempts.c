/* SPDX-License-Identifier: ISC */
/*
 * Replays: what comes at which time, and what is then to be done, one word each.
 *
 *	at 0 "" -> "first:0 wait:1200"    what the start says
 *	at 80 "answer@0" -> "end:answer"
 *
 * Events: OUTCOME@INDEX (of the send), "doubt", "time", "unsent" (the last send could not be sent).
 * Actions: REASON:SERVER with + for again, / for by stream, ! for a trial; wait:MS since the start;
 * end:OUTCOME.
 */
#include "dnsproxyd/upstream/attempts.h"

#include "tests/unit/suite.h"

#include <stdio.h>
#include <string.h>

enum {
	START_MS = 1000000,
	TIMEOUT_MS = 2000,
	TEXT_MAX = 256,
	EVENTS_MAX = 8,
};

static const char *const outcomes[] = {
#define X(name, token) [UPSTREAM_##name] = token,
	UPSTREAM_OUTCOMES(X)
#undef X
};

/* --- a group of servers ---------------------------------------------------------------------- */

/* What is known of each server, one letter a server. */
static void know(struct health *h, char what)
{
	switch (what) {
	case 'f': /* answers in 10 ms, always */
	case 's': /* in 100 ms */
	case 'x': /* in 1 s */
		for (unsigned i = 0; i < HEALTH_SAMPLES_MIN; i++) {
			unsigned rtt_ms = what == 'f' ? 10 : what == 's' ? 100 : 1000;

			health_note_answer(h, START_MS - rtt_ms, START_MS);
		}
		break;
	case 'n': /* is new */
		break;
	case 'p': /* is new, and being measured */
		health_begin_trial(h, START_MS);
		break;
	case 'd': /* is down */
	case 't': /* is down, and due for a trial */
		health_note_failure(h, START_MS - 9000, START_MS - 8000);
		health_note_failure(h, START_MS - 7000,
				    what == 'd' ? START_MS - 1 : START_MS - 1000);
		break;
	default:
		ck_abort_msg("nothing is called %c", what);
	}
}

struct group {
	struct pool pool;
	struct health healths[BALANCE_SERVERS_MAX];
	struct attempts attempts;
	unsigned last_index;
};

/* Upper case letters are streams. */
static void group_init(struct group *g, enum balance_strategy strategy, const char *servers)
{
	memset(g, 0, sizeof *g);
	pool_init(&g->pool);
	g->pool.strategy = strategy;
	g->pool.timeout_ms = TIMEOUT_MS;
	g->pool.count = strlen(servers);
	for (size_t i = 0; i < g->pool.count; i++) {
		if (servers[i] < 'a') {
			g->pool.streams |= 1U << i;
		}
		know(&g->healths[i], (char)(servers[i] | 0x20));
		g->pool.entries[i].health = &g->healths[i];
	}
}

/* --- events and actions as text -------------------------------------------------------------- */

static void print_steps(struct group *g, uint64_t now_ms, char text[TEXT_MAX])
{
	static const char *const reasons[] = {
		"first", "trial", "race", "next", "hedge", "resend"
	};
	size_t len = 0;

	for (;;) {
		struct attempts_step step = attempts_step(&g->attempts, now_ms);

		switch (step.action) {
		case ATTEMPTS_SEND:
			g->last_index = step.index;
			if (step.is_trial) {
				health_begin_trial(&g->healths[step.server], now_ms);
			}
			len += (size_t)snprintf(text + len, TEXT_MAX - len, "%s:%u%s%s%s ",
						reasons[step.reason], step.server,
						step.again ? "+" : "", step.by_stream ? "/" : "",
						step.is_trial ? "!" : "");
			break;
		case ATTEMPTS_WAIT:
			snprintf(text + len, TEXT_MAX - len, "wait:%u",
				 (unsigned)(step.wait_ms - START_MS));
			return;
		case ATTEMPTS_END:
			snprintf(text + len, TEXT_MAX - len, "end:%s", outcomes[step.outcome]);
			return;
		}
	}
}

static void happen(struct group *g, const char *event, uint64_t now_ms)
{
	const char *at = strchr(event, '@');

	if (strcmp(event, "doubt") == 0) {
		attempts_take_doubt(&g->attempts);
	} else if (strcmp(event, "time") == 0) {
		attempts_take_time(&g->attempts, now_ms);
	} else if (strcmp(event, "unsent") == 0) {
		attempts_take_back(&g->attempts, g->last_index);
	} else if (at) {
		unsigned i = 0;

		while (strncmp(outcomes[i], event, (size_t)(at - event)) != 0) {
			i++;
			ck_assert_uint_lt(i, sizeof outcomes / sizeof outcomes[0]);
		}
		attempts_take_outcome(&g->attempts, (unsigned)(at[1] - '0'),
				      (enum upstream_outcome)i, now_ms);
	}
}

/* --- replays --------------------------------------------------------------------------------- */

struct event {
	unsigned at_ms;
	const char *event;
	const char *actions;
};

struct replay {
	const char *what;
	enum balance_strategy strategy;
	const char *servers;
	struct event events[EVENTS_MAX];
};

static const struct replay replays[] = {
	/* --- one server -------------------------------------------------------------------- */
	{ "a quick answer",
	  BALANCE_FASTEST,
	  "f",
	  { { 0, "", "first:0 wait:1200" }, { 9, "answer@0", "end:answer" } } },
	{ "silence: once more after 1.2 s, again when both have timed out; 4.5 s end it",
	  BALANCE_FASTEST,
	  "f",
	  { { 0, "", "first:0 wait:1200" },
	    { 1199, "time", "wait:1200" },
	    { 1200, "time", "hedge:0+ wait:4500" },
	    { 2000, "timeout@0", "next:0+ wait:4500" },
	    { 3200, "timeout@1", "wait:4500" },
	    { 4000, "timeout@2", "end:timeout" } } },
	{ "silence that lasts longer than 4.5 s",
	  BALANCE_FASTEST,
	  "n",
	  { { 0, "", "first:0 wait:1200" },
	    { 1200, "time", "hedge:0+ wait:4500" },
	    { 4499, "time", "wait:4500" },
	    { 4500, "time", "end:timeout" } } },
	{ "a slow server is asked again after twice its 95th percentile",
	  BALANCE_FASTEST,
	  "x",
	  { { 0, "", "first:0 wait:4500" }, { 1900, "answer@0", "end:answer" } } },
	{ "a refusal is the answer",
	  BALANCE_FASTEST,
	  "f",
	  { { 0, "", "first:0 wait:1200" }, { 5, "error@0", "end:error" } } },
	{ "nonsense too",
	  BALANCE_FASTEST,
	  "f",
	  { { 0, "", "first:0 wait:1200" }, { 5, "malformed@0", "end:malformed" } } },
	{ "truncated: by stream",
	  BALANCE_FASTEST,
	  "f",
	  { { 0, "", "first:0 wait:1200" },
	    { 5, "truncated@0", "resend:0/ wait:1200" },
	    { 9, "answer@1", "end:answer" } } },
	{ "truncated by stream as well",
	  BALANCE_FASTEST,
	  "f",
	  { { 0, "", "first:0 wait:1200" },
	    { 5, "truncated@0", "resend:0/ wait:1200" },
	    { 9, "malformed@1", "end:malformed" } } },
	{ "no EDNS, then truncated, then refused: three sends",
	  BALANCE_FASTEST,
	  "f",
	  { { 0, "", "first:0 wait:1200" },
	    { 5, "no-edns@0", "resend:0 wait:1200" },
	    { 9, "truncated@1", "resend:0/ wait:1200" },
	    { 12, "error@2", "end:error" } } },
	{ "no send is left for TCP",
	  BALANCE_FASTEST,
	  "f",
	  { { 0, "", "first:0 wait:1200" },
	    { 1200, "time", "hedge:0+ wait:4500" },
	    { 1300, "no-edns@0", "resend:0 wait:4500" },
	    { 1400, "truncated@2", "wait:4500" },
	    { 1500, "truncated@1", "end:truncated" } } },
	{ "a late answer to the first send",
	  BALANCE_FASTEST,
	  "f",
	  { { 0, "", "first:0 wait:1200" },
	    { 1200, "time", "hedge:0+ wait:4500" },
	    { 1300, "answer@0", "end:answer" },
	    { 1301, "answer@1", "end:answer" } } },
	{ "not there: again after 250 ms, twice",
	  BALANCE_FASTEST,
	  "f",
	  { { 0, "", "first:0 wait:1200" },
	    { 1, "unreachable@0", "wait:251" },
	    { 250, "time", "wait:251" },
	    { 251, "time", "next:0+ wait:4500" },
	    { 252, "unreachable@1", "wait:502" },
	    { 502, "time", "next:0+ wait:4500" },
	    { 503, "unreachable@2", "end:unreachable" } } },
	{ "an answer in the wrong case is followed by another question at once",
	  BALANCE_FASTEST,
	  "f",
	  { { 0, "", "first:0 wait:1200" },
	    { 7, "doubt", "next:0+ wait:1200" },
	    { 12, "doubt", "next:0+ wait:1200" },
	    { 14, "doubt", "wait:1200" },
	    { 1200, "time", "wait:4500" },
	    { 2007, "timeout@0", "wait:4500" },
	    { 2012, "answer@1", "end:answer" } } },
	{ "a server that is down is asked when there is no other",
	  BALANCE_FASTEST,
	  "d",
	  { { 0, "", "first:0 wait:1200" }, { 30, "answer@0", "end:answer" } } },
	{ "one that is due is asked as a trial",
	  BALANCE_FASTEST,
	  "t",
	  { { 0, "", "first:0! wait:1200" }, { 30, "answer@0", "end:answer" } } },
	{ "cancelled",
	  BALANCE_FASTEST,
	  "f",
	  { { 0, "", "first:0 wait:1200" }, { 5, "cancelled@0", "end:cancelled" } } },
	{ "too many queries are open",
	  BALANCE_FASTEST,
	  "f",
	  { { 0, "", "first:0 wait:1200" }, { 0, "overload@0", "end:overload" } } },
	{ "cannot be sent",
	  BALANCE_FASTEST,
	  "f",
	  { { 0, "", "first:0 wait:1200" }, { 0, "unsent", "end:overload" } } },

	/* --- one stream -------------------------------------------------------------------- */
	{ "a stream is not asked twice for want of an answer",
	  BALANCE_FASTEST,
	  "F",
	  { { 0, "", "first:0 wait:4500" },
	    { 2000, "timeout@0", "next:0+ wait:4500" },
	    { 4000, "timeout@1", "next:0+ wait:4500" },
	    { 4500, "time", "end:timeout" } } },
	{ "a stream that breaks: at once on the next connection, then with a pause",
	  BALANCE_FASTEST,
	  "F",
	  { { 0, "", "first:0 wait:4500" },
	    { 5, "unreachable@0", "next:0+ wait:4500" },
	    { 10, "unreachable@1", "wait:260" },
	    { 260, "time", "next:0+ wait:4500" },
	    { 270, "unreachable@2", "end:unreachable" } } },
	{ "a silent stream is replaced after 1.5 s, and that answers",
	  BALANCE_FASTEST,
	  "F",
	  { { 0, "", "first:0 wait:4500" },
	    { 1500, "unreachable@0", "next:0+ wait:4500" },
	    { 1510, "answer@1", "end:answer" } } },

	/* --- several servers --------------------------------------------------------------- */
	{ "the second is asked after the first one's 95th percentile",
	  BALANCE_FAILOVER,
	  "ff",
	  { { 0, "", "first:0 wait:20" },
	    { 19, "time", "wait:20" },
	    { 20, "time", "hedge:1 wait:4500" },
	    { 25, "answer@0", "end:answer" } } },
	{ "the percentile of a slow server is longer",
	  BALANCE_FAILOVER,
	  "sf",
	  { { 0, "", "first:0 wait:128" },
	    { 128, "time", "hedge:1 wait:4500" },
	    { 130, "answer@1", "end:answer" } } },
	{ "that of an unknown server is taken to be 300 ms",
	  BALANCE_FAILOVER,
	  "nn",
	  { { 0, "", "first:0 wait:300" },
	    { 300, "time", "hedge:1 wait:4500" },
	    { 2000, "timeout@0", "next:0+ wait:4500" },
	    { 2300, "timeout@1", "wait:4500" },
	    { 4000, "timeout@2", "end:timeout" } } },
	{ "no hedging by a server that is down; it is asked when the first has failed",
	  BALANCE_FAILOVER,
	  "fd",
	  { { 0, "", "first:0 wait:1200" },
	    { 1200, "time", "hedge:0+ wait:4500" },
	    { 2000, "timeout@0", "next:1! wait:4500" },
	    { 2020, "answer@2", "end:answer" } } },
	{ "a refusal makes the next be asked, and stands when all refuse",
	  BALANCE_FAILOVER,
	  "fff",
	  { { 0, "", "first:0 wait:20" },
	    { 3, "error@0", "next:1 wait:20" },
	    { 6, "malformed@1", "next:2 wait:20" },
	    { 9, "error@2", "end:error" } } },
	{ "a refusal while another may still answer waits for it",
	  BALANCE_FAILOVER,
	  "ff",
	  { { 0, "", "first:0 wait:20" },
	    { 20, "time", "hedge:1 wait:4500" },
	    { 25, "error@1", "wait:4500" },
	    { 26, "answer@0", "end:answer" } } },
	{ "SERVFAIL after a hedge, then silence: the refusal stands",
	  BALANCE_FAILOVER,
	  "ff",
	  { { 0, "", "first:0 wait:20" },
	    { 20, "time", "hedge:1 wait:4500" },
	    { 25, "error@0", "wait:4500" },
	    { 2020, "timeout@1", "next:1+ wait:4500" },
	    { 4020, "timeout@2", "end:error" } } },
	{ "one that is not there makes the next be asked at once",
	  BALANCE_FAILOVER,
	  "ff",
	  { { 0, "", "first:0 wait:20" },
	    { 1, "unreachable@0", "next:1 wait:20" },
	    { 2, "unreachable@1", "wait:252" },
	    { 252, "time", "next:0+ wait:4500" },
	    { 253, "unreachable@2", "end:unreachable" } } },
	{ "a server that is due is asked besides",
	  BALANCE_FAILOVER,
	  "ft",
	  { { 0, "", "first:0 trial:1! wait:1200" }, { 4, "answer@0", "end:answer" } } },
	{ "one that was never measured too, when speed counts",
	  BALANCE_FASTEST,
	  "fn",
	  { { 0, "", "first:0 trial:1! wait:1200" }, { 4, "answer@0", "end:answer" } } },
	{ "but not while it is being measured",
	  BALANCE_FASTEST,
	  "fp",
	  { { 0, "", "first:0 wait:20" }, { 4, "answer@0", "end:answer" } } },
	{ "the fastest is asked first",
	  BALANCE_FASTEST,
	  "xsf",
	  { { 0, "", "first:2 wait:20" },
	    { 20, "time", "hedge:1 wait:4500" },
	    { 50, "error@0", "wait:4500" },
	    { 60, "error@1", "next:0 wait:4500" },
	    { 70, "answer@2", "end:answer" } } },
	{ "a race is among three, and no more",
	  BALANCE_RACE,
	  "fffff",
	  { { 0, "", "first:0 race:1 race:2 wait:20" },
	    { 5, "error@0", "wait:20" },
	    { 20, "time", "wait:4500" },
	    { 25, "error@1", "wait:4500" },
	    { 30, "answer@2", "end:answer" } } },
	{ "a race in which all are truncated",
	  BALANCE_RACE,
	  "fff",
	  { { 0, "", "first:0 race:1 race:2 wait:1200" },
	    { 5, "truncated@0", "wait:1200" },
	    { 6, "truncated@1", "wait:1200" },
	    { 7, "no-edns@2", "end:no-edns" } } },
	{ "a race between two leaves one send",
	  BALANCE_RACE,
	  "ff",
	  { { 0, "", "first:0 race:1 wait:1200" },
	    { 5, "truncated@1", "resend:1/ wait:1200" },
	    { 1200, "time", "wait:4500" },
	    { 2000, "timeout@0", "wait:4500" },
	    { 2005, "answer@2", "end:answer" } } },
	{ "what cannot be sent twice is waited for once",
	  BALANCE_RACE,
	  "ff",
	  { { 0, "", "first:0 race:1 wait:1200" },
	    { 0, "unsent", "wait:1200" },
	    { 9, "answer@0", "end:answer" } } },
};

static void check_replay(const struct replay *replay)
{
	struct group g;
	char text[TEXT_MAX];

	group_init(&g, replay->strategy, replay->servers);
	attempts_start(&g.attempts, &g.pool, START_MS);
	for (const struct event *e = replay->events; e->event; e++) {
		uint64_t now_ms = START_MS + e->at_ms;

		happen(&g, e->event, now_ms);
		print_steps(&g, now_ms, text);
		ck_assert_msg(strcmp(text, e->actions) == 0, "%s, at %u: %s -> %s, not %s",
			      replay->what, e->at_ms, e->event, text, e->actions);
	}
}

START_TEST(test_replay)
{
	check_replay(&replays[_i]);
}
END_TEST

/* --- timers: each fires in its millisecond --------------------------------------------------- */

/* With nothing but time going by: when something is to be done, and what. */
static void run(enum balance_strategy strategy, const char *servers, uint32_t timeout_ms,
		const char *expected)
{
	struct group g;
	char text[TEXT_MAX];
	char log[TEXT_MAX * 4] = "";

	group_init(&g, strategy, servers);
	g.pool.timeout_ms = timeout_ms;
	attempts_start(&g.attempts, &g.pool, START_MS);
	for (uint64_t at_ms = 0; at_ms <= ATTEMPTS_DEADLINE_MS; at_ms++) {
		size_t len = strlen(log);
		uint64_t sent_before = g.attempts.sends;
		bool was_over = g.attempts.ended;

		attempts_take_time(&g.attempts, START_MS + at_ms);
		print_steps(&g, START_MS + at_ms, text);
		if (g.attempts.sends > sent_before || (g.attempts.ended && !was_over)) {
			snprintf(log + len, sizeof log - len, "%u %.*s;", (unsigned)at_ms,
				 (int)(strrchr(text, ' ') && !g.attempts.ended
					       ? strrchr(text, ' ') - text
					       : (long)strlen(text)),
				 text);
		}
	}
	ck_assert_str_eq(log, expected);
}

START_TEST(test_every_millisecond)
{
	run(BALANCE_FASTEST, "f", 2000, "0 first:0;1200 hedge:0+;4500 end:timeout;");
	run(BALANCE_FASTEST, "s", 2000, "0 first:0;1200 hedge:0+;4500 end:timeout;");
	run(BALANCE_FASTEST, "x", 4000, "0 first:0;2048 hedge:0+;4500 end:timeout;");
	/* Not when the first would have timed out before. */
	run(BALANCE_FASTEST, "f", 1200, "0 first:0;4500 end:timeout;");
	run(BALANCE_FASTEST, "f", 1201, "0 first:0;1200 hedge:0+;4500 end:timeout;");
	run(BALANCE_FASTEST, "F", 2000, "0 first:0;4500 end:timeout;");
	run(BALANCE_FAILOVER, "ff", 2000, "0 first:0;20 hedge:1;4500 end:timeout;");
	run(BALANCE_FAILOVER, "sf", 2000, "0 first:0;128 hedge:1;4500 end:timeout;");
	run(BALANCE_FAILOVER, "xf", 2000, "0 first:0;1024 hedge:1;4500 end:timeout;");
	run(BALANCE_FAILOVER, "nf", 2000, "0 first:0;300 hedge:1;4500 end:timeout;");
	run(BALANCE_FAILOVER, "FF", 2000, "0 first:0;20 hedge:1;4500 end:timeout;");
	run(BALANCE_FAILOVER, "nf", 300, "0 first:0;4500 end:timeout;");
	run(BALANCE_FAILOVER, "fd", 2000, "0 first:0;1200 hedge:0+;4500 end:timeout;");
	run(BALANCE_RACE, "ff", 2000, "0 first:0 race:1;1200 hedge:0+;4500 end:timeout;");
	run(BALANCE_RACE, "ffff", 2000, "0 first:0 race:1 race:2;4500 end:timeout;");
}
END_TEST

START_TEST(test_hedges_run_out)
{
	struct group g;
	char text[TEXT_MAX];
	unsigned hedged = 0;

	group_init(&g, BALANCE_FAILOVER, "ff");
	for (unsigned i = 0; i < 100; i++) {
		attempts_start(&g.attempts, &g.pool, START_MS);
		print_steps(&g, START_MS, text);
		attempts_take_time(&g.attempts, START_MS + 20);
		print_steps(&g, START_MS + 20, text);
		hedged += g.attempts.sends - 1;
		ck_assert(!g.attempts.ended);
	}
	/* Ten at once, then one in ten. */
	ck_assert_uint_eq(hedged, POOL_HEDGES_MAX + 100 / POOL_HEDGE_COST - 1);
}
END_TEST

/* --- whatever happens ------------------------------------------------------------------------ */

static uint32_t random_next(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 8;
}

struct tally {
	unsigned questions;
	unsigned ends[sizeof outcomes / sizeof outcomes[0]];
	unsigned sends[ATTEMPTS_SENDS_MAX + 1];
	unsigned reasons[ATTEMPTS_RESEND + 1];
};

/* Checked so often that Check, which notes each one, would take seconds. */
#define must(condition)                                 \
	do {                                            \
		if (!(condition)) {                     \
			ck_abort_msg("%s", #condition); \
		}                                       \
	} while (0)

/* One question with events at random until it ends; what must hold whatever they are. */
static void check_random_question(struct group *g, uint32_t *state, struct tally *tally)
{
	uint64_t now_ms = START_MS;
	unsigned sent = 0;
	unsigned open[ATTEMPTS_SENDS_MAX] = { 0 };
	bool ended = false;

	attempts_start(&g->attempts, &g->pool, now_ms);
	for (unsigned turn = 0; !ended; turn++) {
		struct attempts_step step = attempts_step(&g->attempts, now_ms);

		must(turn < 1000);
		if (step.action == ATTEMPTS_SEND) {
			must(sent < ATTEMPTS_SENDS_MAX);
			must(step.index == sent);
			must(step.server < g->pool.count);
			sent++;
			tally->reasons[step.reason]++;
			open[step.index] = 1;
			if (random_next(state) % 50 == 0) {
				attempts_take_back(&g->attempts, step.index);
				open[step.index] = 0;
			}
			continue;
		}
		if (step.action == ATTEMPTS_END) {
			tally->ends[step.outcome]++;
			ended = true;
			continue;
		}
		/* Never waits for nothing, nor beyond the deadline. */
		must(step.wait_ms > now_ms);
		must(step.wait_ms <= START_MS + ATTEMPTS_DEADLINE_MS);
		if (random_next(state) % 3 == 0) {
			now_ms = step.wait_ms;
			attempts_take_time(&g->attempts, now_ms);
			continue;
		}
		if (now_ms + 1 < step.wait_ms) {
			now_ms += 1 + random_next(state) % (uint32_t)(step.wait_ms - now_ms - 1);
		}
		if (random_next(state) % 8 == 0) {
			attempts_take_doubt(&g->attempts);
			continue;
		}
		for (unsigned n = random_next(state) % ATTEMPTS_SENDS_MAX, k = 0;
		     k < ATTEMPTS_SENDS_MAX; k++) {
			unsigned index = (n + k) % ATTEMPTS_SENDS_MAX;

			if (open[index]) {
				/* Answers are rare, or else nothing else would be seen. */
				unsigned what =
					random_next(state) % 16 == 0
						? UPSTREAM_ANSWER
						: 1 + random_next(state) % UPSTREAM_CANCELLED;

				if (what == UPSTREAM_CANCELLED && random_next(state) % 8 != 0) {
					what = UPSTREAM_BY_STREAM;
				}
				open[index] = 0;
				attempts_take_outcome(&g->attempts, index,
						      (enum upstream_outcome)what, now_ms);
				break;
			}
		}
	}
	must(sent >= 1);
	must(now_ms <= START_MS + ATTEMPTS_DEADLINE_MS);
	tally->sends[sent]++;
	tally->questions++;
	/* What comes late changes nothing, and nothing is sent for it. */
	for (unsigned index = 0; index < sent; index++) {
		attempts_take_outcome(&g->attempts, index, UPSTREAM_BY_STREAM, now_ms);
		attempts_take_doubt(&g->attempts);
		attempts_take_time(&g->attempts, now_ms + 10000);
		must(attempts_step(&g->attempts, now_ms).action == ATTEMPTS_END);
	}
}

/* At most three sends, whatever the strategy, the servers and what comes of it. */
START_TEST(test_never_more_than_three_sends)
{
	static const char kinds[] = "fsxnpdtFSXNPDT";
	uint32_t state = 20240229;
	struct tally tally = { 0 };

	for (unsigned round = 0; round < 20000; round++) {
		enum balance_strategy strategy = (enum balance_strategy)(round % 5);
		char servers[6] = "";
		struct group g;

		for (unsigned i = 0; i < 1 + round / 5 % 5; i++) {
			servers[i] = kinds[random_next(&state) % (sizeof kinds - 1)];
		}
		group_init(&g, strategy, servers);
		g.pool.timeout_ms = 50 + random_next(&state) % 3950;
		for (unsigned i = 0; i < 10; i++) {
			check_random_question(&g, &state, &tally);
		}
	}
	ck_assert_uint_eq(tally.questions, 200000);
	/* That all of it was seen: every number of sends, every end, every reason. */
	for (unsigned i = 1; i <= ATTEMPTS_SENDS_MAX; i++) {
		ck_assert_uint_gt(tally.sends[i], 1000);
	}
	for (unsigned i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++) {
		ck_assert_msg(tally.ends[i] > 100, "%s: %u", outcomes[i], tally.ends[i]);
	}
	for (unsigned i = 0; i <= ATTEMPTS_RESEND; i++) {
		ck_assert_msg(tally.reasons[i] > 1000, "%u: %u", i, tally.reasons[i]);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("attempts");
	TCase *tcase = tcase_create("attempts");

	tcase_add_loop_test(tcase, test_replay, 0, sizeof replays / sizeof replays[0]);
	tcase_add_test(tcase, test_every_millisecond);
	tcase_add_test(tcase, test_hedges_run_out);
	tcase_add_test(tcase, test_never_more_than_three_sends);
	tcase_set_timeout(tcase, 60);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
