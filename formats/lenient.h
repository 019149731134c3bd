// SPDX-License-Identifier: Apache-2.0
// The rules of import that a user may switch off, each by its own name (formats/FORMAT.md, "Import").
#ifndef RS_FORMATS_LENIENT_H
#define RS_FORMATS_LENIENT_H

#define RS_LENIENT_ST_META_DUP 1u  // "st-meta-dup": a key given twice in a safetensors __metadata__
#define RS_LENIENT_ST_EXTRA_KEY 2u // "st-extra-key": a field of a safetensors tensor that the specification does not know
#define RS_LENIENT_NAME_ESCAPE 4u  // "name-escape": bytes that a tensor name may not hold become %XX, and the tensor travels as role "other"
#define RS_LENIENT_GGUF_PAD 8u     // "gguf-pad": padding between GGUF tensors that is not zero
#define RS_LENIENT_GGUF_TAIL 16u   // "gguf-tail": bytes after the last GGUF tensor

#endif
