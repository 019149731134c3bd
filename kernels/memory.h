// SPDX-License-Identifier: Apache-2.0
// Where the arrays of a table of operations lie.
//
// Decision: a table works on memory that it hands out itself. Every array that an operation of kernels.h or int_gemm.h reads or writes lies in its table's memory; shapes, quantisers and the struct of a
// Hadamard matrix are plain values of the caller. What stays between the operations of a layer thus stays on the device, and code that only passes pointers on (decoder.c) can drive either. Work of a device
// is queued in order: `get` and `settle` wait for all of it, nothing else does. So an operation that counts refused rows returns 0 there, and `settle` has the count. Copies of what comes next (the weights
// of the layer behind) need not wait for that: `send` queues them beside the operations.
#ifndef RS_KERNELS_MEMORY_H
#define RS_KERNELS_MEMORY_H

#include <stddef.h>

// Of a device; one thread at a time. A table without one (NULL) works on the memory of the process.
typedef struct rs_memory {
    // 256-aligned; NULL: there is no more.
    void *(*alloc)(size_t bytes);
    // Waits for both queues first; NULL allowed.
    void (*release)(void *p);
    // Copies bytes of the process (to may be inside what alloc gave) there, and back.
    void (*put)(void *to, const void *from, size_t bytes);
    void (*get)(void *to, const void *from, size_t bytes);
    // Queues a copy within this memory (the arrays are apart), and zeros.
    void (*move)(void *to, const void *from, size_t bytes);
    void (*zero)(void *to, size_t bytes);
    // Copies as put does, but in a second queue beside the first one; `from` is the caller's again when it returns. Nothing that was queued since the last settle may use `to`, and nothing may use it before
    // `meet`: operations that are queued behind that wait for all that was sent.
    void (*send)(void *to, const void *from, size_t bytes);
    void (*meet)(void);
    // Waits; returns the rows refused since the last call. *fault: NULL, or one line about the first thing that failed since the last call (results are then worth nothing), valid until the next.
    size_t (*settle)(const char **fault);
    // Bytes that are free, about; SIZE_MAX: nobody knows.
    size_t (*room)(void);
} rs_memory;

// The memory of the process in the same terms: nothing waits, nothing fails.
extern const rs_memory rs_memory_process;

#endif
