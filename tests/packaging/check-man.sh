#!/bin/sh
# SPDX-License-Identifier: ISC
# The manual pages and the samples: they show the keys there are, and man has nothing to warn about.
build=$PWD
. "${srcdir:-.}/tests/tree/tap.sh"
# shellcheck disable=SC2154 # of tap.sh
target=$(mktemp -d) || exit 99
trap 'rm -rf "$target"' EXIT

check_result 'what the documentation says of the keys can be generated' "$(
	sh packaging/update-docs.sh "$build" "$target" 2>&1
)"
for file in man/socksd.conf.5 man/dnsproxyd.conf.5 socksd.conf dnsproxyd.conf; do
	check_result "packaging/$file shows the keys there are (else: make update-docs)" "$(
		diff -u "packaging/$file" "$target/$file" 2>&1 | head -n 20
	)"
done

for page in packaging/man/*.[1-8]; do
	if command -v man >/dev/null && command -v groff >/dev/null; then
		check_result "man has no warning about $page" "$(
			LC_ALL=C.UTF-8 MANROFFSEQ='' MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null
		)"
	else
		check_skip "man has no warning about $page" 'man-db and groff are not installed'
	fi
done
check_end
