/* A driver library without a driver, for the copy within a board's memory. Time is what the copies are said to take, so that
 * every figure is known. It is compiled with what a test wants of it:
 *
 *   BOARDS        how many there are (1)
 *   FREE_BYTES    memory that a board says is free (8 GiB)
 *   ROOM_BYTES    largest buffer that it gives (as many as are asked for)
 *   L2_BYTES      cache of the second level (32 MiB); 0: it does not tell
 *   RATE          bytes read and written per second (1e12)
 *   PARTS         a board is divided: the later function for its id tells another one than the earlier
 *   FAILS         name of a function that answers with STATUS (999)
 *   CRASHES       copying ends the process; HANGS: it never ends
 *   OLD           a function is missing, as in an old driver
 *   NO_TIME       the events tell none
 */
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifndef BOARDS
#define BOARDS 1
#endif
#ifndef FREE_BYTES
#define FREE_BYTES (8ULL << 30)
#endif
#ifndef ROOM_BYTES
#define ROOM_BYTES (~0ULL)
#endif
#ifndef L2_BYTES
#define L2_BYTES (32 << 20)
#endif
#ifndef RATE
#define RATE 1e12
#endif
#ifndef FAILS
#define FAILS ""
#endif
#ifndef STATUS
#define STATUS 999
#endif

#define ANSWER                                                                                                         \
    if (strcmp(FAILS, __func__) == 0) return STATUS;                                                                   \
    return 0

/* Handles are addresses of these; what is made is counted, so that what is not given back shows. */
static double now, marks[64];
static int next_mark, stream, made, started, current;

int cuInit(unsigned flags) {
    started = flags == 0;
    ANSWER;
}

int cuGetErrorString(int status, const char **text) {
    *text = status == 2 ? "out of memory" : status == 100 ? "no CUDA-capable device is detected" : NULL;
    return *text ? 0 : 1;
}

int cuDeviceGetCount(int *count) {
    *count = BOARDS;
    if (!started) return 3;
    ANSWER;
}

int cuDeviceGet(int *device, int number) {
    *device = number + 40;
    ANSWER;
}

int cuDeviceGetName(char *name, int length, int device) {
    snprintf(name, (size_t)length, "fake board %d", device - 40);
    ANSWER;
}

int cuDeviceGetUuid(unsigned char *uuid, int device) {
    memset(uuid, 0xab, 16);
    uuid[15] = (unsigned char)(device - 40);
    ANSWER;
}

int cuDeviceGetUuid_v2(unsigned char *uuid, int device) {
    cuDeviceGetUuid(uuid, device);
#ifdef PARTS
    uuid[0] = 0x01;
#endif
    ANSWER;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device;
    if (attribute != 38) return 1;
    *value = L2_BYTES;
    ANSWER;
}

int cuDevicePrimaryCtxRetain(void **context, int device) {
    *context = &current;
    if (device < 40 || device >= 40 + BOARDS) return 101;
    made++;
    ANSWER;
}

int cuDevicePrimaryCtxRelease_v2(int device) {
    (void)device;
    current = 0;
    /* The context is the last that is given back. */
    if (--made != 0) fprintf(stderr, "fake driver: %d left\n", made), raise(SIGABRT);
    ANSWER;
}

int cuCtxSetCurrent(void *context) {
    current = context == &current;
    ANSWER;
}

int cuMemGetInfo_v2(size_t *unused, size_t *all) {
    if (!current) return 201;
    *unused = FREE_BYTES;
    *all = 2 * FREE_BYTES;
    ANSWER;
}

int cuMemAlloc_v2(unsigned long long *address, size_t bytes) {
    if (!current) return 201;
    if (bytes > ROOM_BYTES) return 2;
    if (strcmp(FAILS, __func__) == 0) return STATUS;
    made++;
    *address = 0x7000000000ULL + (unsigned long long)made;
    return 0;
}

int cuMemFree_v2(unsigned long long address) {
    if (address < 0x7000000000ULL) return 1;
    made--;
    ANSWER;
}

int cuMemcpyDtoDAsync_v2(unsigned long long to, unsigned long long from, size_t bytes, void *on) {
    if (to == from || on != &stream) return 1;
#ifdef CRASHES
    raise(SIGSEGV);
#endif
#ifdef HANGS
    for (;;) pause();
#endif
    now += 2.0 * (double)bytes / RATE;
    ANSWER;
}

int cuStreamCreate(void **handle, unsigned flags) {
    if (flags != 1) return 1;
    if (strcmp(FAILS, __func__) == 0) return STATUS;
    *handle = &stream;
    made++;
    return 0;
}

int cuStreamDestroy_v2(void *handle) {
    if (handle != &stream) return 1;
    made--;
    ANSWER;
}

int cuEventCreate(void **handle, unsigned flags) {
    if (flags != 0) return 1;
    if (strcmp(FAILS, __func__) == 0) return STATUS;
    *handle = &marks[next_mark++ % 64];
    made++;
    return 0;
}

int cuEventDestroy_v2(void *handle) {
    (void)handle;
    made--;
    ANSWER;
}

int cuEventRecord(void *handle, void *on) {
    if (on != &stream) return 1;
    *(double *)handle = now;
    ANSWER;
}

int cuEventSynchronize(void *handle) {
    (void)handle;
    ANSWER;
}

#ifndef OLD
int cuEventElapsedTime(float *milliseconds, void *begin, void *end) {
#ifdef NO_TIME
    *milliseconds = NO_TIME;
    (void)begin;
    (void)end;
#else
    *milliseconds = (float)((*(double *)end - *(double *)begin) * 1e3);
#endif
    ANSWER;
}
#endif
