// Why this exists: NCCL's interface without GPUs. Ranks are threads of one process; "device" pointers are memory. Every call is written to LOG, so that tests see their order.
// cc -shared -fPIC -pthread -DLOG='"file"' [-DNCCL_STUB_VERSION=21201] [-DFAILS] nccl-stub.c -o libnccl.so.2
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef NCCL_STUB_VERSION
#define NCCL_STUB_VERSION 22105
#endif
#define RANKS 8
enum { SUCCESS = 0, SYSTEM_ERROR = 2, INVALID = 4, IN_PROGRESS = 7 };
enum { ALL_REDUCE, ALL_GATHER, BROADCAST };
typedef struct { char bytes[128]; } unique_id;
typedef struct { size_t size; unsigned magic, version; int blocking; } config;
typedef struct { int rank, world, busy, polls, aborted; } comm;
typedef struct { comm *of; int operation, type; const char *in; char *out; size_t count; } job;

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t change = PTHREAD_COND_INITIALIZER;
static job here[RANKS];
static int present;
static long generation;

static void told(const char *what, int rank) {
    FILE *file = fopen(LOG, "a");
    fprintf(file, "%d %s\n", rank, what);
    fclose(file);
}

static size_t width(int type) { return type == 7 ? 4 : 8; }

static void add(int type, char *to, const char *from, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (type == 7) ((float *)to)[i] += ((const float *)from)[i];
        else if (type == 8) ((double *)to)[i] += ((const double *)from)[i];
        else ((long *)to)[i] += ((const long *)from)[i];
    }
}

static void all_are_here(int world) {
    size_t bytes = here[0].count * width(here[0].type);
    char *result = calloc(world, bytes);
    for (int r = 0; r < world; r++) {
        if (here[r].operation == ALL_GATHER) memcpy(result + r * bytes, here[r].in, bytes);
        else if (here[r].operation == ALL_REDUCE) add(here[r].type, result, here[r].in, here[r].count);
        else if (r == 0) memcpy(result, here[0].in, bytes);
    }
    for (int r = 0; r < world; r++) memcpy(here[r].out, result, here[r].operation == ALL_GATHER ? world * bytes : bytes);
    free(result);
}

static void *run(void *argument) {
    job *own = argument;
    pthread_mutex_lock(&gate);
    long mine = generation;
    here[own->of->rank] = *own;
    if (++present == own->of->world) {
        all_are_here(own->of->world);
        present = 0;
        generation++;
        pthread_cond_broadcast(&change);
    }
    while (mine == generation && !own->of->aborted) pthread_cond_wait(&change, &gate);
    own->of->busy = 0;
    pthread_mutex_unlock(&gate);
    free(own);
    return NULL;
}

static int begin(const char *name, comm *of, int operation, const void *in, void *out, size_t count, int type) {
    told(name, of->rank);
#ifdef FAILS
    return SYSTEM_ERROR;
#endif
    job *own = malloc(sizeof *own);
    *own = (job){of, operation, type, in, out, count};
    of->busy = 1;
    pthread_t thread;
    pthread_create(&thread, NULL, run, own);
    pthread_detach(thread);
    return IN_PROGRESS;
}

int ncclGetVersion(int *version) { *version = NCCL_STUB_VERSION; return SUCCESS; }
int ncclGetUniqueId(unique_id *id) { memset(id, 42, sizeof *id); told("ncclGetUniqueId", 0); return SUCCESS; }
const char *ncclGetErrorString(int result) { return result == SYSTEM_ERROR ? "unhandled system error" : "invalid argument"; }

int ncclCommInitRankConfig(comm **made, int world, unique_id id, int rank, config *how) {
    told("ncclCommInitRankConfig", rank);
    if (how->magic != 0xcafebeef || how->version != 21400 || how->size != sizeof *how || how->blocking != 0 || id.bytes[0] != 42 || id.bytes[127] != 42) return INVALID;
    *made = calloc(1, sizeof **made);
    **made = (comm){rank, world, 0, 2, 0};
    return IN_PROGRESS;
}

int ncclCommGetAsyncError(comm *of, int *state) {
    pthread_mutex_lock(&gate);
    *state = of->polls-- > 0 || of->busy ? IN_PROGRESS : SUCCESS;
    pthread_mutex_unlock(&gate);
    return SUCCESS;
}

int ncclCommAbort(comm *of) {
    told("ncclCommAbort", of->rank);
    pthread_mutex_lock(&gate);
    of->aborted = 1;
    pthread_cond_broadcast(&change);
    pthread_mutex_unlock(&gate);
    return SUCCESS;
}

int ncclCommFinalize(comm *of) { told("ncclCommFinalize", of->rank); return SUCCESS; }
int ncclCommDestroy(comm *of) { told("ncclCommDestroy", of->rank); return SUCCESS; }
int ncclAllReduce(const void *in, void *out, size_t count, int type, int operation, comm *of, void *stream) {
    return operation != 0 || stream == NULL ? INVALID : begin("ncclAllReduce", of, ALL_REDUCE, in, out, count, type);
}
int ncclAllGather(const void *in, void *out, size_t count, int type, comm *of, void *stream) {
    return stream == NULL ? INVALID : begin("ncclAllGather", of, ALL_GATHER, in, out, count, type);
}
int ncclBroadcast(const void *in, void *out, size_t count, int type, int root, comm *of, void *stream) {
    return root != 0 || stream == NULL ? INVALID : begin("ncclBroadcast", of, BROADCAST, in, out, count, type);
}

int cudaSetDevice(int device) { (void)device; return 0; }
int cudaStreamCreateWithFlags(void **stream, unsigned flags) { *stream = malloc(1); return flags != 1; }
int cudaStreamDestroy(void *stream) { free(stream); return 0; }
int cudaStreamWaitEvent(void *stream, void *event, unsigned flags) { (void)event; told(stream ? "own stream waits" : "default stream waits", -1); return (int)flags; }
int cudaEventCreateWithFlags(void **event, unsigned flags) { *event = malloc(1); return flags != 2; }
int cudaEventRecord(void *event, void *stream) { (void)event; (void)stream; return 0; }
int cudaEventDestroy(void *event) { free(event); return 0; }
