/* Whether a pass can run compiled: torch is in the state for it, the inputs are plain, and nothing has changed since it
   was looked at, be it what modules and their tables hold, what classes call, or where weights lie and in what order.
   The values of weights that cannot be guarded are hashed. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "program.h"

/* Where objects hold what is looked at: offsets in bytes, found out by kernels/fast/watch.py. */
typedef struct {
  long object;              /* from a Python tensor to its TensorImpl; 0: unknown, and the caller looks at tensors */
  long storage, first, end; /* from there to its storage, to its sizes, strides, offset and, in the last word, type, */
  long keys;                /* and to its dispatch keys */
  long data;                /* from a storage to its memory */
  long version;             /* from a dict to a word that every change changes; 0: this Python has none */
} Offsets;

typedef struct {
  Offsets at;
  long states, inputs, owners, tables, attributes, weights; /* how many */
  PyObject *const *state, *const *arguments, *const *answer; /* functions, and the object that each must return */
  PyObject *tensor, *parameter; /* the classes of inputs, */
  uint64_t mask, type, keys[2]; /* and what their TensorImpls hold for float32 on the CPU; the mask is the type's */
  PyObject *const *owner, *const *class; /* modules */
  PyObject *const *table;       /* the __dict__ of each owner, then `tables` other dicts, */
  const long *size;
  uint64_t *version;
  PyObject *const *value;       /* and what they hold, one dict after the other */
  PyObject *const *holder, *const *name, *const *attribute; /* attributes of classes and modules of Python */
  PyObject *const *weight;
  const char *form;             /* of each weight the bytes from `first` to `end` */
  void *const *address;         /* of each weight its storage, then that one's memory */
} Watch;

/* What library.py compares with its own. */
const long caffe_compat_watch_sizes[] = {sizeof(Offsets), sizeof(Watch)};

static uint64_t word(const void *object, long offset) { return *(const uint64_t *)((const char *)object + offset); }

static const char *pointer(const void *object, long offset) {
  return *(const char *const *)((const char *)object + offset);
}

/* Takes the new reference `object`. */
static int is_same(PyObject *object, const PyObject *expected) {
  if (!object) PyErr_Clear();
  Py_XDECREF(object);
  return object == expected;
}

static int is_plain(const Watch *w, PyObject *input) {
  PyObject *class = (PyObject *)Py_TYPE(input);
  if (class != w->tensor && class != w->parameter) return 0;
  const char *impl = pointer(input, w->at.object);
  uint64_t keys = word(impl, w->at.keys);
  return (word(impl, w->at.end - 8) & w->mask) == w->type && (keys == w->keys[0] || keys == w->keys[1]);
}

/* The version tells most dicts that have not changed; others are compared. */
static int holds(const Watch *w, long i, PyObject *dict, PyObject *const *values) {
  PyObject *key, *value;
  Py_ssize_t at = 0;
  if (w->at.version && word(dict, w->at.version) == w->version[i]) return 1;
  if (PyDict_Size(dict) != w->size[i]) return 0;
  while (PyDict_Next(dict, &at, &key, &value))
    if (value != *values++) return 0;
  if (w->at.version) w->version[i] = word(dict, w->at.version);
  return 1;
}

static int is_unmoved(const Watch *w, long i) {
  const long size = w->at.end - w->at.first;
  const char *impl = pointer(w->weight[i], w->at.object), *storage = pointer(impl, w->at.storage);
  if (storage != w->address[2 * i] || pointer(storage, w->at.data) != w->address[2 * i + 1]) return 0;
  return !memcmp(impl + w->at.first, w->form + i * size, size);
}

static int is_unchanged(const Watch *w) {
  PyObject *const *values = w->value;
  for (long i = 0; i < w->weights; i++)
    if (!is_unmoved(w, i)) return 0;
  for (long i = 0; i < w->owners; values += w->size[i++])
    if ((PyObject *)Py_TYPE(w->owner[i]) != w->class[i] ||
        !is_same(PyObject_GenericGetDict(w->owner[i], NULL), w->table[i]) || !holds(w, i, w->table[i], values))
      return 0;
  for (long i = w->owners; i < w->owners + w->tables; values += w->size[i++])
    if (!holds(w, i, w->table[i], values)) return 0;
  for (long i = 0; i < w->attributes; i++)
    if (!is_same(PyObject_GetAttr(w->holder[i], w->name[i]), w->attribute[i])) return 0;
  return 1;
}

static int suits(const Watch *w, PyObject *inputs) {
  if (PyTuple_Size(inputs) != w->inputs) return PyErr_Clear(), 0;
  for (long i = 0; i < w->states; i++)
    if (!is_same(PyObject_Call(w->state[i], w->arguments[i], NULL), w->answer[i])) return 0;
  for (long i = 0; i < w->inputs; i++)
    if (!is_plain(w, PyTuple_GetItem(inputs, i))) return 0;
  return 1;
}

static const Watch *watch_at(PyObject *address) {
  const Watch *w = PyLong_AsVoidPtr(address);
  if (!w && !PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "no watch");
  return w;
}

static PyObject *unchanged(PyObject *self, PyObject *address) {
  const Watch *w = watch_at(address);
  (void)self;
  return w ? PyBool_FromLong(is_unchanged(w)) : NULL;
}

static PyObject *ready(PyObject *self, PyObject *const *args, Py_ssize_t count) {
  const Watch *w = count == 2 ? watch_at(args[0]) : NULL;
  (void)self;
  if (!w && !PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "a watch and a tuple are needed");
  return w ? PyBool_FromLong(suits(w, args[1]) && is_unchanged(w)) : NULL;
}

PyMethodDef caffe_compat_methods[] = {
    {"unchanged", unchanged, METH_O, "Tell whether nothing has changed, given the address of a watch."},
    {"ready", (PyCFunction)(void (*)(void))ready, METH_FASTCALL, "The same, and whether these inputs can run now."},
    {NULL, NULL, 0, NULL},
};

/* Hashes: every step is a bijection of the sum and of the word, so that one changed word always changes the result. */

typedef uint64_t words __attribute__((vector_size(64)));
typedef uint64_t unaligned_words __attribute__((vector_size(64), aligned(4)));
#define PRIME 0x9E3779B185EBCA87ULL
#define SUMS 8 /* side by side, so that none waits for another */
#define AHEAD 4096

static inline __attribute__((always_inline)) uint64_t hash(const char *values, size_t size) {
  words sums[SUMS];
  uint64_t all = size;
  for (int i = 0; i < SUMS; i++)
    for (int j = 0; j < 8; j++) sums[i][j] = 8 * i + j + 1;
  for (; size >= sizeof(sums); size -= sizeof(sums), values += sizeof(sums))
    for (int i = 0; i < SUMS; i++) {
      __builtin_prefetch(values + AHEAD + 64 * i);
      sums[i] = (sums[i] ^ ((const unaligned_words *)values)[i]) * PRIME;
      sums[i] ^= sums[i] >> 32;
    }
  for (; size; size -= size < 4 ? size : 4, values += 4) {
    uint32_t word = 0;
    memcpy(&word, values, size < 4 ? size : 4);
    all = (all ^ word) * PRIME;
    all ^= all >> 29;
  }
  for (int i = 0; i < SUMS; i++)
    for (int j = 0; j < 8; j++) {
      all = (all ^ sums[i][j]) * PRIME;
      all ^= all >> 32;
    }
  return all;
}

#if defined(__x86_64__)
__attribute__((target("avx512f,avx512dq"))) static uint64_t hash_avx512(const char *values, size_t size) {
  return hash(values, size);
}

__attribute__((target("avx2"))) static uint64_t hash_avx2(const char *values, size_t size) {
  return hash(values, size);
}
#endif

static uint64_t hash_here(const char *values, size_t size) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) return hash_avx512(values, size);
  if (__builtin_cpu_supports("avx2")) return hash_avx2(values, size);
#endif
  return hash(values, size);
}

typedef struct {
  const char *const *pieces;
  const size_t *sizes;
  uint64_t *hashes;
  long count;
  atomic_long taken;
} Hashing;

static void hash_some(Run *run) {
  Hashing *h = run->task;
  for (long i; (i = atomic_fetch_add(&h->taken, 1)) < h->count;) h->hashes[i] = hash_here(h->pieces[i], h->sizes[i]);
}

#define LITTLE (1 << 20) /* bytes, of which a second thread would find few left */

/* Hashes each piece, on up to so many threads. */
void caffe_compat_hash(const char *const *pieces, const size_t *sizes, long count, int threads, uint64_t *hashes) {
  Hashing h = {.pieces = pieces, .sizes = sizes, .hashes = hashes, .count = count};
  size_t bytes = 0;
  for (long i = 0; i < count; i++) bytes += sizes[i];
  run_task(hash_some, &h, bytes < LITTLE ? 1 : threads);
}
