// SPDX-License-Identifier: Apache-2.0
// Well-formed UTF-8 by the table of the Unicode standard (table 3-7): which second bytes each first byte may have.
#include "formats/utf8.h"

#include <stdint.h>
#include <string.h>

size_t rs_utf8_valid(const char *p, size_t len)
{
    const uint8_t *s = (const uint8_t *)p;
    size_t i = 0;
    while (i < len) {
        uint64_t eight; // ASCII by eights: long texts pass here before they are tokenized
        if (len - i >= 8 && (memcpy(&eight, s + i, 8), (eight & UINT64_C(0x8080808080808080)) == 0)) {
            i += 8;
            continue;
        }
        uint8_t c = s[i], lo = 0x80, hi = 0xbf;
        size_t more = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
        if ((c >= 0x80 && c < 0xc2) || c > 0xf4 || len - i <= more) break;
        if (c == 0xe0) lo = 0xa0;      // else overlong
        else if (c == 0xed) hi = 0x9f; // else a surrogate
        else if (c == 0xf0) lo = 0x90; // else overlong
        else if (c == 0xf4) hi = 0x8f; // else above U+10FFFF
        size_t k = 1;
        while (k <= more && s[i + k] >= lo && s[i + k] <= hi) {
            lo = 0x80;
            hi = 0xbf;
            k++;
        }
        if (k <= more) break;
        i += more + 1;
    }
    return i;
}
