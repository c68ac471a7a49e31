/* SPDX-License-Identifier: ISC */
#include "socksd/udp/shield.h"

#include "common/container.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/sock_diag.h>
#include <string.h>
#include <sys/socket.h>

enum {
	PASS = 0xffffffff,
	DROP = 0,
	/* Where the source address is in the network header, and the source port in UDP's, at which
	 * the filter starts. */
	IPV4_SOURCE = 12,
	IPV6_SOURCE = 8,
	UDP_SOURCE = 0,
	WORDS_MAX = 4,
	PROGRAM_MAX = 2 * (WORDS_MAX + 1) + 2,
};

/* "Unless the value there is this, drop": `left` checks follow. */
static void add_check(struct sock_filter *program, unsigned short *count, uint32_t size,
		      uint32_t offset, uint32_t value, unsigned left)
{
	program[(*count)++] = (struct sock_filter)BPF_STMT(BPF_LD | size | BPF_ABS, offset);
	/* Behind the remaining checks is PASS, and then DROP. */
	program[(*count)++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0,
							   (uint8_t)(2 * left + 1));
}

int shield_raise(int fd, const struct addr *peer)
{
	bool v6 = peer->sa.sa_family == AF_INET6;
	uint32_t words[WORDS_MAX];
	unsigned word_count = v6 ? 4 : 1;
	struct sock_filter program[PROGRAM_MAX];
	struct sock_fprog prog = { .filter = program };

	if (v6) {
		memcpy(words, &peer->in6.sin6_addr, sizeof words);
	} else {
		words[0] = peer->in4.sin_addr.s_addr;
	}
	for (unsigned i = 0; i < word_count; i++) {
		uint32_t offset = (uint32_t)SKF_NET_OFF + (v6 ? IPV6_SOURCE : IPV4_SOURCE) + 4 * i;

		add_check(program, &prog.len, BPF_W, offset, ntohl(words[i]), word_count - i);
	}
	add_check(program, &prog.len, BPF_H, UDP_SOURCE, addr_port(peer), 0);
	program[prog.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, PASS);
	program[prog.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, DROP);
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof prog) < 0 ? -errno : 0;
}

uint32_t shield_drops(int fd)
{
	uint32_t info[SK_MEMINFO_VARS];
	socklen_t len = sizeof info;

	if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len) < 0 ||
	    len <= SK_MEMINFO_DROPS * sizeof info[0]) {
		return 0;
	}
	return info[SK_MEMINFO_DROPS];
}
