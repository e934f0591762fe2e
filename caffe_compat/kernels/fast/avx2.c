/* Vectors of 8 for processors with AVX2 and FMA. */
#if defined(__x86_64__)
#include "program.h"

TARGET("avx2,fma")
#define LANES 8
#define ROWS 6
#define RUN run_avx2
#include "program.inc"
END_TARGET
#endif
