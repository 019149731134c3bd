// SPDX-License-Identifier: Apache-2.0
// Byte streams over a file, a pipe or memory: one object for readers, one for writers, with atomic output.
#ifndef RS_FORMATS_IO_H
#define RS_FORMATS_IO_H

#include "formats/err.h"

typedef struct rs_in rs_in;
typedef struct rs_out rs_out;

// Opens path for reading; "-" or NULL is standard input. The caller closes *in with rs_in_close. E_READ; RS_USAGE for a directory.
RS_MUST_CHECK rs_status rs_in_open(rs_in **in, const char *path, rs_error *e);
// A stream over len bytes at data, which must outlive it.
RS_MUST_CHECK rs_status rs_in_memory(rs_in **in, const void *data, size_t len, rs_error *e);
// Reads exactly n bytes unless the stream ends first; *got (not NULL) is what was read, fewer than n only at the end. Retries EINTR and short reads. E_READ.
RS_MUST_CHECK rs_status rs_in_read(rs_in *in, void *buf, size_t n, size_t *got, rs_error *e);
// Position in bytes from the start of the stream.
uint64_t rs_in_offset(const rs_in *in);
// True when the stream is a regular file or memory, so that rs_in_size and rs_in_pread work.
bool rs_in_seekable(const rs_in *in);
// Size in bytes of a seekable stream as it is now. E_READ.
RS_MUST_CHECK rs_status rs_in_size(rs_in *in, uint64_t *size, rs_error *e);
// Reads exactly n bytes at offset of a seekable stream without moving its position; E_TRUNC when it ends first.
RS_MUST_CHECK rs_status rs_in_pread(rs_in *in, void *buf, size_t n, uint64_t offset, rs_error *e);
// Name for messages ("standard input" for a pipe); owned by in.
const char *rs_in_name(const rs_in *in);
// Its descriptor, -1 for memory; owned by in. Only for mapping a seekable stream.
int rs_in_fd(const rs_in *in);
// Fills dev and ino of the open file (0 for memory), so that a tool can refuse an output that is its input.
void rs_in_identity(const rs_in *in, uint64_t *dev, uint64_t *ino);
// Limits every read of the underlying descriptor to n bytes (tests of short reads); 0 = no limit.
void rs_in_set_chunk(rs_in *in, size_t n);
// Closes and frees; NULL allowed.
void rs_in_close(rs_in *in);

// Opens path for writing; "-" or NULL is standard output (RS_USAGE if that is a terminal). A regular path is written to a temporary beside it and takes its
// place in rs_out_commit (a symbolic link stays, its target is replaced); a FIFO, device or standard output is written in place. RS_USAGE if path is one of the n_inputs open inputs (same device and inode; NULL entries are skipped). E_WRITE.
RS_MUST_CHECK rs_status rs_out_open(rs_out **out, const char *path, rs_in *const *inputs, size_t n_inputs, rs_error *e);
// A growing memory stream; rs_out_bytes gives what was written.
RS_MUST_CHECK rs_status rs_out_memory(rs_out **out, rs_error *e);
// Writes n bytes; retries EINTR and short writes. E_WRITE.
RS_MUST_CHECK rs_status rs_out_write(rs_out *out, const void *buf, size_t n, rs_error *e);
// Bytes written so far.
uint64_t rs_out_offset(const rs_out *out);
// The bytes of a memory stream (NULL for others), valid until the next write or close; *len not NULL.
const uint8_t *rs_out_bytes(const rs_out *out, size_t *len);
// Name for messages; owned by out.
const char *rs_out_name(const rs_out *out);
// Makes the output final: flush, fsync, close, rename, fsync of the directory, each checked. After it only rs_out_close is allowed. E_WRITE.
RS_MUST_CHECK rs_status rs_out_commit(rs_out *out, rs_error *e);
// Frees; without a commit before it, a temporary is removed, and what was written to a pipe or device so far is sent on. NULL allowed.
void rs_out_close(rs_out *out);
// Installs handlers of SIGINT, SIGTERM and SIGHUP that unlink open temporaries and raise the signal again; called once by tools. A file size
// limit (SIGXFSZ) becomes an E_WRITE like any other.
void rs_out_guard_signals(void);

#endif
