// SPDX-License-Identifier: Apache-2.0
// The state behind the screens: the figures of a model at two steps, and what is selected, sorted, tagged and asked for. Pure: no terminal, no file; keys change it, queries read it.
#ifndef RS_INSPECT_VIEW_H
#define RS_INSPECT_VIEW_H

#include "formats/outline.h"

// What was measured (sTAT `of`); one measure is shown at a time.
typedef enum rs_measure { RS_OF_INPUT, RS_OF_WEIGHT, RS_OF_ERROR, RS_OF_KV, RS_OF_STREAM, RS_OF_COUNT } rs_measure;

// The figures of a row. Their names are those of sTAT `values` (FORMAT.md 14), and max_rms = max / rms; the last five are of `error`: dB of the tensor, of its worst group and the
// group's number, share of codes at the ends of the range (0..1), largest scale / smallest.
typedef enum rs_figure {
    RS_FIG_MAX_RMS, RS_FIG_KURT, RS_FIG_SQNR4, RS_FIG_SQNR3, RS_FIG_MAX, RS_FIG_RMS, RS_FIG_P999, RS_FIG_P9999, RS_FIG_INCOHERENCE, RS_FIG_ZEROS, RS_FIG_MASSIVE, RS_FIG_TOKENS, RS_FIG_BAD,
    RS_FIG_SQNR, RS_FIG_WORST_SQNR, RS_FIG_WORST_GROUP, RS_FIG_CLIP, RS_FIG_SCALES,
    RS_FIG_COUNT
} rs_figure;

// A number that is not in the file is not known, and never 0; one that is known may still be NaN.
typedef struct rs_figures {
    double v[RS_FIG_COUNT];
    uint32_t known; // bit i: v[i]
} rs_figures;

// One tensor (or basis of the residual stream) under one measure.
typedef struct rs_view_row {
    const char *name;     // as in the file: to be escaped before it is drawn
    rs_measure of;
    rs_role role;         // RS_ROLE_COUNT: none (basis.J)
    int64_t layer;        // -1: none; of basis.J: J
    uint64_t place;       // ascends in the order of the model
    uint64_t width;       // channels; 0: not known
    rs_enc enc;           // of the tensor, with its group
    uint64_t group;
    int64_t frame[2];     // number of the statistics frame before and after, in the outline of that side; -1: none
    rs_figures fig[2];    // before, after
    bool tagged;
} rs_view_row;

// Where the figures of one side of a measure come from.
typedef struct rs_view_side {
    bool on;              // false: there are none (one step only: side 1 is off)
    int doc;              // which file
    unsigned step;
    bool computed;        // from the weights, for there were no frames
} rs_view_side;

// A junction that the file names: by a tensor or by its angles.
typedef struct rs_view_junction {
    uint64_t j, n, rank;  // width; rank of the tensor (RS_RANK_FULL: dense, or from two rotations)
    int64_t frame;        // `angles`, -1: none
    int64_t tensor, next; // resid.j or trans.j, or rot.j and rot.(j + 1); -1: none
} rs_view_junction;

// Everything that was gathered; rows stand by measure, then in the order of the tensors (bases at the end).
typedef struct rs_view_model {
    const rs_outline *doc[2]; // doc[1]: the second file, or NULL
    const rs_head *head;      // of the last file
    rs_view_side side[RS_OF_COUNT][2];
    rs_view_row *row;
    size_t n_rows, cap_rows;
    rs_view_junction *junction;
    size_t n_junctions;
    int junction_doc;         // the file that they are in
} rs_view_model;

// Parts of one statistics frame; NULL where it lacks them.
typedef struct rs_view_channels {
    uint64_t n;                 // channels
    float *absmax, *rms, *kurt; // [n]
    bool has_hist;
    uint64_t hist[64];
    uint64_t rows, groups;      // of `error`
    float *sig, *err;           // [rows][groups]
    uint32_t *clip;
} rs_view_channels;

// What is known of the spectrum of T - I of one junction.
typedef struct rs_view_spectrum {
    uint64_t j, n;
    double *theta, *sigma; // [known], largest first; sigma = 2 |sin(theta / 2)|
    size_t known;
    bool whole;            // all n are known, else only the largest of them
    double orth;           // largest |T^T T - I|; NaN: not known
    int det;               // 1, -1; 0: not known
} rs_view_spectrum;

// How the check of the whole file stands.
typedef struct rs_view_check {
    bool on, done;
    double share;          // 0..1 of its bytes
    rs_status status;
    char text[256];        // class and place of the fault, escaped
} rs_view_check;

typedef enum rs_sort { RS_SORT_MODEL, RS_SORT_NAME, RS_SORT_WIDTH, RS_SORT_MAX_RMS, RS_SORT_KURT, RS_SORT_SQNR4, RS_SORT_CHANGE, RS_SORT_SQNR, RS_SORT_CLIP, RS_SORT_COUNT } rs_sort;
typedef enum rs_channel_sort { RS_BY_ABSMAX, RS_BY_RMS, RS_BY_KURT, RS_BY_COUNT } rs_channel_sort;
typedef enum rs_show { RS_SHOW_BOTH, RS_SHOW_BEFORE, RS_SHOW_AFTER } rs_show;
typedef enum rs_prompt { RS_PROMPT_NONE, RS_PROMPT_SEARCH, RS_PROMPT_FILTER, RS_PROMPT_RANK, RS_PROMPT_EXPORT } rs_prompt;

enum { RS_SCREEN_OVERVIEW = 1, RS_SCREEN_TENSOR, RS_SCREEN_ROTATION, RS_SCREEN_ERROR, RS_SCREEN_FILE };

#define RS_VIEW_MIN_COLS 60
#define RS_VIEW_MIN_ROWS 16
#define RS_VIEW_TEXT 64
#define RS_VIEW_BUDGET 20.0 // dB below which screen 4 marks a tensor

typedef struct rs_view {
    rs_view_model *model;       // not owned
    int cols, rows;             // of the screen
    int screen;
    bool help;
    rs_measure of, back_of;     // back_of: what screen 4, which shows errors, goes back to
    rs_show show;
    rs_sort sort;
    bool inverted;
    rs_channel_sort channel_sort;
    size_t *order;              // rows that are shown, in order
    size_t n_order, cap_order, cursor, top;
    size_t junction;            // number in the model's list
    uint64_t rank;              // of the slider
    bool map;                   // screen 4: group map in place of the rows
    bool linear, ascii;
    int theme;
    bool paused;
    size_t scroll;              // screen 5 and help
    char filter[RS_VIEW_TEXT], search[RS_VIEW_TEXT];
    rs_prompt prompt;
    char typed[RS_VIEW_TEXT];
    char message[RS_VIEW_TEXT * 4]; // one line, until the next key
    // what the driver reads for the screens that need it; NULL: not (yet) there
    const rs_view_row *channels_of;
    const rs_view_channels *channels[2];
    const rs_view_spectrum *spectrum;
    const char *spectrum_missing; // why there is none
    rs_view_check check;
    double computing;           // share of the weights whose figures were computed so far, below 0: none are
    char fault[256];            // of reading, escaped; "": none
    char digest[33];            // of the last file; "": not yet known
} rs_view;

// Keys: printable characters are their code points (ASCII), the others these.
enum {
    RS_KEY_ENTER = 10, RS_KEY_TAB = 9, RS_KEY_ESC = 27, RS_KEY_BACKSPACE = 127,
    RS_KEY_UP = 0x110000, RS_KEY_DOWN, RS_KEY_LEFT, RS_KEY_RIGHT, RS_KEY_PAGE_UP, RS_KEY_PAGE_DOWN, RS_KEY_HOME, RS_KEY_END, RS_KEY_BACK_TAB, RS_KEY_F1, RS_KEY_F4, RS_KEY_F6, RS_KEY_F10
};

// What the driver has to do after a key.
typedef enum rs_action { RS_DO_NOTHING, RS_DO_QUIT, RS_DO_RELOAD, RS_DO_EXPORT } rs_action;

// Names for options, headers and exports: "input"; "max_rms"; "max_rms" (sort). NULL outside the enum. The find functions are false for an unknown name.
const char *rs_measure_name(rs_measure of);
const char *rs_figure_name(rs_figure f);
const char *rs_sort_name(rs_sort s);
bool rs_measure_find(const char *name, rs_measure *of);
bool rs_figure_find(const char *name, rs_figure *f);
bool rs_sort_find(const char *name, rs_sort *s);

// True, and the number in *v (NULL allowed), if the figure is known.
bool rs_figures_get(const rs_figures *f, rs_figure which, double *v);
void rs_figures_set(rs_figures *f, rs_figure which, double v);
// Takes what a statistics frame says in its values; max_rms is added where max and rms are there.
void rs_figures_read(rs_figures *f, const rs_value *values);

// Gathers rows, sides, junctions from one outline or two (after NULL: one file). steps: NULL, or the numbers of before and after, -1 each: the lowest and the highest that has figures of the measure
// (two files: the highest of each). The outlines must outlive m. E_NOMEM. Free with rs_view_model_free (a zeroed one allowed).
RS_MUST_CHECK rs_status rs_view_model_init(rs_view_model *m, const rs_outline *before, const rs_outline *after, const int64_t steps[2], rs_error *e);
void rs_view_model_free(rs_view_model *m);
// Adds or fills the row of a tensor with figures that were computed, not read. E_NOMEM.
RS_MUST_CHECK rs_status rs_view_model_put(rs_view_model *m, rs_measure of, int side, const rs_outline_tensor *t, const rs_figures *f, rs_error *e);

// A view of m: first screen, the first measure that has rows, sorted by what is worst. E_NOMEM. Free with rs_view_free.
RS_MUST_CHECK rs_status rs_view_init(rs_view *v, rs_view_model *m, int cols, int rows, rs_error *e);
void rs_view_free(rs_view *v);
// Looks at the model anew after it changed (cursor and tags stay with their names); takes another size of the screen.
RS_MUST_CHECK rs_status rs_view_refresh(rs_view *v, rs_view_model *m, rs_error *e);
void rs_view_resize(rs_view *v, int cols, int rows);
// One key, and a click of the mouse on a cell.
RS_MUST_CHECK rs_action rs_view_key(rs_view *v, int key);
void rs_view_click(rs_view *v, int row, int col);
// Settings by name for batch: only rows whose name matches glob (* and ?); false if the measure has no rows.
void rs_view_filter(rs_view *v, const char *glob);
bool rs_view_measure(rs_view *v, rs_measure of);
void rs_view_sort(rs_view *v, rs_sort s, bool inverted);

// The row under the cursor, the i-th that is shown; NULL if there is none.
const rs_view_row *rs_view_row_at(const rs_view *v, size_t i);
const rs_view_row *rs_view_current(const rs_view *v);
const rs_view_junction *rs_view_junction_at(const rs_view *v);
// The side that judges a row: after, or before where there is no after.
int rs_view_last_side(const rs_view_model *m, rs_measure of);
// 1: rose (max/RMS) by more than 1 %, -1: fell, 0: neither or not known.
int rs_view_change(const rs_view_row *r);
// "12.down", "final.norm" or the name itself, escaped.
const char *rs_view_short_name(const rs_view_row *r, char *out, size_t cap, bool ascii);
// Share E(r) = sum of the r largest sigma^2 / sum of all; NaN where the spectrum does not hold it.
double rs_view_energy(const rs_view_spectrum *s, uint64_t r);
// The list anew after filter, measure or sorting changed; the cursor stays on its row where it can. The cursor goes to row i, and the list scrolls after it.
void rs_view_order(rs_view *v);
void rs_view_go(rs_view *v, int64_t i);
// Another screen (1..5).
void rs_view_screen(rs_view *v, int screen);
// Moves the cursor to the next row after it (step 1; -1: before) whose name holds the searched text.
void rs_view_search(rs_view *v, int step);
// Rows of the list that fit on the screen.
int rs_view_page(const rs_view *v);
// The --batch command that shows the same.
const char *rs_view_command(const rs_view *v, char *out, size_t cap);
// Shell-like pattern with * and ? over the whole text, by characters of one byte.
bool rs_view_glob(const char *pattern, const char *text);
// The screens that the others know by number, "overview" for 1.
const char *rs_view_screen_name(int screen);

#endif
