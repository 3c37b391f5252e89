/* Thinning on a CPU: choose the kept units; copy kept rows and columns of a matrix out or in;
 * update them like an optimizer.
 *
 * Plain C with Python's stable ABI, without torch's headers: tensors arrive as addresses, which
 * _matrix.py has checked. _choice.py defines which units are kept.
 */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../random/_team.h"

#define ALONE 32768 /* elements up to which one thread is faster */
#define TASK 16     /* rows that a thread takes at a time */

typedef struct {
    char *whole, *part;
    const int64_t *rows, *columns; /* kept indices, ascending; NULL for all */
    int64_t height, width;         /* shape of whole */
    int64_t tall, wide;            /* shape of part */
    int64_t bytes;                 /* size of an element: 2, 4 or 8; ADD: float or double */
    unsigned action;
    int next;
} Job;

enum { CUT, PUT, ADD, WRITE };

#define EACH(type, statement)                                                                      \
    for (int64_t j = 0; j < job->wide; j++) {                                                      \
        type *restrict w = (type *)whole + (columns ? columns[j] : j);                             \
        type *restrict p = (type *)part + j;                                                       \
        statement;                                                                                 \
    }

static void move_row(const Job *job, char *whole, char *part) {
    const int64_t *restrict columns = job->columns;
    const int64_t bytes = job->bytes, length = job->width * bytes;
    if (job->action == ADD) {
        if (bytes == 4) EACH(float, *w += *p)
        else EACH(double, *w += *p)
    } else if (!columns) {
        memcpy(job->action == CUT ? part : whole, job->action == CUT ? whole : part, length);
    } else if (job->action != CUT) {
        if (job->action == PUT) memset(whole, 0, length);
        if (bytes == 4) EACH(uint32_t, *w = *p)
        else if (bytes == 8) EACH(uint64_t, *w = *p)
        else EACH(uint16_t, *w = *p)
    } else {
        if (bytes == 4) EACH(uint32_t, *p = *w)
        else if (bytes == 8) EACH(uint64_t, *p = *w)
        else EACH(uint16_t, *p = *w)
    }
}

static void work(void *data) {
    Job *job = data;
    const int64_t length = job->width * job->bytes;
    for (;;) {
        const int64_t start = (int64_t)__atomic_fetch_add(&job->next, 1, __ATOMIC_RELAXED) * TASK;
        const int64_t stop = start + TASK < job->tall ? start + TASK : job->tall;
        if (start >= job->tall) return;
        for (int64_t i = start; i < stop; i++) {
            const int64_t row = job->rows ? job->rows[i] : i;
            if (job->action == PUT && job->rows) { /* zeros before this row, and after the last */
                const int64_t before = i ? job->rows[i - 1] + 1 : 0;
                memset(job->whole + before * length, 0, (row - before) * length);
                if (i == job->tall - 1)
                    memset(job->whole + (row + 1) * length, 0, (job->height - row - 1) * length);
            }
            move_row(job, job->whole + row * length, job->part + i * job->wide * job->bytes);
        }
    }
}

/* The random numbers of four units: Philox4x32-10. */
static void philox(uint32_t c[4], uint64_t seed) {
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
        const uint64_t left = (uint64_t)c[0] * 0xD2511F53u, right = (uint64_t)c[2] * 0xCD9E8D57u;
        c[0] = (uint32_t)(right >> 32) ^ c[1] ^ k0, c[1] = (uint32_t)right;
        c[2] = (uint32_t)(left >> 32) ^ c[3] ^ k1, c[3] = (uint32_t)left;
    }
}

/* Returns the number with this rank (from 0) among distinct numbers; reorders the array. */
static uint64_t select_rank(uint64_t *numbers, int64_t size, int64_t rank) {
    int64_t low = 0, high = size - 1;
    while (low < high) {
        const uint64_t pivot = numbers[(low + high) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            while (numbers[i] < pivot) i++;
            while (numbers[j] > pivot) j--;
            if (i > j) break;
            const uint64_t number = numbers[i];
            numbers[i++] = numbers[j], numbers[j--] = number;
        }
        if (rank <= j) high = j;
        else if (rank >= i) low = i;
        else break;
    }
    return numbers[rank];
}

/* For each group, keeps and counts the units with the smallest keys (times kept, random, unit). */
static PyObject *choose(PyObject *self, PyObject *args) {
    unsigned long long chosen, kept, seed, stream;
    long long groups, size, keep;
    (void)self;
    if (!PyArg_ParseTuple(args, "KKLLLKK", &chosen, &kept, &groups, &size, &keep, &seed, &stream))
        return NULL;
    uint64_t *numbers = malloc(2 * (size + 3) * sizeof *numbers), *copy = numbers + size + 3;
    if (!numbers) return PyErr_NoMemory();
    int64_t *out = (int64_t *)(uintptr_t)chosen, *times = (int64_t *)(uintptr_t)kept;
    for (int64_t group = 0; group < groups; group++) {
        for (int64_t i = 0; i < size; i += 4) {
            uint32_t words[4] = {(uint32_t)(i / 4), (uint32_t)group, (uint32_t)stream,
                                 (uint32_t)(stream >> 32)};
            philox(words, seed);
            for (int64_t j = 0; j < 4; j++)
                numbers[i + j] = (uint64_t)(words[j] >> 1) << 31 | (i + j);
        }
        int64_t least = INT64_MAX;
        for (int64_t i = 0; i < size; i++) numbers[i] += (uint64_t)times[i] << 62;
        memcpy(copy, numbers, size * sizeof *numbers);
        const uint64_t last = select_rank(copy, size, keep - 1);
        for (int64_t i = 0; i < size; i++) {
            if (numbers[i] <= last) *out++ = i, times[i]++;
            if (times[i] < least) least = times[i];
        }
        for (int64_t i = 0; i < size; i++) times[i] -= least;
    }
    free(numbers);
    Py_RETURN_NONE;
}

static PyObject *move(PyObject *self, PyObject *args) {
    Job job = {0};
    unsigned long long whole, part, rows, columns;
    long long height, width, tall, wide, bytes;
    unsigned threads;
    (void)self;
    if (!PyArg_ParseTuple(args, "IKKKKLLLLLI", &job.action, &whole, &part, &rows, &columns, &height,
                          &width, &tall, &wide, &bytes, &threads))
        return NULL;
    job.whole = (char *)(uintptr_t)whole, job.part = (char *)(uintptr_t)part;
    job.rows = (const int64_t *)(uintptr_t)rows, job.columns = (const int64_t *)(uintptr_t)columns;
    job.height = height, job.width = width, job.tall = tall, job.wide = wide, job.bytes = bytes;
    Py_BEGIN_ALLOW_THREADS;
    if (team && threads > 1 && tall * wide > ALONE)
        team(work, &job, threads, 0);
    else
        work(&job);
    Py_END_ALLOW_THREADS;
    Py_RETURN_NONE;
}

/* Updates only the kept rows and columns, in place, with the formulas of torch's optimizers.
 *
 * Processes whole rows and writes dropped columns back unchanged: nearly every cache line of a row
 * has a kept column, and vector instructions need no index.
 */
typedef struct {
    char *weight, *grad, *first, *second; /* moments; SGD only has the first */
    const char *kept;                     /* for each column 1 or 0, in the dtype of the weight */
    const int64_t *rows;                  /* NULL for all */
    int64_t width, tall;
    int double_precision, adam, next;
    double rate, decay, shrink, beta1, beta2, epsilon, of_gradient, of_moment, correction;
} Update;

#define UPDATE(type, root)                                                                         \
    static void update_##type(const Update *u, int64_t row) {                                      \
        const int64_t start = row * u->width, width = u->width;                                    \
        type *restrict w = (type *)u->weight + start, *restrict m = (type *)u->first + start;      \
        type *restrict v = (type *)u->second + start;                                              \
        const type *restrict g = (const type *)u->grad + start, *restrict kept = (type *)u->kept;  \
        const type rate = (type)u->rate, decay = (type)u->decay, shrink = (type)u->shrink;         \
        const type beta1 = (type)u->beta1, beta2 = (type)u->beta2, epsilon = (type)u->epsilon;     \
        const type a = (type)u->of_gradient, b = (type)u->of_moment, c = (type)u->correction;      \
        if (u->adam)                                                                               \
            for (int64_t j = 0; j < width; j++) {                                                  \
                const type d = g[j] + decay * w[j], mean = m[j] + (1 - beta1) * (d - m[j]);        \
                const type square = beta2 * v[j] + (1 - beta2) * d * d;                            \
                const type new = shrink * w[j] - rate * mean / (root(square) * c + epsilon);       \
                m[j] = kept[j] != 0 ? mean : m[j];                                                 \
                v[j] = kept[j] != 0 ? square : v[j];                                               \
                w[j] = kept[j] != 0 ? new : w[j];                                                  \
            }                                                                                      \
        else                                                                                       \
            for (int64_t j = 0; j < width; j++) {                                                  \
                const type d = g[j] + decay * w[j], moment = beta1 * m[j] + d;                     \
                const type new = w[j] - rate * (a * d + b * moment);                               \
                m[j] = kept[j] != 0 ? moment : m[j];                                               \
                w[j] = kept[j] != 0 ? new : w[j];                                                  \
            }                                                                                      \
    }
UPDATE(float, sqrtf)
UPDATE(double, sqrt)

static void update_rows(void *data) {
    Update *u = data;
    for (;;) {
        const int64_t start = (int64_t)__atomic_fetch_add(&u->next, 1, __ATOMIC_RELAXED) * TASK;
        if (start >= u->tall) return;
        for (int64_t i = start; i < start + TASK && i < u->tall; i++) {
            const int64_t row = u->rows ? u->rows[i] : i;
            if (u->double_precision) update_double(u, row);
            else update_float(u, row);
        }
    }
}

static PyObject *update(PyObject *self, PyObject *args) {
    Update u = {0};
    unsigned long long weight, grad, first, second, rows, kept;
    long long width, tall;
    unsigned threads;
    (void)self;
    if (!PyArg_ParseTuple(args, "iiKKKKKKLLdddddddddI", &u.adam, &u.double_precision, &weight, &grad,
                          &first, &second, &rows, &kept, &width, &tall, &u.rate, &u.decay, &u.shrink,
                          &u.beta1, &u.beta2, &u.epsilon, &u.of_gradient, &u.of_moment,
                          &u.correction, &threads))
        return NULL;
    u.weight = (char *)(uintptr_t)weight, u.grad = (char *)(uintptr_t)grad;
    u.first = (char *)(uintptr_t)first, u.second = (char *)(uintptr_t)second;
    u.rows = (const int64_t *)(uintptr_t)rows, u.kept = (const char *)(uintptr_t)kept;
    u.width = width, u.tall = tall;
    Py_BEGIN_ALLOW_THREADS;
    if (team && threads > 1 && tall * width > ALONE)
        team(update_rows, &u, threads, 0);
    else
        update_rows(&u);
    Py_END_ALLOW_THREADS;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"move", move, METH_VARARGS,
     "move(action, whole, part, rows, columns, height, width, tall, wide, bytes, threads)"},
    {"choose", choose, METH_VARARGS, "choose(chosen, kept, groups, size, keep, seed, stream)"},
    {"update", update, METH_VARARGS,
     "update(adam, double_precision, weight, grad, first, second, rows, kept, width, tall, rate,"
     " decay, shrink, beta1, beta2, epsilon, of_gradient, of_moment, correction, threads)"},
    TEAM_METHOD,
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "dropkit.thinned._kernel", "Thinning on a CPU.", 0, methods,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__kernel(void) {
    forget_team_in_forks();
    return PyModule_Create(&module);
}
