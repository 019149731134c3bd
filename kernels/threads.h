// SPDX-License-Identifier: Apache-2.0
// A fixed pool of threads for loops over independent pieces; results never depend on how many threads there are.
#ifndef RS_KERNELS_THREADS_H
#define RS_KERNELS_THREADS_H

#include <stddef.h>

// Sets the number of threads (1..256, what lies outside is brought inside; fewer if the system gives no more) of the process-wide pool and makes OpenBLAS single-threaded (its calls are the pieces); not from within a loop. Default 1.
void rs_threads_set(int n);
int rs_threads_get(void);
// Number of processors that this process may run on.
int rs_threads_available(void);
// Calls body(context, i) for i in 0..n-1, spread over the pool; returns when all are done. A call from within a body runs its loop in that thread.
void rs_threads_for(size_t n, void (*body)(void *context, size_t i), void *context);

#endif
