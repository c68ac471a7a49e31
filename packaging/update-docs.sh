#!/bin/sh
# SPDX-License-Identifier: ISC
# update-docs.sh BUILDDIR [TARGET]: what the documentation says of the keys, from their declarations: the tables of
# packaging/man/*.conf.5 and the samples packaging/*.conf. Written into the source tree, or, as files of the same
# names, into the directory TARGET. BUILDDIR holds the programs DAEMON/reference.
set -eu
source=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
build=$1
target=${2:-$source}

for daemon in socksd dnsproxyd; do
	page=man/$daemon.conf.5
	mkdir -p "$target/man"
	"$build/$daemon/reference" man >"$target/keys.new"
	awk -v keys="$target/keys.new" '
		/^\.\\" END KEYS/ { between = 0 }
		!between { print }
		/^\.\\" BEGIN KEYS/ { between = 1; while ((getline line <keys) > 0) print line }
	' "$source/$page" >"$target/$page.new"
	"$build/$daemon/reference" sample >"$target/$daemon.conf.new"
	for file in "$page" "$daemon.conf"; do
		# What has not changed is not touched: make looks at the time.
		if cmp -s "$target/$file.new" "$target/$file"; then
			rm "$target/$file.new"
		else
			mv "$target/$file.new" "$target/$file"
		fi
	done
	rm "$target/keys.new"
done
