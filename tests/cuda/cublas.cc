// SPDX-License-Identifier: Apache-2.0
// A stand-in for libcublas: the functions that kernels/cuda/blas.cu asks for, on matrices column by column as the BLAS define them, with the checks of arguments that cuBLAS documents.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/gpu.h"
#include "tests/cuda/emulate.h"

enum { NOT_INITIALIZED = 1, INVALID_VALUE = 7, EXECUTION_FAILED = 13, NOT_SUPPORTED = 15 };

struct rs_blas_handle {
    void *work;
    int mode;
};
typedef rs_blas_handle *handle;

static enum rs_trial_blas now;
static size_t calls;
static rs_blas_handle only;

extern "C" void rs_trial_blas(enum rs_trial_blas be)
{
    now = be;
}

extern "C" size_t rs_trial_blas_calls(void)
{
    return calls;
}

static int create(handle *h)
{
    *h = &only;
    return now == RS_BLAS_REFUSES ? NOT_INITIALIZED : 0;
}

static int destroy(handle h)
{
    return h == &only ? 0 : NOT_INITIALIZED;
}

static int version(handle, int *v)
{
    *v = 130100;
    return 0;
}

static int workspace(handle h, void *p, size_t bytes)
{
    h->work = p;
    return p != NULL && (uintptr_t)p % 16 == 0 && bytes > 0 ? 0 : INVALID_VALUE; // cuBLAS wants 256, which malloc does not give
}

static int math(handle h, int mode)
{
    h->mode = mode;
    return mode == 16 ? 0 : INVALID_VALUE; // the default, whole reductions
}

static const char *text(int status)
{
    return status == EXECUTION_FAILED ? "the function failed to launch on the GPU" : status == NOT_INITIALIZED ? "the library was not initialized" : status == INVALID_VALUE ? "an unsupported value or parameter" : "other";
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static float number(const void *p, int type, int64_t i)
{
    return type == 0 ? ((const float *)p)[i] : __uint_as_float((unsigned)((const uint16_t *)p)[i] << 16);
}

// C [m, n] = op(A) [m, k] op(B) [k, n] + beta C; of a triangle only the elements with i >= j.
static int product(handle h, int turn_a, int turn_b, int64_t m, int64_t n, int64_t k, const void *a, int type_a, int64_t lda, const void *b, int type_b, int64_t ldb, float beta, float *c, int64_t ldc, bool triangle)
{
    if (h != &only || h->work == NULL) return NOT_INITIALIZED;
    if (m < 0 || n < 0 || k < 0 || turn_a < 0 || turn_a > 1 || turn_b < 0 || turn_b > 1) return INVALID_VALUE;
    if (lda < larger(1, turn_a ? k : m) || ldb < larger(1, turn_b ? n : k) || ldc < larger(1, m)) return INVALID_VALUE;
    if (now == RS_BLAS_FAILS) return EXECUTION_FAILED;
    calls++;
    memset(h->work, 0x7f, 64); // whatever it does there
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = triangle ? j : 0; i < m; i++) {
            float sum = 0;
            for (int64_t l = 0; l < k; l++) sum += number(a, type_a, turn_a ? l + i * lda : i + l * lda) * number(b, type_b, turn_b ? j + l * ldb : l + j * ldb);
            c[i + j * ldc] = beta == 0 ? sum : sum + beta * c[i + j * ldc];
        }
    return 0;
}

static int sgemm(handle h, int turn_a, int turn_b, int64_t m, int64_t n, int64_t k, const float *alpha, const float *a, int64_t lda, const float *b, int64_t ldb, const float *beta, float *c, int64_t ldc)
{
    return *alpha == 1 ? product(h, turn_a, turn_b, m, n, k, a, 0, lda, b, 0, ldb, *beta, c, ldc, false) : NOT_SUPPORTED;
}

static int ssyrk(handle h, int triangle, int turn, int64_t n, int64_t k, const float *alpha, const float *a, int64_t lda, const float *beta, float *c, int64_t ldc)
{
    return *alpha == 1 && triangle == 0 ? product(h, turn, !turn, n, n, k, a, 0, lda, a, 0, lda, *beta, c, ldc, true) : NOT_SUPPORTED;
}

// The types of which it documents bf16 (14) or f32 (0) for A and B alike, f32 for C, sums in f32 (68), the algorithm left to it (-1).
static int gemm_ex(handle h, int turn_a, int turn_b, int64_t m, int64_t n, int64_t k, const void *alpha, const void *a, int type_a, int64_t lda, const void *b, int type_b, int64_t ldb, const void *beta, void *c, int type_c,
                   int64_t ldc, int compute, int algorithm)
{
    if (*(const float *)alpha != 1 || type_a != type_b || (type_a != 0 && type_a != 14) || type_c != 0 || compute != 68 || algorithm != -1) return NOT_SUPPORTED;
    return product(h, turn_a, turn_b, m, n, k, a, type_a, lda, b, type_b, ldb, *(const float *)beta, (float *)c, ldc, false);
}

// ---- cublasLt

struct matrix {
    int type;
    uint64_t rows, columns;
    int64_t ld;
};
struct operation {
    int compute, scale, turn_a;
};
static matrix layouts[8];
static operation operations[2];
static int n_layouts, n_operations;

static int lt_create(void **h)
{
    *h = &only;
    return 0;
}

static int lt_operation(void **p, int compute, int scale)
{
    operation *const o = &operations[n_operations++ % 2];
    *o = {compute, scale, 0};
    *p = o;
    return 0;
}

static int lt_set(void *p, int attribute, const void *value, size_t bytes)
{
    if (attribute != 3 || bytes != sizeof(int32_t)) return INVALID_VALUE; // TRANSA
    memcpy(&((operation *)p)->turn_a, value, sizeof(int32_t));
    return 0;
}

static int lt_layout(void **p, int type, uint64_t rows, uint64_t columns, int64_t ld)
{
    matrix *const m = &layouts[n_layouts++ % 8];
    *m = {type, rows, columns, ld};
    *p = m;
    return ld >= (int64_t)rows ? 0 : INVALID_VALUE;
}

// The form of integers that it documents: A turned, B as it is, int8 (3), sums and factors int32 (10, 72), sizes that are multiples of 4.
static int lt_product(void *, void *op, const void *alpha, const void *A, void *a, const void *B, void *b, const void *beta, const void *C, void *c, void *D, void *d, const void *, void *work, size_t bytes, void *)
{
    const operation *o = (const operation *)op;
    const matrix *x = (const matrix *)a, *y = (const matrix *)b, *z = (const matrix *)c;
    if (o->compute != 72 || o->scale != 10 || o->turn_a != 1 || *(const int32_t *)alpha != 1 || *(const int32_t *)beta != 0 || C != D || c != d || work == NULL || bytes == 0) return NOT_SUPPORTED;
    if (x->type != 3 || y->type != 3 || z->type != 10 || x->rows != y->rows || x->columns != z->rows || y->columns != z->columns || x->ld % 4 != 0 || y->ld % 4 != 0 || z->rows % 4 != 0) return INVALID_VALUE;
    for (uint64_t j = 0; j < z->columns; j++)
        for (uint64_t i = 0; i < z->rows; i++) {
            int32_t sum = 0;
            for (uint64_t l = 0; l < x->rows; l++) sum += ((const int8_t *)A)[l + i * x->ld] * ((const int8_t *)B)[l + j * y->ld];
            ((int32_t *)D)[i + j * z->ld] = sum;
        }
    return 0;
}

extern "C" void *rs_cuda_symbol(const char *library, const char *name)
{
    const struct {
        const char *name;
        void *p;
    } all[] = {{"cublasCreate_v2", (void *)create},      {"cublasDestroy_v2", (void *)destroy}, {"cublasGetVersion_v2", (void *)version}, {"cublasSetWorkspace_v2", (void *)workspace}, {"cublasSetMathMode", (void *)math},
               {"cublasGetStatusString", (void *)text}, {"cublasSgemm_v2_64", (void *)sgemm},  {"cublasSsyrk_v2_64", (void *)ssyrk},     {"cublasGemmEx_64", (void *)gemm_ex}};
    const struct {
        const char *name;
        void *p;
    } lt[] = {{"cublasLtCreate", (void *)lt_create}, {"cublasLtMatmulDescCreate", (void *)lt_operation}, {"cublasLtMatmulDescSetAttribute", (void *)lt_set}, {"cublasLtMatrixLayoutCreate", (void *)lt_layout}, {"cublasLtMatmul", (void *)lt_product}};
    for (size_t i = 0; strcmp(library, "cublasLt") == 0 && i < sizeof lt / sizeof *lt; i++)
        if (strcmp(name, lt[i].name) == 0) return lt[i].p;
    if (strcmp(library, "cublas") != 0 || now == RS_BLAS_GONE) return NULL;
    for (size_t i = 0; i < sizeof all / sizeof *all - (now == RS_BLAS_OLD); i++)
        if (strcmp(name, all[i].name) == 0) return all[i].p;
    return NULL;
}
