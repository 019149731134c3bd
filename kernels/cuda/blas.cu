// SPDX-License-Identifier: Apache-2.0
// cuBLAS, opened at run time, so that the tools start without it. Declared here is what is used of cublas_api.h; functions with sizes of 64 bits are there since CUDA 12. Its matrices lie column by
// column: what we call y [m,n] is its y^T [n,m], so factors change places. In its default mode sums and factors keep f32 (TF32 is not chosen), and with a workspace of its own every run gives the same bits.
#include "kernels/cuda/blas.h"

#include <stdio.h>

#include "kernels/cuda/runtime.h"

enum { AS_IT_IS = 0, TURNED = 1, LOWER = 0, DEFAULT_MATH = 0, SUMS_KEEP_F32 = 16, F32 = 0, BF16 = 14, COMPUTE_F32 = 68, ANY_ALGORITHM = -1, WORKSPACE = 32 << 20 };

typedef struct rs_blas_handle *handle;

static struct {
    int (*create)(handle *h);
    int (*destroy)(handle h);
    int (*version)(handle h, int *version);
    int (*workspace)(handle h, void *p, size_t bytes);
    int (*math)(handle h, int mode);
    const char *(*text)(int status);
    int (*sgemm)(handle h, int turn_a, int turn_b, int64_t m, int64_t n, int64_t k, const float *alpha, const float *a, int64_t lda, const float *b, int64_t ldb, const float *beta, float *c, int64_t ldc);
    int (*ssyrk)(handle h, int triangle, int turn, int64_t n, int64_t k, const float *alpha, const float *a, int64_t lda, const float *beta, float *c, int64_t ldc);
    int (*gemm_ex)(handle h, int turn_a, int turn_b, int64_t m, int64_t n, int64_t k, const void *alpha, const void *a, int type_a, int64_t lda, const void *b, int type_b, int64_t ldb, const void *beta, void *c,
                   int type_c, int64_t ldc, int compute, int algorithm);
} blas;

static handle context; // NULL: there is none
static bool asked, off;
static char line[128];
static const float one = 1;

// NULL: it is open; otherwise why not.
static const char *open_library(void)
{
    const struct {
        const char *name;
        void *to;
    } all[] = {{"cublasCreate_v2", &blas.create},     {"cublasDestroy_v2", &blas.destroy},        {"cublasGetVersion_v2", &blas.version}, {"cublasSetWorkspace_v2", &blas.workspace}, {"cublasSetMathMode", &blas.math},
               {"cublasGetStatusString", &blas.text}, {"cublasSgemm_v2_64", &blas.sgemm}, {"cublasSsyrk_v2_64", &blas.ssyrk},     {"cublasGemmEx_64", &blas.gemm_ex}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if ((*(void **)all[i].to = rs_cuda_symbol("cublas", all[i].name)) == NULL)
            return i == 0 ? "no libcublas" : "libcublas is too old";
    handle h = NULL;
    int version = 0, status = blas.create(&h);
    if (status != 0)
        return blas.text(status);
    void *work = rs_cuda_memory.alloc(WORKSPACE);
    status = blas.version(h, &version);
    if (status == 0 && work != NULL)
        status = blas.workspace(h, work, WORKSPACE);
    if (status == 0)
        status = blas.math(h, DEFAULT_MATH | SUMS_KEEP_F32);
    if (status != 0 || work == NULL) {
        (void)blas.destroy(h);
        rs_cuda_memory.release(work);
        return work == NULL ? "no memory for cuBLAS" : blas.text(status);
    }
    snprintf(line, sizeof line, "cuBLAS %d.%d.%d", version / 10000, version / 100 % 100, version % 100);
    context = h;
    return NULL;
}

bool rs_blas_used(void)
{
    if (!asked) {
        asked = true;
        const char *why = open_library();
        if (why != NULL)
            snprintf(line, sizeof line, "own products (%s)", why);
    }
    return context != NULL && !off;
}

const char *rs_blas_name(void)
{
    (void)rs_blas_used();
    return line;
}

void rs_blas_use(bool use)
{
    off = !use;
}

static bool done(int status)
{
    if (status != 0)
        rs_cuda_note("cuBLAS", blas.text(status));
    return true;
}

bool rs_blas_gemm(bool turned_x, bool turned_w, size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *w, size_t ldw, float beta, float *y, size_t ldy)
{
    return rs_blas_used() && done(blas.sgemm(context, turned_w ? TURNED : AS_IT_IS, turned_x ? TURNED : AS_IT_IS, (int64_t)n, (int64_t)m, (int64_t)k, &one, w, (int64_t)ldw, x, (int64_t)ldx, &beta, y, (int64_t)ldy));
}

bool rs_blas_gram(size_t n, size_t k, const float *x, size_t ldx, float beta, float *y, size_t ldy)
{
    return rs_blas_used() && done(blas.ssyrk(context, LOWER, AS_IT_IS, (int64_t)n, (int64_t)k, &one, x, (int64_t)ldx, &beta, y, (int64_t)ldy));
}

bool rs_blas_gemm_bf16(size_t m, size_t n, size_t k, const uint16_t *x, size_t ldx, const uint16_t *w, size_t ldw, float beta, float *y, size_t ldy)
{
    return rs_blas_used() && done(blas.gemm_ex(context, TURNED, AS_IT_IS, (int64_t)n, (int64_t)m, (int64_t)k, &one, w, BF16, (int64_t)ldw, x, BF16, (int64_t)ldx, &beta, y, F32, (int64_t)ldy, COMPUTE_F32, ANY_ALGORITHM));
}
