# shellcheck shell=sh
# SPDX-License-Identifier: ISC
# For the checks beside it: each collects the violations of one rule and reports them as one TAP case.
cd "${srcdir:-.}" || exit 99
cases=0

# check_result NAME VIOLATIONS: VIOLATIONS is text, one violation a line; none is a pass.
check_result()
{
	cases=$((cases + 1))
	if [ -z "$2" ]; then
		echo "ok $cases - $1"
	else
		echo "not ok $cases - $1"
		printf '%s\n' "$2" | sed 's/^/# /'
	fi
}

check_skip()
{
	cases=$((cases + 1))
	echo "ok $cases - $1 # SKIP $2"
}

check_end()
{
	echo "1..$cases"
}

# The C files under the folders given.
c_files()
{
	find "$@" -name '*.[ch]' | sort
}
