#!/bin/sh
# SPDX-License-Identifier: ISC
# What no file may hold: notes for later, blanks at the end of a line; and what each must: its licence in the first lines.
. "${srcdir:-.}/tests/tree/tap.sh"

texts()
{
	find . -name .git -prune -o -name build -prune -o -name 'build-*' -prune -o -name autom4te.cache -prune -o \
		-path ./tests/fuzz/corpus -prune -o -type f \( -name '*.[ch]' -o -name '*.am' -o -name '*.ac' -o -name '*.sh' \
		-o -name '*.py' -o -name '*.md' -o -name '*.conf' -o -name '*.[1-8]' -o -name dev -o -name README \) -print0
}

# Written apart, or this file would find itself.
check_result 'no notes for later' "$(texts | xargs -0 grep -nwE 'TO''DO|FIX''ME|XX''X' | cut -c1-120)"
check_result 'no blanks at the end of a line' "$(texts | xargs -0 grep -nE '[[:space:]]+$' | cut -d: -f1,2)"
check_result 'every source names its licence' "$(
	find common socksd dnsproxyd tests \( -name '*.[ch]' -o -name '*.sh' -o -name '*.py' \) | sort | while read -r file; do
		head -n 2 "$file" | grep -q 'SPDX-License-Identifier: ISC' || echo "$file"
	done
)"
check_end
