/* A real ONNX Runtime that says it has TensorRT. Everything runs on the processor; where nodes were assigned is made up, so that
 * what a provider does in part can be seen where no board is. It is compiled with:
 *
 *   REAL          path of the library behind it
 *   ELSEWHERE     operator whose nodes the provider does not take, e.g. "Softmax"; "": it takes all
 *   NO_BOARD      the provider cannot be started
 *   FUNCTIONS     pointers in the table of functions of the version that it is asked for
 *   AT_<name>     place of a function in that table
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#define PROVIDER "TensorrtExecutionProvider"

typedef void Status;
typedef void (*Function)(void);

struct base {
    const Function *(*table)(unsigned version);
    const char *(*version)(void);
};

static const struct base *real_base;
static const Function *real;
static Function ours[FUNCTIONS];

/* `real` is of the type that the function named has. */
#define REAL_OF(name, ...) ((Status * (*)(__VA_ARGS__)) real[AT_##name])

/* What a session tells of its nodes: an address of one of these stands for a part of a graph. */
struct part {
    const char *provider;
    const void **nodes;
    size_t count;
};

static Status *available(char ***names, int *count) {
    char **theirs;
    int of_theirs;
    Status *failed = REAL_OF(GetAvailableProviders, char ***, int *)(&theirs, &of_theirs);
    if (failed) return failed;
    *names = calloc(of_theirs + 1, sizeof **names);
    *count = of_theirs + 1;
    (*names)[0] = strdup(PROVIDER);
    for (int i = 0; i < of_theirs; i++) (*names)[i + 1] = strdup(theirs[i]);
    return REAL_OF(ReleaseAvailableProviders, char **, int)(theirs, of_theirs);
}

static Status *release_available(char **names, int count) {
    for (int i = 0; i < count; i++) free(names[i]);
    free(names);
    return NULL;
}

/* A board's memory is the machine's. */
static Status *memory_info(const char *name, int allocator, int device, int kind, void **made) {
    const char *known = strcmp(name, "Cuda") == 0 ? "Cpu" : name;
    return REAL_OF(CreateMemoryInfo, const char *, int, int, int, void **)(known, allocator, device, kind, made);
}

static Status *create_options(void **made) {
    *made = malloc(1);
    return NULL;
}

static Status *update_options(void *options, const char *const *keys, const char *const *values, size_t count) {
    (void)options, (void)keys, (void)values, (void)count;
    return NULL;
}

static void release_options(void *options) { free(options); }

static Status *append(void *session_options, const void *options) {
    (void)session_options, (void)options;
#ifdef NO_BOARD
    return ((Status * (*)(int, const char *)) real[AT_CreateStatus])(1, "CUDA failure 100: no CUDA-capable device is detected");
#else
    return NULL;
#endif
}

/* The nodes of all parts of the real graph, in two parts: those that the provider took, and the others. */
static Status *assignment(const void *session, const void *const **parts, size_t *count) {
    static struct part both[2] = {{PROVIDER, NULL, 0}, {"CPUExecutionProvider", NULL, 0}};
    static const void *const listed[2] = {&both[0], &both[1]};
    const void *const *theirs;
    size_t of_theirs;
    Status *failed = REAL_OF(Session_GetEpGraphAssignmentInfo, const void *, const void *const **, size_t *)(session, &theirs, &of_theirs);
    both[0].count = both[1].count = 0;
    for (size_t i = 0; !failed && i < of_theirs; i++) {
        const void *const *nodes;
        size_t of_nodes;
        failed = REAL_OF(EpAssignedSubgraph_GetNodes, const void *, const void *const **, size_t *)(theirs[i], &nodes, &of_nodes);
        for (size_t j = 0; !failed && j < of_nodes; j++) {
            const char *operator;
            failed = REAL_OF(EpAssignedNode_GetOperatorType, const void *, const char **)(nodes[j], &operator);
            if (failed) break;
            struct part *part = &both[strcmp(operator, ELSEWHERE) == 0];
            part->nodes = realloc(part->nodes, (part->count + 1) * sizeof *part->nodes);
            part->nodes[part->count++] = nodes[j];
        }
    }
    *parts = listed;
    *count = both[1].count ? 2 : 1;
    return failed;
}

static Status *provider_of_part(const struct part *part, const char **name) {
    *name = part->provider;
    return NULL;
}

static Status *nodes_of_part(const struct part *part, const void *const **nodes, size_t *count) {
    *nodes = part->nodes;
    *count = part->count;
    return NULL;
}

static const Function *table(unsigned version) {
    real = real_base->table(version);
    if (!real) return NULL;
    memcpy(ours, real, sizeof ours);
#define REPLACE(name, by) ours[AT_##name] = (Function)(by)
    REPLACE(GetAvailableProviders, available);
    REPLACE(ReleaseAvailableProviders, release_available);
    REPLACE(CreateMemoryInfo, memory_info);
    REPLACE(CreateTensorRTProviderOptions, create_options);
    REPLACE(UpdateTensorRTProviderOptions, update_options);
    REPLACE(ReleaseTensorRTProviderOptions, release_options);
    REPLACE(SessionOptionsAppendExecutionProvider_TensorRT_V2, append);
    REPLACE(Session_GetEpGraphAssignmentInfo, assignment);
    REPLACE(EpAssignedSubgraph_GetEpName, provider_of_part);
    REPLACE(EpAssignedSubgraph_GetNodes, nodes_of_part);
    return ours;
}

const struct base *OrtGetApiBase(void) {
    static struct base base;
    void *library = dlopen(REAL, RTLD_NOW | RTLD_LOCAL);
    if (!library) return NULL;
    real_base = ((const struct base *(*)(void))dlsym(library, "OrtGetApiBase"))();
    base.table = table;
    base.version = real_base->version;
    return &base;
}
