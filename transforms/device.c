// SPDX-License-Identifier: Apache-2.0
// Names of devices.
#include "transforms/device.h"

#include <stdio.h>
#include <string.h>

const rs_int_kernels *rs_device_products(const rs_kernels *k)
{
    if (k == rs_kernels_reference()) return rs_int_reference();
    return k->memory == NULL ? rs_int_cpu() : rs_int_cuda();
}

rs_status rs_device_find(const char *name, const rs_kernels **k, const rs_int_kernels **by, rs_error *e)
{
    const rs_kernels *found = rs_kernels_cpu();
    if (name != NULL && strcmp(name, "cuda") == 0) {
        found = rs_kernels_cuda();
        if (found == NULL) return rs_fail(e, RS_USAGE, "--device cuda: %s", rs_kernels_cuda_reason());
    } else if (name != NULL && strcmp(name, "cpu") != 0) return rs_fail(e, RS_USAGE, "--device %s: cpu or cuda", name);
    if (k != NULL) *k = found;
    if (by != NULL) *by = rs_device_products(found);
    return RS_OK;
}

void rs_device_model(const rs_kernels *k, char *text, size_t size)
{
    const char *line = k->memory != NULL ? rs_kernels_cuda_device() : "", *last = strrchr(line, ','), *end = strchr(line, ',');
    if (end != NULL) end = strchr(end + 1, ',');
    if (end == NULL) end = last = line + strlen(line);
    snprintf(text, size, "%.*s%s", (int)(end - line), line, last);
}
