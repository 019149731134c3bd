// SPDX-License-Identifier: Apache-2.0
// Writes a random near-identity layer-wise rotation set that fits a model: bench_rotations MODEL.rsq ANGLE SEED OUT.rsq (until sets are learned here).
#include "formats/config.h"
#include "tests/tiny.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    rs_mapped *m = NULL;
    rs_error e = {0};
    rs_config c;
    size_t len;
    if (argc != 5) return 2;
    rs_status s = rs_mapped_open(&m, argv[1], &e);
    if (s == RS_OK) {
        const uint8_t *json = rs_mapped_file(m, "config.json", &len);
        s = json != NULL ? rs_config_parse(&c, json, len, &e) : rs_fail(&e, RS_E_IMPORT, "no config.json");
    }
    rs_mapped_close(m);
    if (s != RS_OK) {
        fprintf(stderr, "bench_rotations: %s: %s\n", argv[1], e.text);
        return (int)s;
    }
    tiny_spec spec = {.L = c.L, .d = c.d, .f = c.f, .h = c.h, .n_q = c.n_q, .n_kv = c.n_kv, .V = c.V};
    return tiny_rotations(argv[4], &spec, TINY_DENSE, atof(argv[2]), 0, strtoull(argv[3], NULL, 10), argv[1]) ? 0 : 1;
}
