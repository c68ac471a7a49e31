#!/bin/sh
# SPDX-License-Identifier: ISC
# The programs are linked with the libraries they use, and with no others.
build=$PWD
. "${srcdir:-.}/tests/tree/tap.sh"

for program in socksd/socksd socksd/socksd-passwd dnsproxyd/dnsproxyd; do
	if [ -n "${STILE_SANITIZED:-}" ]; then
		check_skip "$program uses what it is linked with" 'sanitizers bring libraries of their own'
	elif ! ldd --help 2>/dev/null | grep -q -e --unused; then
		check_skip "$program uses what it is linked with" 'there is no ldd that knows --unused'
	else
		check_result "$program uses what it is linked with" "$(ldd -u "$build/$program")"
	fi
done
check_end
