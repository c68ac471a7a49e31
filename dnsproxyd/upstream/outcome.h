/* SPDX-License-Identifier: ISC */
/*
 * What sending a question to a server came to.
 */
#ifndef DNSPROXYD_UPSTREAM_OUTCOME_H
#define DNSPROXYD_UPSTREAM_OUTCOME_H

/* X(name, "token"); the tokens are used in logs and in the text of EDE options. */
#define UPSTREAM_OUTCOMES(X)                                                                       \
	X(ANSWER, "answer") /* something a client can use */                                       \
	X(ERROR, "error")   /* SERVFAIL, REFUSED and the like: another server may know */          \
	X(MALFORMED, "malformed")                                                                  \
	X(TIMEOUT, "timeout")                                                                      \
	X(UNREACHABLE, "unreachable")                                                              \
	X(BY_STREAM, "truncated") /* ask again by TCP: the answer was truncated, or forgers are at \
				     work */                                                       \
	X(NO_EDNS, "no-edns")     /* ask again, it will be without EDNS (RFC 6891 section 7) */    \
	X(OVERLOAD, "overload")   /* too many queries are open: not the server's fault */          \
	X(CANCELLED, "cancelled")

#define UPSTREAM_ENUM(name, token) UPSTREAM_##name,
enum upstream_outcome {
	UPSTREAM_OUTCOMES(UPSTREAM_ENUM)
};
#undef UPSTREAM_ENUM

#endif
