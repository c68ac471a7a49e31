/* SPDX-License-Identifier: ISC */
#include "dnsproxyd/cache/cachestore.h"

#include "common/clock.h"
#include "common/log.h"

#include "dnsproxyd/cache/cachefile.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The state that the calls of cachestore_load() share. */
struct loading {
	unsigned expected; /* calls that have not returned */
	bool has_begun;
	bool is_at_end;  /* nothing is left to read */
	const char *why; /* the file is refused; NULL: not so far */
	int fd;          /* -1: nothing to read */
	uint32_t place;  /* of the next block */
	size_t loaded;
	uint64_t began_ms;
	struct cachefile_groups groups;
	struct cachefile_load common; /* what each call begins with */
};

struct cachestore {
	/* constant */
	struct cache *cache;
	char *path;
	char *new_path; /* what is being written */
	/* live */
	pthread_mutex_t mutex; /* of what follows, but for the atomic ones */
	char **names;          /* of the groups, in one piece of memory */
	size_t name_count;
	bool is_foreign; /* what is there is not ours to write over */
	struct loading loading;
	_Atomic bool is_loading;
	_Atomic bool is_stopped; /* before all was loaded */
	uint8_t scratch[DNSMSG_MAX];
};

/* --- life ------------------------------------------------------------------------------------ */

struct cachestore *cachestore_new(struct cache *cache, const char *path)
{
	struct cachestore *store = calloc(1, sizeof *store);

	if (!store) {
		return NULL;
	}
	pthread_mutex_init(&store->mutex, NULL);
	store->cache = cache;
	store->loading.fd = -1;
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
		if (store->loading.fd >= 0) {
			close(store->loading.fd);
		}
		pthread_mutex_destroy(&store->mutex);
		free(store->names);
		free(store->path);
		free(store->new_path);
		free(store);
	}
}

int cachestore_set_groups(struct cachestore *store, const char *const *names, size_t count)
{
	size_t bytes = 0;
	char **copy;
	char *text;

	for (size_t i = 0; i < count; i++) {
		bytes += strlen(names[i]) + 1;
	}
	copy = malloc(count * sizeof *copy + bytes);
	text = (char *)(copy + count);
	for (size_t i = 0; copy && i < count; i++) {
		copy[i] = text;
		text = stpcpy(text, names[i]) + 1;
	}
	pthread_mutex_lock(&store->mutex);
	free(store->names);
	store->names = copy;
	store->name_count = copy ? count : 0;
	pthread_mutex_unlock(&store->mutex);
	return copy ? 0 : -ENOMEM;
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

static int open_to_read(const char *path)
{
	return open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

struct crypto_key cachestore_hash_key(const char *path)
{
	uint8_t header[CACHEFILE_HEADER_LEN];
	struct cachefile_header fields;
	struct stat st;
	int fd = open_to_read(path);

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    read_all(fd, header, sizeof header) < 0 || !cachefile_read_header(header, &fields)) {
		crypto_random(&fields.hash_key, sizeof fields.hash_key);
	}
	if (fd >= 0) {
		close(fd);
	}
	return fields.hash_key;
}

/* A block in memory, which the caller keeps for the next. */
struct block {
	uint8_t *bytes;
	size_t cap;
	size_t records_len;
	uint32_t place;
};

/* Read the next block; none when the empty one has come. The mutex is held. 0, -EBADMSG, -ENOMEM or
 * -errno. */
static int read_block(struct loading *loading, struct block *block)
{
	uint8_t head[CACHEFILE_BLOCK_LEN];
	int r = read_all(loading->fd, head, sizeof head);

	if (r < 0 || !cachefile_read_length(head, &block->records_len)) {
		return r < 0 ? r : -EBADMSG;
	}
	if (CACHEFILE_BLOCK_LEN + block->records_len > block->cap) {
		block->cap = CACHEFILE_BLOCK_LEN + block->records_len;
		free(block->bytes);
		block->bytes = malloc(block->cap);
	}
	if (!block->bytes) {
		block->cap = 0;
		return -ENOMEM;
	}
	memcpy(block->bytes, head, sizeof head);
	block->place = loading->place++;
	return read_all(loading->fd, block->bytes + sizeof head, block->records_len);
}

static const char *why_of(int error)
{
	return error == -EBADMSG ? "damaged" : strerror(-error);
}

/* What stands before the answers. NULL, or why the file is refused. The mutex is held. */
static const char *read_header(struct cachestore *store)
{
	struct loading *loading = &store->loading;
	struct cachefile_load *common = &loading->common;
	uint8_t header[CACHEFILE_HEADER_LEN];
	uint64_t wall_ms = clock_wall_ms();
	struct block block = { .bytes = NULL };
	struct cachefile_header fields;
	int r = read_all(loading->fd, header, sizeof header);

	if (r < 0 || !cachefile_is_ours(header)) {
		store->is_foreign = true;
		return "not a cache file";
	}
	if (!cachefile_read_header(header, &fields)) {
		return "of another version, or damaged";
	}
	common->wall_ms = fields.wall_ms;
	if (common->wall_ms > wall_ms) {
		return "saved in the future: is the clock right?";
	}
	common->passed_ms = wall_ms - common->wall_ms;
	common->groups = &loading->groups;
	r = read_block(loading, &block);
	if (r == 0 && !cachefile_read_groups(block.bytes, block.records_len, common->wall_ms,
					     (const char *const *)store->names, store->name_count,
					     &loading->groups)) {
		r = -EBADMSG;
	}
	free(block.bytes);
	return r < 0 ? why_of(r) : NULL;
}

/* Open the file. The mutex is held. */
static void begin_loading(struct cachestore *store)
{
	struct loading *loading = &store->loading;
	struct stat st;

	loading->has_begun = true;
	loading->began_ms = clock_mono_ms();
	loading->common.now_ms = loading->began_ms;
	loading->fd = open_to_read(store->path);
	if (loading->fd < 0 && errno == ENOENT) {
		return;
	}
	if (loading->fd < 0 || fstat(loading->fd, &st) < 0) {
		loading->why = strerror(errno);
	} else if (!S_ISREG(st.st_mode)) {
		store->is_foreign = true;
		loading->why = "not a file";
	} else if (st.st_size == 0) {
		/* Made for us, to be filled. */
		close(loading->fd);
		loading->fd = -1;
	} else {
		loading->why = read_header(store);
	}
}

/* The next block for one of those who load; false when there is none. */
static bool next_block(struct cachestore *store, struct block *block)
{
	struct loading *loading = &store->loading;
	bool has_one = false;

	pthread_mutex_lock(&store->mutex);
	if (!loading->has_begun) {
		begin_loading(store);
	}
	if (loading->fd >= 0 && !loading->why && !loading->is_at_end &&
	    !atomic_load(&store->is_stopped) &&
	    cache_flush_count(store->cache) == loading->common.flush_count) {
		int r = read_block(loading, block);

		if (r < 0) {
			loading->why = why_of(r);
		}
		loading->is_at_end = block->records_len == 0;
		has_one = r == 0;
	}
	pthread_mutex_unlock(&store->mutex);
	return has_one;
}

/* By the last of those who loaded; the mutex is held. */
static void end_loading(struct cachestore *store)
{
	struct loading *loading = &store->loading;

	if (loading->why) {
		if (!store->is_foreign && loading->fd >= 0) {
			cache_flush(store->cache);
		}
		log_event(LOG_LEVEL_WARNING, "cache-file-refused", KV_TEXT("file", store->path),
			  KV_TEXT("why", loading->why));
	} else if (atomic_load(&store->is_stopped)) {
		log_event(LOG_LEVEL_NOTICE, "cache-loading-stopped", KV_TEXT("file", store->path));
	} else if (loading->fd >= 0) {
		log_event(LOG_LEVEL_NOTICE, "cache-loaded", KV_TEXT("file", store->path),
			  KV_UINT("answers", loading->loaded),
			  KV_UINT("ms", clock_mono_ms() - loading->began_ms));
	}
	if (loading->fd >= 0) {
		close(loading->fd);
		loading->fd = -1;
	}
	if (!atomic_load(&store->is_stopped)) {
		atomic_store(&store->is_loading, false);
	}
}

static void set_why(struct cachestore *store, const char *why)
{
	pthread_mutex_lock(&store->mutex);
	store->loading.why = why;
	pthread_mutex_unlock(&store->mutex);
}

void cachestore_expect(struct cachestore *store, const struct cache_ttls *ttls, unsigned calls)
{
	store->loading.expected = calls;
	store->loading.common = (struct cachefile_load){
		.cache = store->cache,
		.flush_count = cache_flush_count(store->cache),
		.ttls = *ttls,
	};
	atomic_store(&store->is_loading, true);
}

void cachestore_load(struct cachestore *store)
{
	struct block block = { .bytes = NULL };
	uint8_t *scratch = malloc(DNSMSG_MAX);
	struct cachefile_load load = { .loaded = 0 };

	if (!scratch) {
		set_why(store, strerror(ENOMEM));
	}
	while (scratch && next_block(store, &block)) {
		size_t loaded = load.loaded;

		load = store->loading.common;
		load.loaded = loaded;
		load.scratch = scratch;
		if (!cachefile_load_block(&load, block.bytes, block.records_len, block.place)) {
			set_why(store, why_of(-EBADMSG));
		}
	}
	free(scratch);
	free(block.bytes);
	pthread_mutex_lock(&store->mutex);
	store->loading.loaded += load.loaded;
	if (--store->loading.expected == 0) {
		end_loading(store);
	}
	pthread_mutex_unlock(&store->mutex);
}

void cachestore_stop_loading(struct cachestore *store)
{
	if (atomic_load(&store->is_loading)) {
		atomic_store(&store->is_stopped, true);
	}
}

bool cachestore_is_loading(const struct cachestore *store)
{
	return atomic_load_explicit(&store->is_loading, memory_order_relaxed);
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

/* The file being written. */
struct writing {
	int fd;
	uint64_t wall_ms;
	uint32_t place; /* of the next block */
	struct cachefile_block block;
	size_t count; /* answers so far */
};

/* Write the block, which may be empty, and empty it. 0 or -errno. */
static int write_block(struct writing *writing)
{
	size_t len = cachefile_finish(&writing->block, writing->place++, writing->wall_ms);
	int r = len > 0 ? write_all(writing->fd, writing->block.bytes, len) : -ENOMEM;

	cachefile_clear(&writing->block);
	return r;
}

/* The names, a block for each shard, an empty one at the end. 0 or -errno. */
static int write_blocks(struct cachestore *store, struct writing *writing, uint64_t max_stale_ms)
{
	size_t shards = cache_shard_count(store->cache);
	int r;

	pthread_mutex_lock(&store->mutex);
	for (size_t i = 0; i < store->name_count; i++) {
		cachefile_add_group(&writing->block, store->names[i]);
	}
	pthread_mutex_unlock(&store->mutex);
	r = write_block(writing);
	for (size_t i = 0; r == 0 && i < shards; i++) {
		cache_visit(store->cache, i, clock_mono_ms(), max_stale_ms, store->scratch,
			    add_item, &writing->block);
		writing->count += writing->block.records;
		if (writing->block.records > 0) {
			r = write_block(writing);
		}
	}
	return r == 0 ? write_block(writing) : r;
}

/* 0 or -errno; -ESTALE: the cache was emptied meanwhile, and numbers may mean other groups. */
static int write_file(struct cachestore *store, uint64_t max_stale_ms, size_t *ret_count)
{
	uint8_t header[CACHEFILE_HEADER_LEN];
	unsigned flush_count = cache_flush_count(store->cache);
	struct writing writing = {
		.fd = open(store->new_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
			   0600),
		.wall_ms = clock_wall_ms(),
	};
	int r;

	if (writing.fd < 0) {
		return -errno;
	}
	cachefile_write_header(header, &(struct cachefile_header){
					       .wall_ms = writing.wall_ms,
					       .hash_key = cache_hash_key(store->cache),
				       });
	r = write_all(writing.fd, header, sizeof header);
	if (r == 0) {
		r = write_blocks(store, &writing, max_stale_ms);
	}
	cachefile_done(&writing.block);
	if (r == 0 && fsync(writing.fd) < 0) {
		r = -errno;
	}
	close(writing.fd);
	if (r == 0 && cache_flush_count(store->cache) != flush_count) {
		r = -ESTALE;
	}
	if (r == 0 && rename(store->new_path, store->path) < 0) {
		r = -errno;
	}
	if (r < 0) {
		unlink(store->new_path);
	}
	*ret_count = writing.count;
	return r;
}

void cachestore_save(struct cachestore *store, uint64_t max_stale_ms)
{
	uint64_t began_ms = clock_mono_ms();
	size_t count = 0;
	bool is_foreign;
	int r;

	pthread_mutex_lock(&store->mutex);
	is_foreign = store->is_foreign;
	pthread_mutex_unlock(&store->mutex);
	if (is_foreign || cachestore_is_loading(store)) {
		return;
	}
	r = write_file(store, max_stale_ms, &count);
	if (r == -ESTALE) {
		log_event(LOG_LEVEL_INFO, "cache-not-saved", KV_TEXT("file", store->path),
			  KV_TEXT("why", "a reload has emptied it meanwhile"));
	} else if (r < 0) {
		log_event(LOG_LEVEL_ERROR, "cache-not-saved", KV_TEXT("file", store->path),
			  KV_ERRNO("error", -r));
	} else {
		log_event(LOG_LEVEL_INFO, "cache-saved", KV_TEXT("file", store->path),
			  KV_UINT("answers", count), KV_UINT("ms", clock_mono_ms() - began_ms));
	}
}
