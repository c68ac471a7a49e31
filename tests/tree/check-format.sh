#!/bin/sh
# SPDX-License-Identifier: ISC
# All C files look as clang-format 14 would leave them (./dev fmt); other versions differ in details.
. "${srcdir:-.}/tests/tree/tap.sh"
name='C files are formatted'

for tool in clang-format-14 clang-format ''; do
	case $("$tool" --version 2>/dev/null) in
	*' version 14.'*) break ;;
	esac
done
if [ -z "$tool" ]; then
	check_skip "$name" 'clang-format 14 is not installed'
else
	check_result "$name" "$(
		c_files common socksd dnsproxyd tests | xargs "$tool" --dry-run -Werror 2>&1 | grep ': error: ' |
			cut -d: -f1,2 | sort -u -t: -k1,1
	)"
fi
check_end
