/* The CPU kernel of the mask engine: draw, scale and multiply in one pass.
 *
 * The results equal those of philox.py and reference.py bit by bit. Plain C with Python's stable
 * ABI, without torch's headers: tensors arrive as addresses, which dispatch.py has checked.
 */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#if !defined(__GNUC__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the kernel is written for GCC and Clang on little-endian machines"
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#ifndef _WIN32
#include <sys/mman.h>
#endif

#include "_team.h"

#define DEFINITION 2       /* must equal that of philox.py; dispatch.py checks it */
#define WHOLE 256          /* elements; a multiple of every instruction set's BLOCK */
#define TASK (32 * WHOLE)  /* minimum number of elements per task */
#define ALONE (4 * TASK)   /* elements up to which one thread is faster */
#define AHEAD 1024         /* bytes to prefetch while words are drawn */
#define LARGE_PAGE (1 << 21)

#define MULTIPLIER0 0xD2511F53u
#define MULTIPLIER1 0xCD9E8D57u
#define WEYL0 0x9E3779B9u
#define WEYL1 0xBB67AE85u

typedef struct Job Job;
typedef void (*Piece)(const Job *, int64_t row, int64_t start, int64_t stop);

struct Job {
    Piece piece;
    const void *x; /* rows × count, contiguous; absent for a mask */
    void *y;
    const uint64_t *seeds; /* one for each row */
    int64_t rows, count;
    uint64_t stream, offset; /* offset: index of a row's first element */
    uint32_t threshold;      /* 1 … 65535 */
    double factor;           /* drop: factor of kept elements; blur: standard deviation */
    const float *table;      /* blur: the normal number of each word */
    int64_t task;            /* elements of a task */
    int64_t tasks, next;     /* tasks per row; the next task to start */
};

/* Conversions. Results are rounded to nearest, ties to even, as torch does. */

#define IN_PLACE(x, buffer) (number = x, product = y)
#define DONE(buffer, y) (void)(buffer)

#define FROM_BRAIN(brain, number)                                                                  \
    for (int i = 0; i < BLOCK; i++) {                                                              \
        uint32_t bits = (uint32_t)(brain)[i] << 16;                                                \
        memcpy(&(number)[i], &bits, 4);                                                            \
    }

#define TO_BRAIN(number, brain)                                                                    \
    for (int i = 0; i < BLOCK; i++) {                                                              \
        uint32_t bits;                                                                             \
        memcpy(&bits, &(number)[i], 4);                                                            \
        uint32_t rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;                               \
        (brain)[i] = (uint16_t)((bits & 0x7FFFFFFF) > 0x7F800000 ? 0x7FC0 : rounded);              \
    }

static inline float from_half(uint16_t half) {
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = half & 0x7FFF;
    uint32_t bits = (rest << 13) + (112u << 23); /* the exponent's bias: 127 − 15 */
    float number = (float)rest * 0x1p-24f; /* right if subnormal */
    if (rest >= 0x7C00) bits += 112u << 23; /* infinity and NaN */
    if (rest < 0x0400) memcpy(&bits, &number, 4);
    bits |= sign;
    memcpy(&number, &bits, 4);
    return number;
}

static inline uint16_t to_half(float number) {
    uint32_t bits, rounded;
    memcpy(&bits, &number, 4);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    bits &= 0x7FFFFFFF;
    if (bits > 0x7F800000) return sign | 0x7E00;  /* NaN */
    if (bits >= 0x477FF000) return sign | 0x7C00; /* rounds beyond 65504 */
    if (bits < 0x38800000) {                      /* subnormal: adding ½ rounds to 2⁻²⁴ */
        memcpy(&number, &bits, 4);
        number += 0.5f;
        memcpy(&rounded, &number, 4);
        return sign | (uint16_t)(rounded - 0x3F000000);
    }
    return sign | (uint16_t)((bits - (112u << 23) + 0x0FFF + (bits >> 13 & 1)) >> 13);
}

typedef uint64_t uint64x2 __attribute__((vector_size(16)));
typedef uint32_t uint32x4 __attribute__((vector_size(16)));
#ifdef __clang__
#define SHUFFLE(a, b, ...) \
    ((uint64x2)__builtin_shufflevector((uint32x4)(a), (uint32x4)(b), __VA_ARGS__))
#else
#define SHUFFLE(a, b, ...) \
    ((uint64x2)__builtin_shuffle((uint32x4)(a), (uint32x4)(b), (uint32x4){__VA_ARGS__}))
#endif

#define NAME(f) f##_portable
#define TARGET
#define VECTOR uint64x2
#define WIDTH 2
#define MULTIPLY(a, b) (((a) & 0xFFFFFFFF) * (b))
#define HIGH(a) ((a) >> 32)
#define EVEN(a, b) SHUFFLE(a, b, 0, 2, 4, 6)
#define ODD(a, b) SHUFFLE(a, b, 1, 3, 5, 7)
#define VECTORS 2
#define BLOCK 128
#define FROM_HALF(half, number) \
    for (int i = 0; i < BLOCK; i++) (number)[i] = from_half((half)[i])
#define TO_HALF(number, half) \
    for (int i = 0; i < BLOCK; i++) (half)[i] = to_half((number)[i])
#include "_apply.h"

#if defined(__x86_64__)

#define NAME(f) f##_avx2
#define TARGET __attribute__((target("avx2,f16c")))
#define VECTOR uint64x4
#define WIDTH 4
#define MULTIPLY(a, b) ((uint64x4)_mm256_mul_epu32((__m256i)(a), (__m256i)(b)))
#define HIGH(a) ((a) >> 32)
#define EVEN(a, b) ((uint64x4)_mm256_shuffle_ps((__m256)(a), (__m256)(b), 0x88))
#define ODD(a, b) ((uint64x4)_mm256_shuffle_ps((__m256)(a), (__m256)(b), 0xDD))
#define VECTORS 2
#define BLOCK 128
#define FROM_HALF(half, number)                                                                    \
    for (int i = 0; i < BLOCK; i += 8)                                                             \
    _mm256_storeu_ps((number) + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)((half) + i))))
#define TO_HALF(number, half)                                                                      \
    for (int i = 0; i < BLOCK; i += 8)                                                             \
    _mm_storeu_si128((__m128i *)((half) + i), _mm256_cvtps_ph(_mm256_loadu_ps((number) + i), 0))
typedef uint64_t uint64x4 __attribute__((vector_size(32)));
#include "_apply.h"

#define NAME(f) f##_avx512
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,f16c")))
#define VECTOR uint64x8
#define WIDTH 8
#define MULTIPLY(a, b) ((uint64x8)_mm512_mul_epu32((__m512i)(a), (__m512i)(b)))
/* Products and shifts use one of two 512-bit ports; a shuffle uses the other. */
#define HIGH(a) ((uint64x8)_mm512_shuffle_epi32((__m512i)(a), 0xF5))
#define EVEN(a, b) ((uint64x8)_mm512_shuffle_ps((__m512)(a), (__m512)(b), 0x88))
#define ODD(a, b) ((uint64x8)_mm512_shuffle_ps((__m512)(a), (__m512)(b), 0xDD))
#define VECTORS 4
#define BLOCK 256
#define FROM_HALF(half, number)                                                                    \
    for (int i = 0; i < BLOCK; i += 16)                                                            \
    _mm512_storeu_ps((number) + i, _mm512_cvtph_ps(_mm256_loadu_si256((const void *)((half) + i))))
#define TO_HALF(number, half)                                                                      \
    for (int i = 0; i < BLOCK; i += 16)                                                            \
    _mm256_storeu_si256((void *)((half) + i), _mm512_cvtps_ph(_mm512_loadu_ps((number) + i), 0))
typedef uint64_t uint64x8 __attribute__((vector_size(64)));
#include "_apply.h"

#endif

/* Instruction sets, the best first. */

static const struct {
    const char *name;
    const Piece *pieces;
} sets[] = {
#if defined(__x86_64__)
    {"avx512", pieces_avx512},
    {"avx2", pieces_avx2},
#endif
    {"portable", pieces_portable},
};
enum { SETS = sizeof sets / sizeof *sets };

static int chosen = SETS - 1;

static int runs_here(int set) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (set == 0)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (set == 1) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c");
#endif
    return set < SETS;
}

static void work(void *data) {
    Job *job = data;
    for (;;) {
        const int64_t task = __atomic_fetch_add(&job->next, 1, __ATOMIC_RELAXED);
        const int64_t row = task / job->tasks, start = task % job->tasks * job->task;
        if (row >= job->rows) return;
        const int64_t stop = start + job->task;
        job->piece(job, row, start, stop < job->count ? stop : job->count);
    }
}

/* The system maps new memory page by page, which takes longer than filling it; use large pages. */
static void use_large_pages(void *y, int64_t bytes) {
#ifdef MADV_HUGEPAGE
    const uintptr_t start = ((uintptr_t)y + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
    const uintptr_t stop = ((uintptr_t)y + bytes) / LARGE_PAGE * LARGE_PAGE;
    if (start < stop) madvise((void *)start, stop - start, MADV_HUGEPAGE);
#else
    (void)y, (void)bytes;
#endif
}

/* Functions for Python. */

static const int bytes[] = {1, 4, 2, 2, 8, 4, 2, 2, 8}; /* size of an element, for each piece */

static PyObject *run(PyObject *self, PyObject *args) {
    Job job = {0};
    unsigned long long x, y, seeds, table, stream, offset;
    long long rows, count;
    unsigned piece, threads;
    (void)self;
    if (!PyArg_ParseTuple(args, "IKKKLLKKIdKI", &piece, &x, &y, &seeds, &rows, &count, &stream,
                          &offset, &job.threshold, &job.factor, &table, &threads))
        return NULL;
    job.piece = sets[chosen].pieces[piece];
    job.x = (const void *)(uintptr_t)x;
    job.y = (void *)(uintptr_t)y;
    job.seeds = (const uint64_t *)(uintptr_t)seeds;
    job.table = (const float *)(uintptr_t)table;
    job.rows = rows, job.count = count, job.stream = stream, job.offset = offset;
    if (rows <= 0 || count <= 0) Py_RETURN_NONE;
    /* One long task per thread: threads that fill the same large page wait for each other. */
    job.task = (count / WHOLE / (threads ? threads : 1) + 1) * WHOLE;
    if (job.task < TASK) job.task = TASK;
    job.tasks = (count + job.task - 1) / job.task;
    Py_BEGIN_ALLOW_THREADS;
    use_large_pages(job.y, rows * count * bytes[piece]);
    if (team && threads > 1 && rows * count > ALONE)
        team(work, &job, threads, 0);
    else
        work(&job);
    Py_END_ALLOW_THREADS;
    Py_RETURN_NONE;
}

static PyObject *instruction_sets(PyObject *self, PyObject *unused) {
    PyObject *names = PyList_New(0);
    (void)self, (void)unused;
    for (int set = 0; names && set < SETS; set++)
        if (runs_here(set)) {
            PyObject *name = PyUnicode_FromString(sets[set].name);
            if (!name || PyList_Append(names, name)) Py_CLEAR(names);
            Py_XDECREF(name);
        }
    return names;
}

static PyObject *use_instruction_set(PyObject *self, PyObject *args) {
    const char *name;
    (void)self;
    if (!PyArg_ParseTuple(args, "s", &name)) return NULL;
    for (int set = 0; set < SETS; set++)
        if (!strcmp(sets[set].name, name) && runs_here(set)) {
            chosen = set;
            Py_RETURN_NONE;
        }
    PyErr_Format(PyExc_ValueError, "this processor has no %s; see instruction_sets()", name);
    return NULL;
}

static PyMethodDef methods[] = {
    {"run", run, METH_VARARGS,
     "run(piece, x, y, seeds, rows, count, stream, offset, threshold, factor, table, threads)"},
    TEAM_METHOD,
    {"instruction_sets", instruction_sets, METH_NOARGS, "Those that run here, the best first."},
    {"use_instruction_set", use_instruction_set, METH_VARARGS, "Use this one from now on."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "dropkit.random._kernel", "The CPU kernel.", 0, methods,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__kernel(void) {
    while (chosen > 0 && runs_here(chosen - 1)) chosen--;
    forget_team_in_forks();
    PyObject *made = PyModule_Create(&module);
    if (made && PyModule_AddIntConstant(made, "DEFINITION", DEFINITION)) Py_CLEAR(made);
    return made;
}
