#include "motion_predict.inc.h"
#include "motion_search.inc.h"

const MotionKernels motion_c = {compensate, picture, search, picture_size};
