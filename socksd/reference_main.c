/* SPDX-License-Identifier: ISC */
#include "common/config/reference.h"

#include "socksd/config.h"

int main(int argc, char **argv)
{
	return reference_main(&config_schema, "socksd", argc, argv);
}
