#!/bin/sh
# SPDX-License-Identifier: ISC
# The completions for bash, asked as bash would.
build=$PWD
. "${srcdir:-.}/tests/tree/tap.sh"

# completed COMMAND WORD...: what the last of the words becomes, sorted, on one line.
completed()
{
	# shellcheck disable=SC2016 # for bash
	bash -c '. packaging/completions/stile.bash
		function=$(complete -p "${1##*/}" | sed "s/.*-F \([^ ]*\) .*/\1/")
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
		# compopt fails where nothing is completed.
		"$function" "$1"
		printf "%s\n" "${COMPREPLY[@]}"' bash "$@" | sort | tr '\n' ' '
}

# check_completed WANTED COMMAND WORD...
check_completed()
{
	wanted=$1
	shift
	got=$(completed "$@")
	check_result "bash completes ${1##*/} $2 $3" "$([ "$got" = "$wanted " ] || echo "wanted '$wanted', got '$got'")"
}

if command -v bash >/dev/null; then
	check_completed '--explain --print-config' "$build/socksd/socksd" '' --
	check_completed '--print-config' "$build/dnsproxyd/dnsproxyd" '' --
	check_completed 'limits.idle-timeout=' "$build/socksd/socksd" -o limits.idle
	check_completed 'server.user= server.workers=' "$build/socksd/socksd" -o server.
	check_completed 'cache.size=' "$build/dnsproxyd/dnsproxyd" -o cache.si
	check_completed 'packaging/systemd' "$build/socksd/socksd-passwd" '' packaging/sy
else
	check_skip 'bash completes what is typed' 'bash is not installed'
fi
check_end
