// SPDX-License-Identifier: Apache-2.0
// Checks text of foreign files for valid UTF-8.
#ifndef RS_FORMATS_UTF8_H
#define RS_FORMATS_UTF8_H

#include <stddef.h>

// Bytes of the longest prefix of p[0..len) that is valid UTF-8 (no overlong form, surrogate or code point above U+10FFFF); len if all is.
size_t rs_utf8_valid(const char *p, size_t len);

#endif
