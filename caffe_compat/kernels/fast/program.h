/* A program: the layers of a net as steps between buffers, run on some images at once.

   Maps lie in buffers with the channels innermost. A pixel has `pixel` floats, the channels and zeros after them, so
   that a buffer can be read in whole vectors. A border of zeros around a map stands for the padding of convolutions. */
#ifndef CAFFE_COMPAT_PROGRAM_H
#define CAFFE_COMPAT_PROGRAM_H
#include <stdatomic.h>
#include <string.h>

/* The code between TARGET(features) and END_TARGET uses these features of the processor. */
#define PRAGMA(text) _Pragma(#text)
#ifdef __clang__
#define TARGET(features) PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define END_TARGET PRAGMA(clang attribute pop)
#else
#define TARGET(features) PRAGMA(GCC target(features))
#define END_TARGET
#endif

#define MOST_THREADS 256 /* that work on a run: others would find nothing to do */
#define MOST_TAPS 4096   /* of a convolution that is not by tiles; program.py refuses larger kernels */

enum {
  LOAD_MAP, STORE_MAP, CONVOLVE, CONVOLVE_TILES, CONVOLVE_CHANNELS, POOL, ADD, FLATTEN, INNER_PRODUCT,
  GRADIENT_TILES, POOL_PLACES, UNPOOL, GRADIENT_FEW, MULTIPLY, /* for training */
  OPS
};

typedef struct {
  long offset, image; /* where the first image begins in the workspace, and the floats of one */
  int height, width, pixel, border;
  int first, channels; /* those of the pixel that are meant: several buffers can be parts of one */
  int batch;           /* holds all images of a batch, not a group of them */
  int tensor;          /* of the caller, which lies like a buffer and takes the place of one; -1: none */
} Buffer;

typedef struct {
  int op, from, to, residual; /* buffers; a residual of -1 is none */
  int tensor; /* which of the caller's: the map of LOAD_MAP and STORE_MAP, the weights' gradient of GRADIENT_TILES */
  int kernel[2], stride[2], pad[2], dilation[2];
  int side;      /* CONVOLVE_TILES: of a tile, 6 or 10 */
  int average;   /* POOL: the mean instead of the maximum */
  int pooled[2]; /* CONVOLVE: maxima of windows of this size, side by side, take the place of the map; 0: none */
  int dense; /* CONVOLVE: the pixels of a line of the kernel lie next to each other, without zeros between them */
  int relu;
  const float *weights, *bias, *slope; /* the slope of negative values, by channel; NULL: none */
} Step;

typedef struct {
  long workspace, scratch; /* floats: for the buffers of a group of images, and for the steps themselves */
  int steps, grouped; /* and how many of the steps, the first ones, take a group of images; the others take a batch */
  const Buffer *buffers;
  const Step *step;
} Program;

/* What the threads of a run share: a run is a row of phases, each of some pieces of work. */
typedef struct {
  _Alignas(64) atomic_ullong taken; /* the phase in the upper half, how many of its pieces are taken in the lower */
} Share;

typedef struct {
  atomic_uint phase;
  atomic_llong done; /* pieces of the phase */
  Share share[MOST_THREADS];
} Progress;

/* A thread's part of a run. */
typedef struct {
  const Program *program;
  float *workspace, *scratch;
  float *const *tensors; /* of the caller, each (N, C, H, W) */
  const long *strides;   /* floats from one image to the next, by tensor */
  long first, images;    /* of the batch */
  int begin, end;        /* the steps */
  int part, parts;
  int threads; /* that the scratch is for: no fewer than the parts, and the same whatever other runs there are */
  unsigned phase;
  Progress *progress;
  void *task; /* of code that runs no program */
} Run;

typedef void RunProgram(Run *run);

void run_task(RunProgram *code, void *task, int threads);
void rest(int turn); /* while waiting for another thread */

RunProgram run_avx512, run_avx2, run_baseline;
#endif
