// The entry points of CUDA's driver and of cuBLAS that dfdx calls, on the processor: for tests of the feature `cuda` on
// machines without a card. Kernels are translated from PTX to C++ by translate.py and run; with EMULATOR_ONLY=count
// they are only counted, and memory is not touched, so that the largest model costs nothing. Fresh memory is full of
// NaN, and copies are held to the bounds of their allocation. EMULATOR_COUNTS names a file for what was counted,
// EMULATOR_TOTAL_GB is the card's memory.
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>
#include <string>
#include <vector>
typedef uint64_t u64;
typedef unsigned u32;
struct Dim {
    u32 x, y, z;
};
struct Module {
    std::string text;
    void* so = nullptr;
};
struct Function {
    std::string name;
    void (*run)(void**, Dim, Dim, unsigned) = nullptr;
};
static std::recursive_mutex LOCK;
static std::map<u64, size_t> SIZES;
static bool COUNT = getenv("EMULATOR_ONLY") && !strcmp(getenv("EMULATOR_ONLY"), "count");
static size_t BYTES = 0, PEAK = 0,
              TOTAL = (getenv("EMULATOR_TOTAL_GB") ? strtoull(getenv("EMULATOR_TOTAL_GB"), 0, 10) : 80ull) * 1000000000;
static u64 launches = 0, gemms = 0, htod = 0, htod_bytes = 0, dtoh = 0, dtoh_bytes = 0, dtod = 0, memsets = 0,
           allocs = 0;
static std::map<std::string, u64> BY;
struct End {
    ~End() {
        const char* p = getenv("EMULATOR_COUNTS");
        if (!p) return;
        FILE* f = fopen(p, "w");
        if (!f) return;
        fprintf(f,
                "{\"launches\":%lu,\"gemms\":%lu,\"htod\":%lu,\"htod_bytes\":%lu,\"dtoh\":%lu,\"dtoh_bytes\":%lu,"
                "\"dtod\":%lu,\"memsets\":%lu,\"allocs\":%lu,\"peak_mb\":%.1f,\"by\":{",
                launches, gemms, htod, htod_bytes, dtoh, dtoh_bytes, dtod, memsets, allocs, PEAK / 1e6);
        bool first = true;
        for (auto& b : BY) {
            fprintf(f, "%s\"%s\":%lu", first ? "" : ",", b.first.c_str(), b.second);
            first = false;
        }
        fprintf(f, "}}\n");
        fclose(f);
    }
};
static End END;
#define API extern "C"
#define LOCKED std::lock_guard<std::recursive_mutex> locked(LOCK)
static void check(const char* what, u64 p, size_t n) {
    if (n == 0) return;
    auto next = SIZES.upper_bound(p);
    if (next != SIZES.begin()) {
        auto own = std::prev(next);
        if (p + n <= own->first + own->second) return;
    }
    fprintf(stderr, "emulator: %s of %zu bytes, past the end of what is allocated\n", what, n);
    abort();
}
API int cuInit(u32) { return 0; }
API int cuDeviceGet(int* d, int) {
    *d = 0;
    return 0;
}
API int cuDeviceGetCount(int* n) {
    *n = 1;
    return 0;
}
API int cuDeviceTotalMem_v2(size_t* b, int) {
    *b = TOTAL;
    return 0;
}
API int cuDeviceGetAttribute(int* v, int, int) {
    *v = 1;
    return 0;
}
API int cuDevicePrimaryCtxRetain(void** c, int) {
    *c = (void*)8;
    return 0;
}
API int cuDevicePrimaryCtxRelease_v2(int) { return 0; }
API int cuCtxSetCurrent(void*) { return 0; }
API int cuCtxGetCurrent(void** c) {
    *c = (void*)8;
    return 0;
}
API int cuEventCreate(void** e, u32) {
    *e = (void*)16;
    return 0;
}
API int cuEventDestroy_v2(void*) { return 0; }
API int cuEventRecord(void*, void*) { return 0; }
API int cuEventElapsedTime(float* m, void*, void*) {
    *m = 0;
    return 0;
}
API int cuStreamCreate(void** s, u32) {
    *s = (void*)24;
    return 0;
}
API int cuStreamDestroy_v2(void*) { return 0; }
API int cuStreamSynchronize(void*) { return 0; }
API int cuStreamWaitEvent(void*, void*, u32) { return 0; }
API int cuGetErrorName(int, const char** s) {
    *s = "EMULATOR_ERROR";
    return 0;
}
API int cuGetErrorString(int, const char** s) {
    *s = "an error of the emulated driver";
    return 0;
}
API int cuMemGetInfo_v2(size_t* f, size_t* t) {
    *f = TOTAL - BYTES;
    *t = TOTAL;
    return 0;
}
API int cuMemAlloc_v2(u64* p, size_t n) {
    LOCKED;
    allocs++;
    if (BYTES + n > TOTAL) return 2;
    if (COUNT) {
        void* m = n < 4096 ? calloc(1, n + 16)
                           : mmap(0, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        *p = (u64)m;
    } else {
        void* m = malloc(n + 16);
        memset(m, 0xff, n + 16);
        *p = (u64)m;
    }
    SIZES[*p] = n;
    BYTES += n;
    PEAK = std::max(PEAK, BYTES);
    return 0;
}
API int cuMemFree_v2(u64 p) {
    LOCKED;
    if (!p) return 0;
    auto i = SIZES.find(p);
    if (i == SIZES.end()) {
        fprintf(stderr, "emulator: free of what is not allocated\n");
        abort();
    }
    size_t n = i->second;
    BYTES -= n;
    SIZES.erase(i);
    if (COUNT && n >= 4096)
        munmap((void*)p, n);
    else
        free((void*)p);
    return 0;
}
API int cuMemAllocAsync(u64* p, size_t n, void*) { return cuMemAlloc_v2(p, n); }
API int cuMemFreeAsync(u64 p, void*) { return cuMemFree_v2(p); }
API int cuMemsetD8_v2(u64 p, unsigned char c, size_t n) {
    LOCKED;
    memsets++;
    check("memset", p, n);
    if (!COUNT) memset((void*)p, c, n);
    return 0;
}
API int cuMemsetD8Async(u64 p, unsigned char c, size_t n, void*) { return cuMemsetD8_v2(p, c, n); }
API int cuMemcpyHtoD_v2(u64 d, const void* s, size_t n) {
    LOCKED;
    htod++;
    htod_bytes += n;
    check("htod", d, n);
    if (!COUNT || n <= 1 << 20) memcpy((void*)d, s, n);
    return 0;
}
API int cuMemcpyHtoDAsync_v2(u64 d, const void* s, size_t n, void*) { return cuMemcpyHtoD_v2(d, s, n); }
API int cuMemcpyDtoH_v2(void* d, u64 s, size_t n) {
    LOCKED;
    dtoh++;
    dtoh_bytes += n;
    check("dtoh", s, n);
    memcpy(d, (void*)s, n);
    return 0;
}
API int cuMemcpyDtoHAsync_v2(void* d, u64 s, size_t n, void*) { return cuMemcpyDtoH_v2(d, s, n); }
API int cuMemcpyDtoD_v2(u64 d, u64 s, size_t n) {
    LOCKED;
    dtod++;
    check("dtod from", s, n);
    check("dtod to", d, n);
    if (!COUNT) memmove((void*)d, (void*)s, n);
    return 0;
}
API int cuMemcpyDtoDAsync_v2(u64 d, u64 s, size_t n, void*) { return cuMemcpyDtoD_v2(d, s, n); }
API int cuModuleLoad(void**, const char*) { return 1; }
API int cuModuleUnload(void*) { return 0; }
API int cuModuleLoadData(void** m, const void* image) {
    LOCKED;
    auto* module = new Module{(const char*)image};
    *m = module;
    if (COUNT) return 0;
    auto setting = [](const char* name, const char* otherwise) {
        const char* value = getenv(name);
        return std::string(value ? value : otherwise);
    };
    std::string dir = setting("EMULATOR", "."), cache = setting("EMULATOR_CACHE", "."),
                flags = setting("EMULATOR_FLAGS", "-O1");
    u64 hash =
        std::hash<std::string>()(module->text) ^ std::hash<std::string>()(flags + setting("EMULATOR_VERSION", ""));
    std::string b = cache + "/" + std::to_string(hash), so = b + ".so";
    if (access(so.c_str(), R_OK)) {
        std::string mine = b + "." + std::to_string(getpid());
        FILE* f = fopen((mine + ".ptx").c_str(), "w");
        if (!f) {
            perror(b.c_str());
            abort();
        }
        fwrite(module->text.data(), 1, module->text.size(), f);
        fclose(f);
        std::string cmd = "python3 " + dir + "/translate.py " + mine + ".ptx " + mine + ".cpp && g++ -std=c++17 " +
                          flags + " -w -fPIC -shared -I" + dir + " -o " + mine + ".so " + mine + ".cpp && mv " + mine +
                          ".so " + so;
        unsetenv("LD_PRELOAD");
        if (system(cmd.c_str())) {
            fprintf(stderr, "emulator: cannot translate %s.ptx\n", mine.c_str());
            return 218;
        }
    }
    module->so = dlopen(so.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!module->so) {
        fprintf(stderr, "emulator: %s\n", dlerror());
        return 218;
    }
    return 0;
}
API int cuModuleGetFunction(void** f, void* m, const char* name) {
    LOCKED;
    auto* module = (Module*)m;
    auto* fn = new Function{name};
    *f = fn;
    if (module->text.find(std::string(".entry ") + name + "(") == std::string::npos &&
        module->text.find(std::string(".entry ") + name + " ") == std::string::npos) {
        fprintf(stderr, "emulator: no kernel %s\n", name);
        return 500;
    }
    if (!COUNT) {
        fn->run = (void (*)(void**, Dim, Dim, unsigned))dlsym(module->so, name);
        if (!fn->run) return 500;
    }
    return 0;
}
API int cuLaunchKernel(void* f, u32 gx, u32 gy, u32 gz, u32 bx, u32 by, u32 bz, u32 shared, void*, void** args,
                       void**) {
    LOCKED;
    auto* fn = (Function*)f;
    launches++;
    BY[fn->name]++;
    if (!gx || !gy || !gz || !bx || !by || !bz || bx * by * bz > 1024 || gy > 65535 || gz > 65535 || shared > 49152) {
        fprintf(stderr, "emulator: bad launch of %s: grid %u %u %u block %u %u %u shared %u\n", fn->name.c_str(), gx,
                gy, gz, bx, by, bz, shared);
        return 1;
    }
    if (getenv("EMULATOR_TRACE")) fprintf(stderr, "emulator: %s grid %u block %u\n", fn->name.c_str(), gx, bx);
    if (!COUNT) fn->run(args, Dim{gx, gy, gz}, Dim{bx, by, bz}, shared);
    return 0;
}
// cuBLAS, column-major.
API int cublasCreate_v2(void** h) {
    *h = (void*)32;
    return 0;
}
API int cublasDestroy_v2(void*) { return 0; }
API int cublasSetStream_v2(void*, void*) { return 0; }
template <class T>
static int gemm(int ta, int tb, int m, int n, int k, const T* al, const T* a, int lda, const T* b, int ldb, const T* be,
                T* c, int ldc) {
    if (m < 0 || n < 0 || k < 0 || lda < std::max(1, ta ? k : m) || ldb < std::max(1, tb ? n : k) ||
        ldc < std::max(1, m)) {
        fprintf(stderr, "emulator: bad gemm %d %d %d ld %d %d %d\n", m, n, k, lda, ldb, ldc);
        return 7;
    }
    if (m && n && k) {
        check("gemm a", (u64)a, sizeof(T) * ((size_t)((ta ? m : k) - 1) * lda + (ta ? k : m)));
        check("gemm b", (u64)b, sizeof(T) * ((size_t)((tb ? k : n) - 1) * ldb + (tb ? n : k)));
        check("gemm c", (u64)c, sizeof(T) * ((size_t)(n - 1) * ldc + m));
    }
    if (COUNT) return 0;
    std::vector<double> sums(m);
    for (int j = 0; j < n; j++) {
        auto of_b = [&](int q) { return (double)(tb ? b[j + (size_t)q * ldb] : b[q + (size_t)j * ldb]); };
        if (ta)
            for (int i = 0; i < m; i++) {
                const T* row = a + (size_t)i * lda;
                double s = 0;
                for (int q = 0; q < k; q++) s += (double)row[q] * of_b(q);
                sums[i] = s;
            }
        else {
            std::fill(sums.begin(), sums.end(), 0.0);
            for (int q = 0; q < k; q++) {
                const T* column = a + (size_t)q * lda;
                double x = of_b(q);
                for (int i = 0; i < m; i++) sums[i] += (double)column[i] * x;
            }
        }
        T* o = c + (size_t)j * ldc;
        for (int i = 0; i < m; i++) o[i] = (T)((double)*al * sums[i] + (*be == 0 ? 0 : (double)*be * (double)o[i]));
    }
    return 0;
}
template <class T>
static int strided(int ta, int tb, int m, int n, int k, const T* al, const T* a, int lda, long long sa, const T* b,
                   int ldb, long long sb, const T* be, T* c, int ldc, long long sc, int batch) {
    for (int i = 0; i < batch; i++)
        if (int r = gemm<T>(ta, tb, m, n, k, al, a + i * sa, lda, b + i * sb, ldb, be, c + i * sc, ldc)) return r;
    return 0;
}
API int cublasSgemm_v2(void*, int ta, int tb, int m, int n, int k, const float* al, const float* a, int lda,
                       const float* b, int ldb, const float* be, float* c, int ldc) {
    LOCKED;
    gemms++;
    return gemm(ta, tb, m, n, k, al, a, lda, b, ldb, be, c, ldc);
}
API int cublasDgemm_v2(void*, int ta, int tb, int m, int n, int k, const double* al, const double* a, int lda,
                       const double* b, int ldb, const double* be, double* c, int ldc) {
    LOCKED;
    gemms++;
    return gemm(ta, tb, m, n, k, al, a, lda, b, ldb, be, c, ldc);
}
API int cublasSgemmStridedBatched(void*, int ta, int tb, int m, int n, int k, const float* al, const float* a, int lda,
                                  long long sa, const float* b, int ldb, long long sb, const float* be, float* c,
                                  int ldc, long long sc, int batch) {
    LOCKED;
    gemms++;
    return strided(ta, tb, m, n, k, al, a, lda, sa, b, ldb, sb, be, c, ldc, sc, batch);
}
API int cublasDgemmStridedBatched(void*, int ta, int tb, int m, int n, int k, const double* al, const double* a,
                                  int lda, long long sa, const double* b, int ldb, long long sb, const double* be,
                                  double* c, int ldc, long long sc, int batch) {
    LOCKED;
    gemms++;
    return strided(ta, tb, m, n, k, al, a, lda, sa, b, ldb, sb, be, c, ldc, sc, batch);
}
// NVRTC asks, and does without.
API int cuGetExportTable(const void** t, const void*) {
    *t = nullptr;
    return 500;
}
