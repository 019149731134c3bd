// SPDX-License-Identifier: Apache-2.0
// Makes any input readable at random: a pipe is copied into an unlinked temporary file first.
#ifndef RS_FORMATS_SPOOL_H
#define RS_FORMATS_SPOOL_H

#include "formats/io.h"

// Opens path ("-" or NULL: standard input) as a seekable stream; what is no regular file is read to its end into a temporary under $TMPDIR (default /tmp) that has no
// name any more. The caller closes *in. E_READ, E_WRITE (temporary), RS_USAGE for a directory.
RS_MUST_CHECK rs_status rs_spool_open(rs_in **in, const char *path, rs_error *e);
// A new, empty temporary file in the same place, open for reading and writing, that has no name either; the caller closes *fd. E_WRITE.
RS_MUST_CHECK rs_status rs_spool_file(int *fd, rs_error *e);
// n bytes at off of such a file. E_WRITE; E_READ, also where the file ends before them.
RS_MUST_CHECK rs_status rs_spool_put(int fd, uint64_t off, const void *bytes, size_t n, rs_error *e);
RS_MUST_CHECK rs_status rs_spool_get(int fd, uint64_t off, void *bytes, size_t n, rs_error *e);

#endif
