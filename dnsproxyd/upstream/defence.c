/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/upstream/defence.h"

enum {
	CASE_BIT = 0x20,
	TELLING_LETTERS = 16,
	SILENCES_MAX = 3,
};

static bool is_letter(uint8_t octet)
{
	uint8_t lower = octet | CASE_BIT;

	return lower >= 'a' && lower <= 'z';
}

bool defence_wants_case(const struct defence *d, bool again, uint64_t now_ms)
{
	if (now_ms < d->case_off_until_ms) {
		return false;
	}
	return d->copes || !again;
}

void defence_note_exact(struct defence *d)
{
	d->copes = true;
	d->strikes = 0;
	d->silences = 0;
}

void defence_note_silence(struct defence *d)
{
	if (d->silences < SILENCES_MAX && ++d->silences == SILENCES_MAX) {
		d->copes = false;
	}
}

bool defence_note_strike(struct defence *d, uint64_t now_ms)
{
	if (now_ms < d->case_off_until_ms) {
		return false;
	}
	if (++d->strikes < DEFENCE_CASE_STRIKES) {
		return false;
	}
	d->strikes = 0;
	d->copes = false;
	d->case_off_until_ms = now_ms + DEFENCE_CASE_OFF_MS;
	return true;
}

bool defence_wants_stream(const struct defence *d, uint64_t now_ms)
{
	return now_ms < d->stream_until_ms;
}

bool defence_note_wrong_id(struct defence *d, uint64_t now_ms)
{
	if (now_ms < d->stream_until_ms || now_ms < d->no_stream_until_ms) {
		return false;
	}
	if (d->burst_count == 0 || now_ms - d->burst_began_ms >= DEFENCE_BURST_MS) {
		d->burst_began_ms = now_ms;
		d->burst_count = 0;
	}
	if (++d->burst_count < DEFENCE_BURST_COUNT) {
		return false;
	}
	d->burst_count = 0;
	d->stream_until_ms = now_ms + DEFENCE_STREAM_MS;
	return true;
}

void defence_note_stream_failed(struct defence *d, uint64_t now_ms)
{
	if (now_ms < d->stream_until_ms) {
		d->stream_until_ms = 0;
		d->no_stream_until_ms = now_ms + DEFENCE_NO_STREAM_MS;
	}
}

void defence_mix_case(uint8_t *name, size_t len, const uint8_t random[DEFENCE_RANDOM_LEN])
{
	/* Length octets are below 64, so they are no letters. */
	for (size_t i = 0; i < len && i / 8 < DEFENCE_RANDOM_LEN; i++) {
		if (is_letter(name[i]) && (random[i / 8] >> (i % 8) & 1)) {
			name[i] ^= CASE_BIT;
		}
	}
}

bool defence_case_is_telling(const uint8_t *name, size_t len)
{
	unsigned letters = 0;

	for (size_t i = 0; i < len; i++) {
		letters += is_letter(name[i]);
	}
	return letters >= TELLING_LETTERS;
}
