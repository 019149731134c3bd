// SPDX-License-Identifier: Apache-2.0
// The integer product of cuBLASLt, to measure ours by: int8 times int8 with sums in int32, opened at run time. Declared is what is used of cublasLt.h.
#ifndef RS_TESTS_CUDA_LT_H
#define RS_TESTS_CUDA_LT_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/cuda/runtime.h"

enum { RS_LT_INT32 = 10, RS_LT_INT8 = 3, RS_LT_COMPUTE_INT32 = 72, RS_LT_TURN_A = 3, RS_LT_TURNED = 1, RS_LT_WORK = 32 << 20 };

typedef struct rs_lt {
    void *handle, *product, *a, *b, *c, *work;
    int (*matmul)(void *handle, void *product, const void *alpha, const void *A, void *a, const void *B, void *b, const void *beta, const void *C, void *c, void *D, void *d, const void *algorithm, void *work, size_t bytes,
                  void *queue);
} rs_lt;

// For sums[m, n] = x[m, k] w[n, k]^T. False: not on this machine.
static inline bool rs_lt_open(rs_lt *l, size_t m, size_t n, size_t k)
{
    int (*create)(void **handle);
    int (*describe)(void **product, int compute, int scale);
    int (*set)(void *product, int attribute, const void *value, size_t bytes);
    int (*layout)(void **layout, int type, uint64_t rows, uint64_t columns, int64_t ld);
    const struct {
        const char *name;
        void *to;
    } all[] = {{"cublasLtCreate", &create}, {"cublasLtMatmulDescCreate", &describe}, {"cublasLtMatmulDescSetAttribute", &set}, {"cublasLtMatrixLayoutCreate", &layout}, {"cublasLtMatmul", &l->matmul}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if ((*(void **)all[i].to = rs_cuda_symbol("cublasLt", all[i].name)) == NULL) return false;
    const int32_t turned = RS_LT_TURNED;
    l->work = rs_cuda_memory.alloc(RS_LT_WORK);
    return l->work != NULL && create(&l->handle) == 0 && describe(&l->product, RS_LT_COMPUTE_INT32, RS_LT_INT32) == 0 && set(l->product, RS_LT_TURN_A, &turned, sizeof turned) == 0 &&
           layout(&l->a, RS_LT_INT8, k, n, (int64_t)k) == 0 && layout(&l->b, RS_LT_INT8, k, m, (int64_t)k) == 0 && layout(&l->c, RS_LT_INT32, n, m, (int64_t)n) == 0;
}

// Queues it; its status, 0: good.
static inline int rs_lt_multiply(const rs_lt *l, const void *x, const void *w, int32_t *sums)
{
    const int32_t one = 1, none = 0;
    return l->matmul(l->handle, l->product, &one, w, l->a, x, l->b, &none, sums, l->c, sums, l->c, NULL, l->work, RS_LT_WORK, NULL);
}

#endif
