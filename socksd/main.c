/* SPDX-License-Identifier: ISC */
#include "common/daemon/service.h"

#include "socksd/server.h"

int main(int argc, char **argv)
{
	return service_main(&server_ops, argc, argv);
}
