/* SPDX-License-Identifier: ISC */
/*
 * What is done against forged answers beyond random ids and ports, for one server: whether its
 * questions carry random case ("0x20"), and whether they go by TCP for a while.
 *
 * Random case only helps with servers that return the question as it was sent. Some fold it, some
 * do not answer at all; after DEFENCE_CASE_STRIKES pieces of evidence, with nothing to the contrary
 * between them, a server is asked plainly for DEFENCE_CASE_OFF_MS, and tried again then.
 *
 * Many answers with a wrong id mean that someone is guessing (RFC 5452 section 9.1 has us drop them
 * and wait on): DEFENCE_BURST_COUNT within DEFENCE_BURST_MS, and the server is asked by TCP, where
 * guessing is hopeless, for DEFENCE_STREAM_MS. A server that does not do TCP is excused for
 * DEFENCE_NO_STREAM_MS.
 *
 * Pure. Thread: the worker's.
 */
#ifndef DNSPROXYD_UPSTREAM_DEFENCE_H
#define DNSPROXYD_UPSTREAM_DEFENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEFENCE_CASE_STRIKES 2
#define DEFENCE_CASE_OFF_MS  300000
#define DEFENCE_BURST_COUNT  10
#define DEFENCE_BURST_MS     2000
#define DEFENCE_STREAM_MS    60000
#define DEFENCE_NO_STREAM_MS 300000

/* Octets of randomness for one name. */
#define DEFENCE_RANDOM_LEN   32

/* All-zero is a server about which nothing is known. */
struct defence {
	bool copes; /* it has returned random case as it was sent */
	unsigned strikes;
	unsigned silences; /* in a row, to questions in random case */
	uint64_t case_off_until_ms;

	uint64_t burst_began_ms;
	unsigned burst_count;
	uint64_t stream_until_ms;
	uint64_t no_stream_until_ms;
};

/* Whether the next question gets random case. `again`: this question was sent so before and not
 * answered; then a server that never proved itself is asked plainly, to find out. */
bool defence_wants_case(const struct defence *defence, bool again, uint64_t now_ms);

/* The server returned the question in our random case. */
void defence_note_exact(struct defence *defence);

/* A question in random case was not answered. After a few in a row the server has to prove itself
 * anew. */
void defence_note_silence(struct defence *defence);

/* Evidence that it cannot: it returned the question in another case, or answered it plainly only.
 * True when random case is switched off by it. */
bool defence_note_strike(struct defence *defence, uint64_t now_ms);

/* Whether the next question goes by TCP. */
bool defence_wants_stream(const struct defence *defence, uint64_t now_ms);

/* An answer with a wrong id. True when it completes a burst. */
bool defence_note_wrong_id(struct defence *defence, uint64_t now_ms);

/* A question that went by TCP for our sake was not answered. */
void defence_note_stream_failed(struct defence *defence, uint64_t now_ms);

/* Give each letter of an uncompressed name the case of the next random bit. */
void defence_mix_case(uint8_t *name, size_t len, const uint8_t random[DEFENCE_RANDOM_LEN]);

/* Whether a name has so many letters that its random case would not come back by chance. */
bool defence_case_is_telling(const uint8_t *name, size_t len);

#endif
