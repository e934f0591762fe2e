/* Runs a program on all images of a batch, on a pool of threads. Python calls it through ctypes: one build serves every
   version of Python and of torch. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "program.h"

/* The pool: one job at a time. Its caller works on it, too, and does not wait for threads that have not come yet. */

typedef void Job(void *data, int part, int parts);

static pthread_mutex_t one_caller = PTHREAD_MUTEX_INITIALIZER, lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t begins = PTHREAD_COND_INITIALIZER;
static Job *job;
static void *job_data;
static int job_parts, pool_size;
static atomic_int job_number;
static atomic_int inside; /* twice the threads at the job, and 1 while others may join them */

void rest(int turn) {
  if (turn > 20000) sched_yield();
#if defined(__x86_64__)
  else __builtin_ia32_pause();
#endif
}

static int enter(void) {
  int now = atomic_load(&inside);
  while (now & 1)
    if (atomic_compare_exchange_weak(&inside, &now, now + 2)) return 1;
  return 0;
}

#define SOON 10000 /* turns, about 0.1 ms, that a thread waits for the next job before it sleeps */

static void *work(void *part) {
  int number = 0;
  for (;;) {
    for (int turn = 0; turn < SOON && atomic_load(&job_number) == number; turn++) rest(turn);
    pthread_mutex_lock(&lock);
    while (job_number == number) pthread_cond_wait(&begins, &lock);
    number = job_number;
    int joins = (int)(size_t)part < job_parts && enter();
    pthread_mutex_unlock(&lock);
    if (joins) {
      job(job_data, (int)(size_t)part, job_parts);
      atomic_fetch_sub(&inside, 2);
    }
  }
  return NULL;
}

static void forget_threads(void) { /* in a forked child, which has none of them */
  pool_size = 0;
  job_number = inside = 0;
  pthread_mutex_init(&one_caller, NULL);
  pthread_mutex_init(&lock, NULL);
  pthread_cond_init(&begins, NULL);
}

static void run_job(Job *next, void *data, int parts) {
  static int registered;
  pthread_mutex_lock(&one_caller);
  if (!registered) registered = !pthread_atfork(NULL, NULL, forget_threads);
  for (pthread_t id; pool_size < parts - 1; pool_size++) {
    if (pthread_create(&id, NULL, work, (void *)(size_t)(pool_size + 1))) break;
    pthread_detach(id);
  }
  pthread_mutex_lock(&lock);
  job = next;
  job_data = data;
  job_parts = parts;
  inside = 1;
  job_number++;
  pthread_cond_broadcast(&begins);
  pthread_mutex_unlock(&lock);
  next(data, 0, parts);
  atomic_fetch_sub(&inside, 1);
  for (int turn = 0; atomic_load(&inside); turn++) rest(turn);
  pthread_mutex_unlock(&one_caller);
}

/* Runs ------------------------------------------------------------------------------------------------------------ */

typedef struct {
  Run run;
  RunProgram *code;
  const long *strides; /* floats from one image to the next, by tensor */
  int tensors, images, group;
  Progress progress;
} Batch;

/* Groups of images one after the other, then the steps that take all images; the threads share every step. */
static void run_batch(void *data, int part, int parts) {
  Batch *batch = data;
  Run run = batch->run;
  float *tensors[batch->tensors];
  run.tensors = tensors;
  run.part = part;
  run.parts = parts;
  run.progress = &batch->progress;
  run.end = run.program->grouped;
  for (run.first = 0; run.first < batch->images; run.first += batch->group) {
    run.images = batch->images - run.first < batch->group ? batch->images - run.first : batch->group;
    for (int i = 0; i < batch->tensors; i++) tensors[i] = batch->run.tensors[i] + run.first * batch->strides[i];
    batch->code(&run);
  }
  run.tensors = batch->run.tensors;
  run.first = 0;
  run.images = batch->images;
  run.begin = run.program->grouped;
  run.end = run.program->steps;
  batch->code(&run);
}

static RunProgram *code_of(int lanes) {
#if defined(__x86_64__)
  int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  int avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  if (lanes == 16) return avx2 && avx512 ? run_avx512 : NULL;
  if (lanes == 8) return avx2 ? run_avx2 : NULL;
#endif
  return lanes == 4 ? run_baseline : NULL;
}

/* What library.py compares with its own: a build of another version would read steps where there are none. */
const long caffe_compat_sizes[] = {sizeof(Buffer), sizeof(Step), sizeof(Program), OPS};

/* Whether this processor runs the code for vectors of so many floats. */
int caffe_compat_supports(int lanes) { return code_of(lanes) != NULL; }

/* Asks for large pages: the values of a tile go to 100 places that are far apart. */
void caffe_compat_use_large_pages(void *memory, size_t size) {
#ifdef MADV_HUGEPAGE
  size_t page = 1 << 21, first = ((size_t)memory + page - 1) / page * page;
  size_t last = ((size_t)memory + size) / page * page;
  if (last > first) madvise((void *)first, last - first, MADV_HUGEPAGE);
#else
  (void)memory, (void)size;
#endif
}

/* Runs a program, `group` images at a time. The memory holds program->workspace + program->scratch floats. */
void caffe_compat_run(int lanes, const Program *program, float *const *tensors, const long *strides, int count,
                      int images, int group, int threads, float *memory) {
  Run run = {.program = program, .workspace = memory, .scratch = memory + program->workspace, .tensors = tensors};
  Share share[threads];
  for (int i = 0; i < threads; i++) atomic_init(&share[i].taken, 0);
  Batch batch = {.run = run, .code = code_of(lanes), .strides = strides, .tensors = count, .images = images,
                 .group = group, .progress.share = share};
  if (threads > 1) run_job(run_batch, &batch, threads);
  else run_batch(&batch, 0, 1);
}

extern PyMethodDef caffe_compat_methods[];

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "_native", .m_doc = "Steps of nets in C.",
                                    .m_methods = caffe_compat_methods};

PyMODINIT_FUNC PyInit__native(void) { return PyModule_Create(&module); }
