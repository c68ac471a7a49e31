/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/cachestore.h"

#include "common/clock.h"
#include "common/log.h"

#include "dnsproxyd/cachefile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct cachestore {
	struct cache *cache;
	char *path;
	char *new_path;  /* what is being written */
	bool is_foreign; /* what is there is not ours to write over */
	uint8_t scratch[DNSMSG_MAX];
};

struct cachestore *cachestore_new(struct cache *cache, const char *path)
{
	struct cachestore *store = calloc(1, sizeof *store);

	if (!store) {
		return NULL;
	}
	store->cache = cache;
	store->path = strdup(path);
	if (!store->path || asprintf(&store->new_path, "%s.new", path) < 0) {
		store->new_path = NULL;
		cachestore_free(store);
		return NULL;
	}
	return store;
}

void cachestore_free(struct cachestore *store)
{
	if (store) {
		free(store->path);
		free(store->new_path);
		free(store);
	}
}

/* --- loading --------------------------------------------------------------------------------- */

/* 0 when all is there, -EBADMSG when the file is too short, or -errno. */
static int read_all(int fd, uint8_t *buf, size_t len)
{
	while (len > 0) {
		ssize_t n = read(fd, buf, len);

		if (n == 0) {
			return -EBADMSG;
		}
		if (n < 0 && errno != EINTR) {
			return -errno;
		}
		if (n > 0) {
			buf += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

/* The blocks up to the empty one. 0, -EBADMSG, -ENOMEM or -errno. */
static int load_blocks(struct cachefile_load *load, int fd)
{
	uint8_t *block = NULL;
	size_t cap = 0;
	size_t len = 1;
	int r = 0;

	for (uint32_t place = 0; r == 0 && len > 0; place++) {
		uint8_t head[CACHEFILE_BLOCK_LEN];

		r = read_all(fd, head, sizeof head);
		if (r < 0 || !cachefile_read_length(head, &len)) {
			r = r < 0 ? r : -EBADMSG;
			break;
		}
		if (CACHEFILE_BLOCK_LEN + len > cap) {
			cap = CACHEFILE_BLOCK_LEN + len;
			free(block);
			block = malloc(cap);
		}
		if (!block) {
			r = -ENOMEM;
			break;
		}
		memcpy(block, head, sizeof head);
		r = read_all(fd, block + sizeof head, len);
		if (r == 0 && !cachefile_load_block(load, block, len, place)) {
			r = -EBADMSG;
		}
	}
	free(block);
	return r;
}

static const char *load_file(struct cachestore *store, int fd, struct cachefile_load *load)
{
	uint8_t header[CACHEFILE_HEADER_LEN];
	uint64_t wall_ms = clock_wall_ms();
	int r = read_all(fd, header, sizeof header);

	if (r < 0 || !cachefile_is_ours(header)) {
		store->is_foreign = true;
		return "not a cache file";
	}
	if (!cachefile_read_header(header, &load->wall_ms)) {
		return "of another version, or damaged";
	}
	if (load->wall_ms > wall_ms) {
		return "saved in the future: is the clock right?";
	}
	load->passed_ms = wall_ms - load->wall_ms;
	r = load_blocks(load, fd);
	if (r < 0) {
		cache_flush(store->cache);
		return r == -EBADMSG ? "damaged" : strerror(-r);
	}
	return NULL;
}

void cachestore_load(struct cachestore *store, const struct cache_ttls *ttls)
{
	struct cachefile_load load = {
		.cache = store->cache,
		.ttls = *ttls,
		.now_ms = clock_mono_ms(),
		.scratch = store->scratch,
	};
	int fd = open(store->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	const char *why;

	if (fd < 0 && errno == ENOENT) {
		return;
	}
	if (fd < 0 || fstat(fd, &st) < 0) {
		why = strerror(errno);
	} else if (S_ISREG(st.st_mode) && st.st_size == 0) {
		/* Made for us, to be filled. */
		close(fd);
		return;
	} else if (!S_ISREG(st.st_mode)) {
		store->is_foreign = true;
		why = "not a file";
	} else {
		why = load_file(store, fd, &load);
	}
	if (fd >= 0) {
		close(fd);
	}
	if (why) {
		log_event(LOG_LEVEL_WARNING, "cache-file-refused", KV_TEXT("file", store->path),
			  KV_TEXT("why", why));
	} else {
		log_event(LOG_LEVEL_NOTICE, "cache-loaded", KV_TEXT("file", store->path),
			  KV_UINT("answers", load.loaded),
			  KV_UINT("ms", clock_mono_ms() - load.now_ms));
	}
}

/* --- saving ---------------------------------------------------------------------------------- */

static int write_all(int fd, const uint8_t *buf, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno != EINTR) {
			return -errno;
		}
		if (n > 0) {
			buf += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

static void add_item(void *arg, const struct cache_item *item)
{
	cachefile_add(arg, item);
}

/* Each shard is a block; an empty one at the end. 0 or -errno. */
static int write_blocks(struct cachestore *store, int fd, uint64_t wall_ms, uint64_t max_stale_ms,
			size_t *ret_count)
{
	struct cachefile_block block = { .bytes = NULL };
	size_t shards = cache_shard_count(store->cache);
	uint32_t place = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i <= shards; i++) {
		size_t len;

		cachefile_clear(&block);
		if (i < shards) {
			cache_visit(store->cache, i, clock_mono_ms(), max_stale_ms, store->scratch,
				    add_item, &block);
		}
		if (block.records == 0 && i < shards) {
			continue;
		}
		*ret_count += block.records;
		len = cachefile_finish(&block, place++, wall_ms);
		r = len > 0 ? write_all(fd, block.bytes, len) : -ENOMEM;
	}
	cachefile_done(&block);
	return r;
}

/* 0 or -errno. */
static int write_file(struct cachestore *store, uint64_t max_stale_ms, size_t *ret_count)
{
	uint8_t header[CACHEFILE_HEADER_LEN];
	uint64_t wall_ms = clock_wall_ms();
	int fd = open(store->new_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r;

	if (fd < 0) {
		return -errno;
	}
	cachefile_write_header(header, wall_ms);
	r = write_all(fd, header, sizeof header);
	if (r == 0) {
		r = write_blocks(store, fd, wall_ms, max_stale_ms, ret_count);
	}
	if (r == 0 && fsync(fd) < 0) {
		r = -errno;
	}
	close(fd);
	if (r == 0 && rename(store->new_path, store->path) < 0) {
		r = -errno;
	}
	if (r < 0) {
		unlink(store->new_path);
	}
	return r;
}

void cachestore_save(struct cachestore *store, uint64_t max_stale_ms)
{
	uint64_t began_ms = clock_mono_ms();
	size_t count = 0;
	int r;

	if (store->is_foreign) {
		return;
	}
	r = write_file(store, max_stale_ms, &count);
	if (r < 0) {
		log_event(LOG_LEVEL_ERROR, "cache-not-saved", KV_TEXT("file", store->path),
			  KV_ERRNO("error", -r));
	} else {
		log_event(LOG_LEVEL_INFO, "cache-saved", KV_TEXT("file", store->path),
			  KV_UINT("answers", count), KV_UINT("ms", clock_mono_ms() - began_ms));
	}
}
