#!/bin/sh
# SPDX-License-Identifier: ISC
# The walls of the tree, read from the include lines. tests/tree/modules lists every module, lowest first.
. "${srcdir:-.}/tests/tree/tap.sh"
modules=tests/tree/modules

# The only file, besides tests, that may include an outside header.
owners='
ini.h          common/config/ini.c
nghttp2/*      common/stream/h2.c
sodium.h       common/crypto.c
sys/epoll.h    common/loop.c
sys/eventfd.h  common/loop.c
sys/timerfd.h  common/loop.c
'
# What would make a module impure: descriptors, clocks, threads, randomness, output.
impure='dirent.h fcntl.h poll.h pthread.h signal.h spawn.h sys/random.h sys/time.h sys/wait.h syslog.h
threads.h time.h unistd.h'

# One line for each include of the daemons and common/: FILE LINE KIND HEADER, KIND being < or ".
includes=$(c_files common socksd dnsproxyd | xargs grep -n '^[[:space:]]*#[[:space:]]*include' |
	sed -n 's/^\([^:]*\):\([0-9]*\):[^<"]*\([<"]\)\([^>"]*\)[>"].*/\1 \2 \3 \4/p')

list()
{
	printf '%s\n' "$includes"
}

check_result 'every module is listed in tests/tree/modules, and only those' "$(
	{
		c_files common socksd dnsproxyd | sed 's/\.[ch]$/ there/' | sort -u
		sed 's/#.*//' $modules | tr -s '[:space:]' '\n' | sed -n 's,.*/.*,& listed,p'
	} | awk '{ seen[$1] = seen[$1] $2 } END { for (module in seen) print module, seen[module] }' | sort |
		sed -n 's/ there$/: not listed/p; s/ listed$/: listed, but not there/p; s/ listedlisted$/: listed twice/p'
)"

check_result 'our headers are included by their path from the top' "$(
	list | while read -r file line kind header; do
		if [ "$kind" = '"' ] && [ "$header" != build_config.h ] && [ ! -e "$header" ]; then
			echo "$file:$line: \"$header\" is not a path from the top"
		fi
	done
)"

check_result 'a file includes its own header first' "$(
	list | awk '$3 == "\"" && $4 != "build_config.h" && !seen[$1]++ { print $1, $2, $4 }' | while read -r file line header; do
		own=${file%.c}.h
		if [ "$file" != "$own" ] && [ -e "$own" ] && [ "$header" != "$own" ]; then
			echo "$file:$line: $header before $own"
		fi
	done
)"

check_result 'common includes no daemon, and no daemon the other' "$(
	list | awk '$3 == "\"" {
		split($1, from, "/"); split($4, to, "/")
		if (to[1] != from[1] && to[1] != "common" && $4 != "build_config.h")
			print $1 ":" $2 ": includes " $4
	}'
)"

check_result 'a module includes only modules listed above it' "$(
	list | awk 'NR == FNR { sub(/#.*/, ""); for (i = 1; i <= NF; i++) rank[$i] = FNR; next }
	$3 == "\"" && $4 != "build_config.h" {
		from = $1; to = $4; sub(/\.[ch]$/, "", from); sub(/\.[ch]$/, "", to)
		if ((from in rank) && (to in rank) && rank[to] > rank[from])
			print $1 ":" $2 ": includes " $4 ", which lies above it"
	}' $modules -
)"

check_result 'no two rooms include each other' "$(
	list | awk '$3 == "\"" && $4 != "build_config.h" {
		from = $1; to = $4; sub(/\/[^\/]*$/, "", from); sub(/\/[^\/]*$/, "", to)
		# In a daemon'"'"'s own folder are its lowest modules and its highest.
		if (from != to && from ~ /\// && to ~ /\//) {
			if ((to, from) in seen) print $1 ":" $2 ": includes " $4 ", but see " seen[to, from]
			seen[from, to] = $1 ":" $2
		}
	}'
)"

check_result 'pure modules touch no descriptor, clock, thread or log' "$(
	list | awk -v impure="$impure" 'BEGIN { n = split(impure, words); for (i = 1; i <= n; i++) bad[words[i]] }
	NR == FNR { sub(/#.*/, ""); if ($NF == "pure") for (i = 1; i < NF; i++) pure[$i]; next }
	{
		from = $1; sub(/\.[ch]$/, "", from)
		if (!(from in pure)) next
		to = $4; sub(/\.h$/, "", to)
		if ($3 == "<" && ($4 in bad))
			print $1 ":" $2 ": includes <" $4 ">"
		if ($3 == "\"" && $4 != "build_config.h" && !(to in pure))
			print $1 ":" $2 ": includes " $4 ", which is not pure"
	}' $modules -
)"

check_result 'each outside library is included in one module' "$(
	list | while read -r file line kind header; do
		case $header:$file in
		ares.h:common/dns/ares_io.c | ares.h:common/dns/ares_io_*) ;; # one module, several files
		ares.h:*) echo "$file:$line: <$header> belongs to common/dns/ares_io" ;;
		openssl/*:common/stream/tls.c | openssl/*:common/stream/tls_*) ;; # one module, several files
		openssl/*) echo "$file:$line: <$header> belongs to common/stream/tls" ;;
		esac
		owner=$(printf '%s' "$owners" | awk -v header="$header" '$1 == header { print $2 }')
		if [ "$kind" = '<' ] && [ -n "$owner" ] && [ "$file" != "$owner" ]; then
			echo "$file:$line: <$header> belongs to $owner"
		fi
	done
)"

check_end
