// A CUDA driver without a GPU: the part of libcuda that candle and Wick call, over kernels compiled for the
// CPU with device.h. One thread runs every call at once, launch after launch. The emulation shows whether
// launches, arguments, sizes, barriers and results are right. It cannot show races between blocks, misaligned
// reads, or times.
//
// Blocks and threads run from the first to the last in one launch and from the last to the first in the next,
// so that results that depend on the order are found.
//
// EMULATED_MEMORY is the bytes of a device (2^32), EMULATED_DEVICES the number of devices (1), and
// EMULATED_BLOCKS the blocks that each of the four multiprocessors runs at once (4).
#include <cuda.h>
#include <dlfcn.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <vector_types.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

extern "C" {
uint3 emulated_thread, emulated_block;
dim3 emulated_block_size, emulated_grid_size;
uint64_t emulated_slots[1024];
}

namespace {

std::recursive_mutex one_at_a_time;

[[noreturn]] void fail(const char *what, const char *name) {
    fprintf(stderr, "emulated CUDA: %s: %s\n", what, name);
    abort();
}

// ---- Threads -------------------------------------------------------------------------------------------------------

// A kernel with the addresses of its arguments.
struct Kernel {
    const char *name;
    void (*call)(void **);
    size_t (*sizes)(int);
};

struct Group {
    unsigned live = 0, arrived = 0, generation = 0;

    void release_if_complete() {
        if (live > 0 && arrived >= live) arrived = 0, generation++;
    }
};

const size_t STACK = 1 << 17;
const unsigned MOST = 1024;

struct Fiber {
    jmp_buf at;
    bool started = false, done = true;
    uint3 thread;
};

Fiber fibers[MOST];
char *stacks;
jmp_buf scheduler;
unsigned current;
Group block;
Group warps[MOST / 32];
uint64_t progress;
const Kernel *kernel;
void **arguments;

void yield() {
    if (!_setjmp(fibers[current].at)) _longjmp(scheduler, 1);
}

void wait_in(Group &group) {
    unsigned generation = group.generation;
    group.arrived++;
    progress++;
    group.release_if_complete();
    while (group.generation == generation) yield();
}

// The function of a fiber: it runs one thread of each block after the other.
void live() {
    for (;;) {
        kernel->call(arguments);
        Fiber &self = fibers[current];
        self.done = true;
        progress++;
        block.live--;
        block.release_if_complete();
        Group &warp = warps[current / 32];
        warp.live--;
        warp.release_if_complete();
        yield();
    }
}

void start(unsigned index) {
    static ucontext_t first, back;
    Fiber &fiber = fibers[index];
    if (!fiber.started) {
        if (!stacks) {
            void *memory = mmap(nullptr, STACK * MOST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (memory == MAP_FAILED) fail("no memory for stacks", kernel->name);
            stacks = (char *)memory;
        }
        fiber.started = true;
        getcontext(&first);
        first.uc_stack.ss_sp = stacks + STACK * index;
        first.uc_stack.ss_size = STACK;
        first.uc_link = &back;
        makecontext(&first, live, 0);
        if (!_setjmp(scheduler)) setcontext(&first);
    } else {
        if (!_setjmp(scheduler)) _longjmp(fiber.at, 1);
    }
}

// Whether the last block and thread run first.
bool backwards;

void run_block(unsigned threads) {
    block = Group{threads};
    for (unsigned warp = 0; warp * 32 < threads; warp++) warps[warp] = Group{std::min(32u, threads - warp * 32)};
    for (unsigned i = 0; i < threads; i++) {
        dim3 size = emulated_block_size;
        fibers[i].thread = uint3{i % size.x, i / size.x % size.y, i / (size.x * size.y)};
        fibers[i].done = false;
    }
    while (block.live > 0) {
        uint64_t before = progress;
        for (unsigned i = 0; i < threads; i++) {
            current = backwards ? threads - 1 - i : i;
            if (fibers[current].done) continue;
            emulated_thread = fibers[current].thread;
            start(current);
        }
        if (progress == before) fail("a barrier that not all threads reach", kernel->name);
    }
}

void run(const Kernel *which, dim3 grid, dim3 size, void **with) {
    unsigned threads = size.x * size.y * size.z;
    if (threads == 0 || threads > MOST) fail("threads in a block", which->name);
    kernel = which, arguments = with;
    emulated_block_size = size, emulated_grid_size = grid;
    uint64_t blocks = (uint64_t)grid.x * grid.y * grid.z;
    for (uint64_t i = 0; i < blocks; i++) {
        uint64_t at = backwards ? blocks - 1 - i : i;
        emulated_block = uint3{unsigned(at % grid.x), unsigned(at / grid.x % grid.y), unsigned(at / grid.x / grid.y)};
        run_block(threads);
    }
    backwards = !backwards;
}

// ---- Memory --------------------------------------------------------------------------------------------------------

size_t setting(const char *name, size_t otherwise) {
    const char *text = getenv(name);
    return text ? strtoull(text, nullptr, 10) : otherwise;
}

size_t total() { return setting("EMULATED_MEMORY", size_t(1) << 32); }

std::map<CUdeviceptr, size_t> allocated;
size_t used;
// The freed memory that the pool keeps, until it is trimmed or, beyond a threshold, until the device is
// synchronized.
size_t reserved, threshold;
// Guard bytes after each allocation, which no kernel may write.
const size_t GUARD = 256;
const unsigned char MARK = 0xA5;

CUresult allocate(CUdeviceptr *out, size_t bytes) {
    if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
    if (used + bytes > total()) return CUDA_ERROR_OUT_OF_MEMORY;
    void *memory = aligned_alloc(256, (bytes + 255) / 256 * 256 + GUARD);
    if (!memory) return CUDA_ERROR_OUT_OF_MEMORY;
    // New memory is not zero.
    memset(memory, MARK, (bytes + 255) / 256 * 256 + GUARD);
    used += bytes;
    reserved = std::max(reserved, used);
    *out = (CUdeviceptr)memory;
    allocated[*out] = bytes;
    return CUDA_SUCCESS;
}

CUresult release(CUdeviceptr place) {
    auto found = allocated.find(place);
    if (found == allocated.end()) return CUDA_ERROR_INVALID_VALUE;
    const unsigned char *end = (const unsigned char *)place + found->second;
    for (size_t i = 0; i < GUARD; i++) {
        if (end[i] != MARK) fail("a write behind the end of memory", kernel ? kernel->name : "a copy");
    }
    used -= found->second;
    allocated.erase(found);
    free((void *)place);
    return CUDA_SUCCESS;
}

// ---- Graphs --------------------------------------------------------------------------------------------------------

// A graph, and whether it frees all the memory that it allocates: if not, it can be launched once.
struct Recorded {
    std::vector<std::function<void()>> steps;
    bool balanced = true, launched = false;
};

bool capturing;
Recorded recorded;
// An allocation of a capture, and whether the capture has freed it. The memory stays until the process ends,
// because the graph uses it.
std::map<CUdeviceptr, bool> taken;

CUresult then(std::function<void()> what) {
    if (capturing) {
        recorded.steps.push_back(what);
    } else {
        what();
    }
    return CUDA_SUCCESS;
}

// A call that a capture does not allow ends the capture.
CUresult not_while_capturing() { return capturing ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : CUDA_SUCCESS; }

} // namespace

extern "C" {

void emulated_block_barrier() { wait_in(block); }
void emulated_warp_barrier() { wait_in(warps[current / 32]); }

#define LOCKED std::lock_guard<std::recursive_mutex> guard(one_at_a_time)

CUresult cuInit(unsigned) { return setting("EMULATED_DEVICES", 1) ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE; }
CUresult cuDriverGetVersion(int *version) { return *version = 13000, CUDA_SUCCESS; }
CUresult cuDeviceGetCount(int *count) { return *count = (int)setting("EMULATED_DEVICES", 1), CUDA_SUCCESS; }
CUresult cuDeviceGet(CUdevice *device, int number) {
    if (number < 0 || number >= (int)setting("EMULATED_DEVICES", 1)) return CUDA_ERROR_INVALID_DEVICE;
    return *device = number, CUDA_SUCCESS;
}
CUresult cuDeviceGetName(char *name, int length, CUdevice device) {
    return snprintf(name, length, "Emulated device %d", device), CUDA_SUCCESS;
}
CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice) { return *bytes = total(), CUDA_SUCCESS; }
CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice) {
    switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = 8; break;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *value = 4; break;
    case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED: *value = 1; break;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE: *value = 32; break;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = MOST; break;
    default: *value = 0; break;
    }
    return CUDA_SUCCESS;
}
CUresult cuDeviceGetDefaultMemPool(CUmemoryPool *pool, CUdevice) { return *pool = (CUmemoryPool)1, CUDA_SUCCESS; }
CUresult cuDeviceGetMemPool(CUmemoryPool *pool, CUdevice) { return *pool = (CUmemoryPool)1, CUDA_SUCCESS; }
CUresult cuMemPoolSetAttribute(CUmemoryPool, CUmemPool_attribute attribute, void *value) {
    if (attribute == CU_MEMPOOL_ATTR_RELEASE_THRESHOLD) threshold = *(uint64_t *)value;
    return CUDA_SUCCESS;
}
CUresult cuMemPoolGetAttribute(CUmemoryPool, CUmemPool_attribute attribute, void *value) {
    switch (attribute) {
    case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT: *(uint64_t *)value = reserved; return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_USED_MEM_CURRENT: *(uint64_t *)value = used; return CUDA_SUCCESS;
    default: return CUDA_ERROR_INVALID_VALUE;
    }
}
CUresult cuMemPoolTrimTo(CUmemoryPool, size_t keep) {
    return reserved = std::max(used, std::min(reserved, keep)), CUDA_SUCCESS;
}
CUresult cuDeviceGraphMemTrim(CUdevice) { return CUDA_SUCCESS; }
CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
    return *context = (CUcontext)(intptr_t)(device + 1), CUDA_SUCCESS;
}
CUresult cuDevicePrimaryCtxRelease_v2(CUdevice) { return CUDA_SUCCESS; }
static thread_local CUcontext now;
CUresult cuCtxGetCurrent(CUcontext *context) { return *context = now, CUDA_SUCCESS; }
CUresult cuCtxSetCurrent(CUcontext context) { return now = context, CUDA_SUCCESS; }
CUresult cuCtxSynchronize() { return not_while_capturing(); }
CUresult cuGetErrorName(CUresult result, const char **name) {
    switch (result) {
    case CUDA_ERROR_OUT_OF_MEMORY: *name = "CUDA_ERROR_OUT_OF_MEMORY"; break;
    case CUDA_ERROR_NO_DEVICE: *name = "CUDA_ERROR_NO_DEVICE"; break;
    case CUDA_ERROR_INVALID_DEVICE: *name = "CUDA_ERROR_INVALID_DEVICE"; break;
    case CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED: *name = "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"; break;
    default: *name = "an error of the emulated driver"; break;
    }
    return CUDA_SUCCESS;
}
CUresult cuGetErrorString(CUresult result, const char **text) { return cuGetErrorName(result, text); }

CUresult cuStreamCreate(CUstream *stream, unsigned) { return *stream = (CUstream)8, CUDA_SUCCESS; }
CUresult cuStreamCreateWithPriority(CUstream *stream, unsigned, int) { return *stream = (CUstream)8, CUDA_SUCCESS; }
CUresult cuStreamDestroy_v2(CUstream) { return CUDA_SUCCESS; }
CUresult cuStreamSynchronize(CUstream) {
    if (!capturing) reserved = std::max(used, std::min(reserved, threshold));
    return not_while_capturing();
}
CUresult cuStreamWaitEvent(CUstream, CUevent, unsigned) { return CUDA_SUCCESS; }
CUresult cuEventCreate(CUevent *event, unsigned) { return *event = (CUevent)8, CUDA_SUCCESS; }
CUresult cuEventDestroy_v2(CUevent) { return CUDA_SUCCESS; }
CUresult cuEventRecord(CUevent, CUstream) { return CUDA_SUCCESS; }
CUresult cuEventSynchronize(CUevent) { return CUDA_SUCCESS; }
CUresult cuEventQuery(CUevent) { return CUDA_SUCCESS; }

CUresult cuMemAlloc_v2(CUdeviceptr *out, size_t bytes) {
    LOCKED;
    return allocate(out, bytes);
}
CUresult cuMemAllocAsync(CUdeviceptr *out, size_t bytes, CUstream) {
    LOCKED;
    CUresult result = allocate(out, bytes);
    if (capturing && result == CUDA_SUCCESS) taken[*out] = false;
    return result;
}
CUresult cuMemFree_v2(CUdeviceptr place) {
    LOCKED;
    return release(place);
}
// A graph can free only memory that it has allocated.
CUresult cuMemFreeAsync(CUdeviceptr place, CUstream) {
    LOCKED;
    auto found = taken.find(place);
    if (!capturing) return found == taken.end() ? release(place) : CUDA_SUCCESS;
    if (found == taken.end() || found->second) {
        fprintf(stderr, "emulated CUDA: a capture gives back memory that it has not taken\n");
        return CUDA_ERROR_INVALID_VALUE;
    }
    return found->second = true, CUDA_SUCCESS;
}
CUresult cuMemGetInfo_v2(size_t *free, size_t *all) {
    LOCKED;
    return *all = total(), *free = *all - reserved, CUDA_SUCCESS;
}
CUresult cuMemHostAlloc(void **out, size_t bytes, unsigned) {
    return (*out = malloc(bytes)) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}
CUresult cuMemFreeHost(void *place) { return free(place), CUDA_SUCCESS; }

CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes) {
    LOCKED;
    if (capturing) return not_while_capturing();
    return memcpy((void *)to, from, bytes), CUDA_SUCCESS;
}
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream) {
    return cuMemcpyHtoD_v2(to, from, bytes);
}
CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes) {
    LOCKED;
    if (capturing) return not_while_capturing();
    return memcpy(to, (const void *)from, bytes), CUDA_SUCCESS;
}
CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream) {
    return cuMemcpyDtoH_v2(to, from, bytes);
}
CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    LOCKED;
    return then([=] { memmove((void *)to, (const void *)from, bytes); });
}
CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream) {
    return cuMemcpyDtoD_v2(to, from, bytes);
}
CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t bytes) {
    LOCKED;
    return then([=] { memset((void *)to, value, bytes); });
}
CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes, CUstream) {
    return cuMemsetD8_v2(to, value, bytes);
}

CUresult cuModuleLoadData(CUmodule *module, const void *) { return *module = (CUmodule)8, not_while_capturing(); }
CUresult cuModuleUnload(CUmodule) { return CUDA_SUCCESS; }
CUresult cuModuleGetFunction(CUfunction *function, CUmodule, const char *name) {
    LOCKED;
    static std::map<std::string, Kernel> known;
    auto found = known.find(name);
    if (found == known.end()) {
        auto call = (void (*)(void **))dlsym(RTLD_DEFAULT, (std::string("emulated_call_") + name).c_str());
        auto sizes = (size_t(*)(int))dlsym(RTLD_DEFAULT, (std::string("emulated_sizes_") + name).c_str());
        if (!call || !sizes) {
            fprintf(stderr, "emulated CUDA: no kernel %s\n", name);
            return CUDA_ERROR_NOT_FOUND;
        }
        found = known.emplace(name, Kernel{strdup(name), call, sizes}).first;
    }
    return *function = (CUfunction)&found->second, CUDA_SUCCESS;
}
CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, CUfunction, int, size_t, unsigned) {
    return *blocks = (int)setting("EMULATED_BLOCKS", 4), CUDA_SUCCESS;
}
CUresult cuLaunchKernel(CUfunction function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                        unsigned bz, unsigned, CUstream, void **with, void **) {
    LOCKED;
    const Kernel *which = (const Kernel *)function;
    if (gx == 0 || gy == 0 || gz == 0 || gy > 65535 || gz > 65535) return CUDA_ERROR_INVALID_VALUE;
    if (!capturing) return run(which, dim3(gx, gy, gz), dim3(bx, by, bz), with), CUDA_SUCCESS;
    // The arguments are copied, but not the memory that they point to.
    std::vector<std::string> copies;
    size_t all = 0;
    for (int i = 0; size_t size = which->sizes(i); i++) copies.emplace_back((const char *)with[i], size), all += size;
    if (all > 4096) return CUDA_ERROR_INVALID_VALUE;
    return then([=] {
        std::vector<std::string> mine = copies;
        std::vector<void *> places;
        for (std::string &copy : mine) places.push_back(&copy[0]);
        run(which, dim3(gx, gy, gz), dim3(bx, by, bz), places.data());
    });
}

CUresult cuStreamIsCapturing(CUstream, CUstreamCaptureStatus *status) {
    *status = capturing ? CU_STREAM_CAPTURE_STATUS_ACTIVE : CU_STREAM_CAPTURE_STATUS_NONE;
    return CUDA_SUCCESS;
}
CUresult cuStreamBeginCapture_v2(CUstream, CUstreamCaptureMode) {
    LOCKED;
    return capturing = true, recorded = Recorded(), CUDA_SUCCESS;
}
CUresult cuStreamEndCapture(CUstream, CUgraph *graph) {
    LOCKED;
    capturing = false;
    for (auto &memory : taken) recorded.balanced &= memory.second;
    return *graph = (CUgraph) new Recorded(std::move(recorded)), CUDA_SUCCESS;
}
CUresult cuGraphInstantiateWithFlags(CUgraphExec *out, CUgraph graph, unsigned long long) {
    return *out = (CUgraphExec)graph, CUDA_SUCCESS;
}
CUresult cuGraphUpload(CUgraphExec, CUstream) { return CUDA_SUCCESS; }
CUresult cuGraphLaunch(CUgraphExec graph, CUstream) {
    LOCKED;
    Recorded &mine = *(Recorded *)graph;
    if (mine.launched && !mine.balanced) return CUDA_ERROR_INVALID_VALUE;
    mine.launched = true;
    for (auto &step : mine.steps) step();
    return CUDA_SUCCESS;
}
CUresult cuGraphDestroy(CUgraph) { return CUDA_SUCCESS; }
CUresult cuGraphExecDestroy(CUgraphExec graph) { return delete (Recorded *)graph, CUDA_SUCCESS; }

// For blas.cpp.
int emulated_then(void (*what)(void *), const void *with, size_t bytes) {
    LOCKED;
    std::string copy((const char *)with, bytes);
    return then([=] {
        std::string mine = copy;
        what(&mine[0]);
    });
}
}
