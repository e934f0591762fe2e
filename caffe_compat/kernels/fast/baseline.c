/* Vectors of 4: what every processor of the architecture has (SSE2, NEON). */
#define LANES 4
#define ROWS 6
#define RUN run_baseline
#include "program.inc"
