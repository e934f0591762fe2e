/* Runs a program on all images of a batch, on a pool of threads. Python calls it through ctypes: one build serves every
   version of Python and of torch. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "program.h"

/* The pool. A caller shares the steps of some images with a team of the pool's threads, works on them, too, and does not
   wait for threads that have not come yet. Runs that are under way at the same time share the threads. */

typedef struct Team {
  struct Team *next;
  RunProgram *code;
  Run run; /* of part 0; the others' differ in their number */
  unsigned char begun[MOST_THREADS]; /* parts that a thread has begun */
  atomic_int inside; /* threads of the pool at work */
  Progress progress;
} Team;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all that follows, and of `next` and `begun` of teams */
static pthread_cond_t begins = PTHREAD_COND_INITIALIZER;
static Team *teams;
static int pool_size;
static atomic_int runs, helpers; /* runs under way, and how many of the pool's threads they may have */
static atomic_uint team_number;

void rest(int turn) {
  if (turn > 20000) sched_yield();
#if defined(__x86_64__)
  else __builtin_ia32_pause();
#endif
}

static void run_part(Team *team, int part) {
  Run run = team->run;
  run.part = part;
  team->code(&run);
}

/* A team with a part that nobody has begun. A thread has the same part of a team of so many in every run, as far as
   possible: it finds the weights in its caches. */
static Team *join(int thread, int *part) {
  for (Team *team = teams; team; team = team->next) {
    *part = 1 + (thread - 1) % (team->run.parts - 1);
    if (team->begun[*part]) continue;
    team->begun[*part] = 1;
    atomic_fetch_add(&team->inside, 1);
    return team;
  }
  return NULL;
}

#define SOON 10000 /* turns, about 0.1 ms, that a thread waits for the next team before it sleeps */

static void *work(void *thread) {
  for (int part;;) {
    pthread_mutex_lock(&lock);
    unsigned number = atomic_load(&team_number);
    Team *team = join((int)(size_t)thread, &part);
    pthread_mutex_unlock(&lock);
    if (team) {
      run_part(team, part);
      atomic_fetch_sub(&team->inside, 1);
      continue;
    }
    for (int turn = 0; turn < SOON && atomic_load(&team_number) == number; turn++) {
      if (atomic_load(&runs) && atomic_load(&helpers) < (int)(size_t)thread) break; /* others need its core */
      rest(turn);
    }
    pthread_mutex_lock(&lock);
    while (atomic_load(&team_number) == number) pthread_cond_wait(&begins, &lock);
    pthread_mutex_unlock(&lock);
  }
  return NULL;
}

static void forget_threads(void) { /* in a forked child, which has none of them */
  teams = NULL;
  pool_size = 0;
  atomic_init(&runs, 0);
  atomic_init(&helpers, 0);
  atomic_init(&team_number, 0);
  pthread_mutex_init(&lock, NULL);
  pthread_cond_init(&begins, NULL);
}

static void register_forks(void) { pthread_atfork(NULL, NULL, forget_threads); }

#define STACK (1 << 20) /* bytes: more than the steps need, on systems that give threads less */

static void grow_pool(int size) {
  pthread_attr_t attributes;
  if (pool_size >= size || pthread_attr_init(&attributes)) return;
  pthread_attr_setstacksize(&attributes, STACK);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  for (pthread_t id; pool_size < size; pool_size++)
    if (pthread_create(&id, &attributes, work, (void *)(size_t)(pool_size + 1))) break;
  pthread_attr_destroy(&attributes);
}

static void run_together(Team *team) {
  const int parts = team->run.parts;
  memset(team->begun, 0, parts);
  atomic_init(&team->inside, 0);
  atomic_init(&team->progress.phase, 0);
  atomic_init(&team->progress.done, 0);
  for (int i = 0; i < parts; i++) atomic_init(&team->progress.share[i].taken, 0);
  pthread_mutex_lock(&lock);
  grow_pool(parts - 1);
  team->next = teams;
  teams = team;
  atomic_fetch_add(&team_number, 1);
  pthread_cond_broadcast(&begins);
  pthread_mutex_unlock(&lock);
  run_part(team, 0);
  pthread_mutex_lock(&lock);
  Team **link = &teams;
  while (*link != team) link = &(*link)->next;
  *link = team->next;
  pthread_mutex_unlock(&lock);
  for (int turn = 0; atomic_load(&team->inside); turn++) rest(turn);
}

/* How many threads work on the next images of a run that has had `parts`: those that no other run has, and no fewer
   than its share. */
static int parts_of(int threads, int parts) {
  pthread_mutex_lock(&lock);
  int others = atomic_load(&runs) - 1, others_helpers = atomic_load(&helpers) - (parts - 1);
  int share = threads / (others + 1), idle = threads - others - others_helpers;
  parts = share > idle ? share : idle;
  parts = parts < 1 ? 1 : parts < MOST_THREADS ? parts : MOST_THREADS;
  atomic_store(&helpers, others_helpers + parts - 1);
  pthread_mutex_unlock(&lock);
  return parts;
}

/* Runs ------------------------------------------------------------------------------------------------------------ */

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

static void run_images(Team *team, long first, long images, int begin, int end) {
  Run *run = &team->run;
  run->first = first, run->images = images, run->begin = begin, run->end = end;
  if (run->threads > 1) run->parts = parts_of(run->threads, run->parts);
  if (run->parts > 1) run_together(team);
  else run_part(team, 0);
}

static void begin_run(Team *team, RunProgram *code, Run run) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, register_forks);
  team->code = code;
  team->run = run;
  team->run.parts = 1;
  team->run.progress = &team->progress;
  atomic_fetch_add(&runs, 1);
}

static void end_run(Team *team) {
  atomic_fetch_sub(&helpers, team->run.parts - 1);
  atomic_fetch_sub(&runs, 1);
}

/* Runs code that shares a task itself, on up to so many threads. */
void run_task(RunProgram *code, void *task, int threads) {
  Team team;
  begin_run(&team, code, (Run){.task = task, .threads = threads});
  run_images(&team, 0, 0, 0, 0);
  end_run(&team);
}

/* Runs a program: groups of images one after the other, then the steps that take all images. The memory holds
   program->workspace + program->scratch floats, the scratch for so many threads. */
void caffe_compat_run(int lanes, const Program *program, float *const *tensors, const long *strides, long images,
                      long group, int threads, float *memory) {
  Team team;
  begin_run(&team, code_of(lanes), (Run){.program = program, .workspace = memory, .tensors = tensors, .strides = strides,
                                         .scratch = memory + program->workspace, .threads = threads});
  for (long first = 0; first < images; first += group)
    run_images(&team, first, images - first < group ? images - first : group, 0, program->grouped);
  if (images && program->grouped < program->steps) run_images(&team, 0, images, program->grouped, program->steps);
  end_run(&team);
}

extern PyMethodDef caffe_compat_methods[];

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "_native", .m_doc = "Steps of nets in C.",
                                    .m_methods = caffe_compat_methods};

PyMODINIT_FUNC PyInit__native(void) { return PyModule_Create(&module); }
