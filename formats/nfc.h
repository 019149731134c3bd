// SPDX-License-Identifier: Apache-2.0
// Tells whether text is in normalisation form C, for tokenizers that ask for it.
#ifndef RS_FORMATS_NFC_H
#define RS_FORMATS_NFC_H

#include <stddef.h>

// Offset of the first character of well-formed UTF-8 that normalisation form C could change, len if there is none. Careful rather than complete:
// every character below U+0300 passes, all others stop it.
size_t rs_nfc_check(const char *text, size_t len);

#endif
