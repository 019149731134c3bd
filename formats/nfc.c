// SPDX-License-Identifier: Apache-2.0
// The part of normalisation form C that needs no tables: below U+0300 nothing combines and nothing decomposes.
#include "formats/nfc.h"

size_t rs_nfc_check(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] >= 0xcc) return i; // U+0300 is CC 80
    return len;
}
