// SPDX-License-Identifier: Apache-2.0
// Launches one of the kernels of faults.cu on x [64].
#ifndef RS_TESTS_CUDA_FAULTS_H
#define RS_TESTS_CUDA_FAULTS_H

enum { RS_FAULT_NONE, RS_FAULT_SKIP, RS_FAULT_APART, RS_FAULT_WARP, RS_FAULT_MASK, RS_FAULT_RACE, RS_FAULT_COPY, RS_FAULT_EARLY, RS_FAULT_WAITED, RS_FAULT_MEMORY, RS_FAULT_SHARED, RS_FAULT_GLOBAL };

#ifdef __cplusplus
extern "C"
#endif
    void
    rs_trial_fault(int which, float *x);

#endif
