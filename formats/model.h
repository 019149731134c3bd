// SPDX-License-Identifier: Apache-2.0
// The tensors of a model in the order of the container: role, place, shape and name in both worlds (Hugging Face and GGUF). The one table of names.
#ifndef RS_FORMATS_MODEL_H
#define RS_FORMATS_MODEL_H

#include "formats/config.h"
#include "formats/tensor.h"

typedef struct rs_model_tensor {
    char name[RS_MAX_NAME + 1]; // Hugging Face and RSQ: "model.layers.0.self_attn.q_proj.weight"
    char gguf[64];              // "blk.0.attn_q.weight"
    rs_role role;
    int64_t layer;              // -1: none
    int n_dims;
    uint64_t shape[2];
    // Heads whose rows GGUF stores in another order, 0 for none. In a head of h rows, row 2i + s of GGUF is row s h/2 + i here (s 0 or 1): GGUF's RoPE turns neighbours,
    // that of transformers turns the two halves.
    uint64_t interleaved;
} rs_model_tensor;

// Number of tensors that a model of this configuration has: all norms (layer by layer, the final one last), embedding, then q k v o gate up down of each layer,
// each followed by its bias if there is one, and the head unless it is tied.
uint64_t rs_model_count(const rs_config *c);
// The i-th of them, i < rs_model_count(c).
void rs_model_at(const rs_config *c, uint64_t i, rs_model_tensor *t);

#endif
