#include "gradient_rows.inc.h"

void back_band_avx2(void *backward, int task, int worker)
{
    back_band(backward, task, worker);
}
