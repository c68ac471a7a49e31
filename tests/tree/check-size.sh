#!/bin/sh
# SPDX-License-Identifier: ISC
# No function over 80 lines, no file over 800: beyond that they want to be two. In formatted code a function's body
# begins with `{` and ends with `}` in the first column.
. "${srcdir:-.}/tests/tree/tap.sh"

# shellcheck disable=SC2016 # awk's
check_result 'functions have at most 80 lines' "$(
	c_files common socksd dnsproxyd tests | xargs awk '
		FNR == 1 { start = 0 }
		/^[A-Za-z_].*\(/ { name = $0; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name) }
		/^\{/ { start = FNR }
		/^\}/ && start {
			if (FNR - start - 1 > 80) print FILENAME ":" start ": " name "() has " FNR - start - 1 " lines"
			start = 0
		}'
)"

check_result 'files have at most 800 lines' "$(
	c_files common socksd dnsproxyd tests | xargs wc -l | awk '$2 != "total" && $1 > 800 { print $2 ": " $1 " lines" }'
)"

check_end
