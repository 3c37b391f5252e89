/* Run the kernels on the threads of torch's OpenMP pool, so that no second pool competes with it.
 *
 * Include this file after Python.h in each kernel.
 */

#ifndef _WIN32
#include <pthread.h>
#endif

typedef void (*Team)(void (*work)(void *), void *data, unsigned threads, unsigned flags);

static Team team = NULL;

#ifndef _WIN32
/* An OpenMP pool does not survive a fork. */
static void after_fork(void) { team = NULL; }
#endif

static PyObject *use_team(PyObject *self, PyObject *address) {
    (void)self;
    team = (Team)PyLong_AsVoidPtr(address);
    if (PyErr_Occurred()) return NULL;
    Py_RETURN_NONE;
}

#define TEAM_METHOD \
    {"use_team", use_team, METH_O, "Run large jobs in the OpenMP pool of this GOMP_parallel."}

static void forget_team_in_forks(void) {
#ifndef _WIN32
    pthread_atfork(NULL, NULL, after_fork);
#endif
}
