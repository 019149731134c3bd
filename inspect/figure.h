// SPDX-License-Identifier: Apache-2.0
// Vector figures of a view, panel by panel: each is one svg element of its own size that can stand in a page or within another svg.
#ifndef RS_INSPECT_FIGURE_H
#define RS_INSPECT_FIGURE_H

#include "formats/text_buffer.h"
#include "inspect/view.h"

#define RS_PANEL_WIDTH 380
#define RS_PANEL_HEIGHT 190
#define RS_PANELS 24

// One panel: what it shows of the view that it was listed for.
typedef enum rs_panel_kind { RS_PANEL_ROLE, RS_PANEL_CHANNELS, RS_PANEL_HISTOGRAM, RS_PANEL_ANGLES, RS_PANEL_SIGMA, RS_PANEL_ENERGY } rs_panel_kind;
typedef struct rs_panel {
    rs_panel_kind kind;
    rs_role role; // ROLE
    int side;     // CHANNELS
} rs_panel;

// The panels that a screen of the view has something for, n of them (at most RS_PANELS): of the rows (overview, error) one for each role of the measure; of the channels; of the spectrum.
size_t rs_figure_panels(const rs_view *v, int screen, rs_panel panels[RS_PANELS]);
// One panel at (x, y) of the svg around it.
void rs_figure_panel(const rs_view *v, const rs_panel *p, double x, double y, rs_text_buffer *b);

#endif
