/* SPDX-License-Identifier: ISC */
/* Stands in for libFuzzer: runs the target once on each file named on the command line. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		FILE *f = fopen(argv[i], "rb");
		uint8_t *data = malloc(1 << 20);
		size_t size;

		if (!f || !data) {
			perror(argv[i]);
			return EXIT_FAILURE;
		}
		size = fread(data, 1, 1 << 20, f);
		fclose(f);
		/* An exact-sized copy, so that a sanitizer sees every byte read past the end. */
		data = realloc(data, size ? size : 1);
		LLVMFuzzerTestOneInput(data, size);
		free(data);
	}
	return EXIT_SUCCESS;
}
