/* Vectors of 16 for processors with AVX-512. */
#if defined(__x86_64__)
#include "program.h"

TARGET("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#define LANES 16
#define ROWS 14
#define RUN run_avx512
#include "program.inc"
END_TARGET
#endif
