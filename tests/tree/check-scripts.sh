#!/bin/sh
# SPDX-License-Identifier: ISC
# Our shell scripts, read by shellcheck.
. "${srcdir:-.}/tests/tree/tap.sh"

if command -v shellcheck >/dev/null; then
	check_result 'shell scripts are clean' "$(
		find dev .ci tests packaging \( -name '*.sh' -o -name dev -o -path .ci/run -o \
			-path 'packaging/debian/*.p[or]*' -o -path packaging/debian/tests/socksd -o -path packaging/debian/tests/dnsproxyd \
			-o -path 'packaging/hooks/*' -o -path 'packaging/openwrt/*.init' \) \
			-exec shellcheck -x -P SCRIPTDIR -f gcc {} + 2>/dev/null
	)"
else
	check_skip 'shell scripts are clean' 'shellcheck is not installed'
fi
check_end
