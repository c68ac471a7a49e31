/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/query/inflight.h"

#include "common/container.h"
#include "common/freelist.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Powers of two: some thousand questions are open at a time. */
#define SHARDS 64
#define SLOTS  64

enum {
	SPARE_QUESTIONS_MAX = 16, /* a shard */
};

struct inflight_question {
	struct inflight_question *next; /* in its slot */
	size_t waiter_count;
	struct inflight_waiter waiters; /* ring head */
	unsigned generation;
	struct cache_key key;
};

struct shard {
	pthread_mutex_t mutex;
	struct inflight_question *slots[SLOTS];
	struct freelist spare_questions;
};

struct inflight_port {
	struct inflight_port *next; /* of all ports */
	struct loop *loop;
	struct post post;
	pthread_mutex_t mutex;           /* taken after a shard's */
	struct inflight_waiter answered; /* ring head: their answers are here */
	bool post_sent;
};

struct inflight {
	pthread_mutex_t mutex; /* of the list of ports */
	struct inflight_port *ports;
	struct shard shards[SHARDS];
};

/* --- rings ----------------------------------------------------------------------------------- */

static void ring_init(struct inflight_waiter *head)
{
	head->next = head;
	head->prev = head;
}

static void ring_append(struct inflight_waiter *head, struct inflight_waiter *waiter)
{
	waiter->prev = head->prev;
	waiter->next = head;
	head->prev->next = waiter;
	head->prev = waiter;
}

static void ring_remove(struct inflight_waiter *waiter)
{
	waiter->prev->next = waiter->next;
	waiter->next->prev = waiter->prev;
}

/* --- answers --------------------------------------------------------------------------------- */

struct inflight_answer *inflight_answer_new(int outcome, unsigned rcode, const uint8_t *msg,
					    size_t len)
{
	struct inflight_answer *answer = malloc(sizeof *answer + len);

	if (answer) {
		answer->references = 1;
		answer->outcome = outcome;
		answer->rcode = rcode;
		answer->reason.is_set = false;
		answer->len = len;
		if (len > 0) {
			memcpy(answer->msg, msg, len);
		}
	}
	return answer;
}

static void answer_hold(struct inflight_answer *answer)
{
	if (answer) {
		__atomic_add_fetch(&answer->references, 1, __ATOMIC_RELAXED);
	}
}

static void answer_drop(struct inflight_answer *answer)
{
	if (answer && __atomic_sub_fetch(&answer->references, 1, __ATOMIC_ACQ_REL) == 0) {
		free(answer);
	}
}

/* --- ports ----------------------------------------------------------------------------------- */

static struct inflight_waiter *port_take(struct inflight_port *port)
{
	struct inflight_waiter *waiter;

	pthread_mutex_lock(&port->mutex);
	waiter = port->answered.next;
	if (waiter == &port->answered) {
		waiter = NULL;
	} else {
		ring_remove(waiter);
	}
	pthread_mutex_unlock(&port->mutex);
	return waiter;
}

/* Tell all whose answers are here. One at a time: a callback may make others leave. */
static void port_deliver(struct inflight_port *port)
{
	struct inflight_waiter *waiter;

	while ((waiter = port_take(port)) != NULL) {
		struct inflight_answer *answer = waiter->answer;

		waiter->port = NULL;
		waiter->answer = NULL;
		waiter->fn(waiter, answer);
		answer_drop(answer);
	}
}

static void on_post(struct post *post)
{
	struct inflight_port *port = container_of(post, struct inflight_port, post);

	pthread_mutex_lock(&port->mutex);
	port->post_sent = false;
	pthread_mutex_unlock(&port->mutex);
	port_deliver(port);
}

/* Hand a waiter with its answer to its port; unless that is the caller's own, wake its worker. */
static void port_send(struct inflight_port *port, struct inflight_waiter *waiter, bool is_own)
{
	bool wake;

	pthread_mutex_lock(&port->mutex);
	wake = !is_own && !port->post_sent;
	port->post_sent |= wake;
	ring_append(&port->answered, waiter);
	pthread_mutex_unlock(&port->mutex);
	if (wake) {
		loop_post(port->loop, &port->post, on_post);
	}
}

struct inflight_port *inflight_port_new(struct inflight *inflight, struct loop *loop)
{
	struct inflight_port *port = calloc(1, sizeof *port);

	if (!port) {
		return NULL;
	}
	port->loop = loop;
	pthread_mutex_init(&port->mutex, NULL);
	ring_init(&port->answered);
	pthread_mutex_lock(&inflight->mutex);
	port->next = inflight->ports;
	inflight->ports = port;
	pthread_mutex_unlock(&inflight->mutex);
	return port;
}

/* --- questions; the shard's mutex is held ---------------------------------------------------- */

static struct inflight_question **slot_of(struct shard *shard, const struct cache_key *key)
{
	return &shard->slots[(key->hash >> 32) % SLOTS];
}

static struct inflight_question *find_question(struct shard *shard, const struct cache_key *key,
					       unsigned generation)
{
	struct inflight_question *question = *slot_of(shard, key);

	while (question &&
	       !(question->generation == generation && cache_key_equal(&question->key, key))) {
		question = question->next;
	}
	return question;
}

static struct inflight_question *add_question(struct shard *shard, const struct cache_key *key,
					      unsigned generation)
{
	struct inflight_question **slot = slot_of(shard, key);
	struct inflight_question *question = freelist_take(&shard->spare_questions);

	if (question) {
		cache_key_copy(&question->key, key);
		question->generation = generation;
		question->waiter_count = 0;
		ring_init(&question->waiters);
		question->next = *slot;
		*slot = question;
	}
	return question;
}

static void remove_question(struct shard *shard, struct inflight_question *question)
{
	struct inflight_question **link = slot_of(shard, &question->key);

	while (*link != question) {
		link = &(*link)->next;
	}
	*link = question->next;
}

static void add_waiter(struct inflight_question *question, struct inflight_waiter *waiter)
{
	waiter->question = question;
	question->waiter_count++;
	ring_append(&question->waiters, waiter);
}

/* --- the table ------------------------------------------------------------------------------- */

const struct cache_key *inflight_question_key(const struct inflight_question *question)
{
	return &question->key;
}

static uint32_t shard_index(const struct cache_key *key)
{
	return (uint32_t)(key->hash % SHARDS);
}

enum inflight_role inflight_join(struct inflight *inflight, const struct cache_key *key,
				 unsigned generation, struct inflight_port *port, size_t limit,
				 struct inflight_waiter *waiter, inflight_fn fn,
				 struct inflight_question **ret_question)
{
	struct shard *shard = &inflight->shards[shard_index(key)];
	enum inflight_role role = INFLIGHT_FOLLOWS;
	struct inflight_question *question;

	*waiter = (struct inflight_waiter){ .shard = shard_index(key), .fn = fn };
	pthread_mutex_lock(&shard->mutex);
	question = find_question(shard, key, generation);
	if (!question) {
		question = add_question(shard, key, generation);
		role = question ? INFLIGHT_LEADS : INFLIGHT_FAILED;
	} else if (question->waiter_count >= limit) {
		role = INFLIGHT_CROWDED;
	}
	if (role == INFLIGHT_FOLLOWS || role == INFLIGHT_LEADS) {
		waiter->port = port;
		add_waiter(question, waiter);
	}
	pthread_mutex_unlock(&shard->mutex);
	if (role == INFLIGHT_LEADS) {
		*ret_question = question;
	}
	return role;
}

enum inflight_role inflight_open(struct inflight *inflight, const struct cache_key *key,
				 unsigned generation, struct inflight_question **ret_question)
{
	struct shard *shard = &inflight->shards[shard_index(key)];
	enum inflight_role role = INFLIGHT_FOLLOWS;

	pthread_mutex_lock(&shard->mutex);
	if (!find_question(shard, key, generation)) {
		*ret_question = add_question(shard, key, generation);
		role = *ret_question ? INFLIGHT_LEADS : INFLIGHT_FAILED;
	}
	pthread_mutex_unlock(&shard->mutex);
	return role;
}

void inflight_leave(struct inflight *inflight, struct inflight_waiter *waiter)
{
	struct inflight_port *port = waiter->port;
	struct shard *shard = &inflight->shards[waiter->shard];

	if (!port) {
		return;
	}
	pthread_mutex_lock(&shard->mutex);
	if (waiter->question) {
		ring_remove(waiter);
		waiter->question->waiter_count--;
	} else {
		/* Its leader was faster: it lies in the port's ring, from which only this thread
		 * takes. */
		pthread_mutex_lock(&port->mutex);
		ring_remove(waiter);
		pthread_mutex_unlock(&port->mutex);
		answer_drop(waiter->answer);
	}
	pthread_mutex_unlock(&shard->mutex);
	waiter->port = NULL;
	waiter->question = NULL;
}

void inflight_finish(struct inflight *inflight, struct inflight_question *question,
		     struct inflight_port *port, struct inflight_answer *answer)
{
	struct shard *shard = &inflight->shards[shard_index(&question->key)];

	pthread_mutex_lock(&shard->mutex);
	remove_question(shard, question);
	while (question->waiters.next != &question->waiters) {
		struct inflight_waiter *waiter = question->waiters.next;

		ring_remove(waiter);
		waiter->question = NULL;
		waiter->answer = answer;
		answer_hold(answer);
		port_send(waiter->port, waiter, waiter->port == port);
	}
	freelist_give(&shard->spare_questions, question);
	pthread_mutex_unlock(&shard->mutex);
	answer_drop(answer);
	if (port) {
		port_deliver(port);
	}
}

/* --- life ------------------------------------------------------------------------------------ */

struct inflight *inflight_new(void)
{
	struct inflight *inflight = calloc(1, sizeof *inflight);

	if (inflight) {
		pthread_mutex_init(&inflight->mutex, NULL);
		for (size_t i = 0; i < SHARDS; i++) {
			struct shard *shard = &inflight->shards[i];

			pthread_mutex_init(&shard->mutex, NULL);
			shard->spare_questions.object_bytes = sizeof(struct inflight_question);
			shard->spare_questions.keep_max = SPARE_QUESTIONS_MAX;
		}
	}
	return inflight;
}

void inflight_free(struct inflight *inflight)
{
	if (!inflight) {
		return;
	}
	while (inflight->ports) {
		struct inflight_port *port = inflight->ports;

		inflight->ports = port->next;
		pthread_mutex_destroy(&port->mutex);
		free(port);
	}
	for (size_t i = 0; i < SHARDS; i++) {
		pthread_mutex_destroy(&inflight->shards[i].mutex);
		freelist_clear(&inflight->shards[i].spare_questions);
	}
	pthread_mutex_destroy(&inflight->mutex);
	free(inflight);
}
