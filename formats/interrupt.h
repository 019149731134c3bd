// SPDX-License-Identifier: Apache-2.0
// SIGINT and SIGTERM as a request to save and end, for tools whose work takes hours.
#ifndef RS_FORMATS_INTERRUPT_H
#define RS_FORMATS_INTERRUPT_H

#include <stdbool.h>

// From now on the first of these signals is only noted, and a second one ends at once as before this call; one that the parent had us ignore stays ignored.
void rs_interrupt_catch(void);
// Number of the signal that came, 0: none.
int rs_interrupt_number(void);
// The same as a question of the kind that long loops ask; context is not used.
bool rs_interrupt_stop(void *context);

#endif
