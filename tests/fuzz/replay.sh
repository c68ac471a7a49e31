#!/bin/sh
# SPDX-License-Identifier: ISC
# Replays each fuzz target's corpus; one TAP case a target. A target without a corpus is a failure.
n=0
for target in $FUZZ_TARGETS; do
	n=$((n + 1))
	name=${target##*/fuzz_}
	corpus="${srcdir:-.}/tests/fuzz/corpus/$name"
	if [ -z "$(find "$corpus" -type f 2>/dev/null | head -n 1)" ]; then
		echo "not ok $n - $name: no corpus"
	elif find "$corpus" -type f -exec "./$target" {} +; then
		echo "ok $n - $name: $(find "$corpus" -type f | wc -l) inputs"
	else
		echo "not ok $n - $name"
	fi
done
echo "1..$n"
