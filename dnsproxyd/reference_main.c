/* SPDX-License-Identifier: ISC */
#include "common/config/reference.h"

#include "dnsproxyd/config.h"

int main(int argc, char **argv)
{
	return reference_main(&config_schema, "dnsproxyd", argc, argv);
}
