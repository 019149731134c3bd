// SPDX-License-Identifier: Apache-2.0
// Tells whether text is in normalisation form C, for tokenizers that ask for it.
#ifndef RS_FORMATS_NFC_H
#define RS_FORMATS_NFC_H

#include <stddef.h>

// Offset of the first character of well-formed UTF-8 where normalisation form C (Unicode 14) could change the text, len if there is none. The quick check of
// Unicode Standard Annex 15, with "maybe" taken as no: it never passes text that would change, and stops some that would not.
size_t rs_nfc_check(const char *text, size_t len);

#endif
