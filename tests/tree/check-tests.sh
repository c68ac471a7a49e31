#!/bin/sh
# SPDX-License-Identifier: ISC
# Each module has its unit test, in the place that mirrors its own; tests/tree/untested lists those that do not, and why.
. "${srcdir:-.}/tests/tree/tap.sh"
untested=tests/tree/untested

modules=$(find common socksd dnsproxyd -name '*.c' ! -name main.c ! -name '*_main.c' | sort)

excepted()
{
	grep -q "^$1[[:space:]][[:space:]]*[^[:space:]]" $untested
}

test_of()
{
	echo "tests/unit/$(dirname "$1")/test_$(basename "$1")"
}

check_result 'every module has a unit test' "$(
	for file in $modules; do
		if [ ! -e "$(test_of "$file")" ] && ! excepted "$file"; then
			echo "$file: no $(test_of "$file")"
		fi
	done
)"

check_result 'no exception is stale' "$(
	sed 's/#.*//; /^$/d' $untested | while read -r file why; do
		if [ -z "$why" ]; then
			echo "$file: excepted without a reason"
		elif [ ! -e "$file" ]; then
			echo "$file: excepted, but not there"
		elif [ -e "$(test_of "$file")" ]; then
			echo "$file: excepted, but has a test by now"
		fi
	done
)"

check_result 'every unit test has its module' "$(
	find tests/unit -name 'test_*.c' | sort | while read -r file; do
		module=$(echo "$file" | sed 's,^tests/unit/,,; s,/test_,/,; s,\.c$,,')
		# A long one may be split: test_NOUN_PART.c.
		until [ -e "$module.h" ] || [ -e "$module.c" ]; do
			case ${module##*/} in
			*_*) module=${module%_*} ;;
			*)
				echo "$file: no module of that name"
				break
				;;
			esac
		done
	done
)"

check_end
