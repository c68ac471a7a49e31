# shellcheck shell=bash
# SPDX-License-Identifier: ISC
# Completion of socksd, dnsproxyd and socksd-passwd for bash. The keys of -o are those that the program itself prints.

# Each "SECTION.KEY=" of a daemon, a line each; named sections with a space, as they are written.
_stile_keys()
{
	"$1" --print-config 2>/dev/null |
		sed -n 's/^; //; s/^\[\(.*\)\]$/s \1/p; s/^\([a-z-]*\) =.*/k \1/p' |
		awk '$1 == "s" { sub(/^s /, ""); section = $0; next } !seen[section $2]++ { print section "." $2 "=" }'
}

_stile_daemon()
{
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	local words='-c -o -t -V -h --print-config'

	COMPREPLY=()
	case $previous in
	-c)
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
		compopt -o filenames 2>/dev/null
		;;
	-o)
		# What has a space must be quoted by whoever types it.
		mapfile -t COMPREPLY < <(compgen -W "$(_stile_keys "$1" | grep -v ' ')" -- "$current")
		compopt -o nospace 2>/dev/null
		;;
	*)
		case $1 in
		*socksd) words="$words --explain client= user= command=connect command=bind command=udp destination=" ;;
		esac
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
		;;
	esac
}

_stile_passwd()
{
	local current=${COMP_WORDS[COMP_CWORD]}

	COMPREPLY=()
	case $current in
	-*) mapfile -t COMPREPLY < <(compgen -W '-d -h -V' -- "$current") ;;
	*)
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
		compopt -o filenames 2>/dev/null
		;;
	esac
}

complete -F _stile_daemon socksd dnsproxyd
complete -F _stile_passwd socksd-passwd
