#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
typedef float f32;
typedef double f64;
typedef _Float16 f16;
struct Dim {
    u32 x, y, z;
};
template <class T>
static inline T get(u64 r) {
    T t;
    memcpy(&t, &r, sizeof t);
    return t;
}
// As on the device, a signed number fills its register.
template <class T>
static inline u64 put(T t) {
    if constexpr (std::is_integral_v<T> && std::is_signed_v<T>) return (u64)(s64)t;
    u64 r = 0;
    memcpy(&r, &t, sizeof t);
    return r;
}
template <class T>
static inline u64 load(const char* p) {
    T t;
    memcpy(&t, p, sizeof t);
    return put<T>(t);
}
template <class T>
static inline void store(char* p, T t) {
    memcpy(p, &t, sizeof t);
}
static inline f32 fma_(f32 a, f32 b, f32 c) { return fmaf(a, b, c); }
static inline f64 fma_(f64 a, f64 b, f64 c) { return fma(a, b, c); }
static inline f16 fma_(f16 a, f16 b, f16 c) { return (f16)((f64)a * (f64)b + (f64)c); }
static inline f32 fma_down(f32 a, f32 b, f32 c) {
    f64 d = fma((f64)a, (f64)b, (f64)c);
    f32 f = (f32)d;
    return (f64)f > d ? nextafterf(f, -INFINITY) : f;
}
template <class T>
static inline T min_(T a, T b) {
    if constexpr (!std::is_integral_v<T>) {
        if (a != a) return b;
        if (b != b) return a;
    }
    return a < b ? a : b;
}
template <class T>
static inline T max_(T a, T b) {
    if constexpr (!std::is_integral_v<T>) {
        if (a != a) return b;
        if (b != b) return a;
    }
    return a > b ? a : b;
}
template <class T>
static inline T min_nan(T a, T b) {
    return a != a ? a : b != b ? b : a < b ? a : b;
}
template <class T>
static inline T max_nan(T a, T b) {
    return a != a ? a : b != b ? b : a > b ? a : b;
}
template <class T>
static inline T abs_(T a) {
    if constexpr (std::is_integral_v<T>)
        return a < 0 ? -a : a;
    else
        return (T)__builtin_fabs((f64)a);
}
template <class T>
static inline T shl_(T a, u32 n) {
    return n >= 8 * sizeof(T) ? 0 : (T)(a << n);
}
template <class T>
static inline T shr_(T a, u32 n) {
    if (n >= 8 * sizeof(T)) n = std::is_signed_v<T> ? 8 * sizeof(T) - 1 : 64;
    return n == 64 ? 0 : (T)(a >> n);
}
template <class T>
static inline u64 clz_(T a) {
    return a == 0 ? 8 * sizeof(T) : sizeof(T) == 8 ? __builtin_clzll(a) : __builtin_clz((u32)a);
}
template <class T>
static inline T bfi_(T a, T b, u32 pos, u32 len) {
    T m = (len >= 8 * sizeof(T) ? ~(T)0 : (((T)1 << len) - 1));
    if (pos >= 8 * sizeof(T)) return b;
    m <<= pos;
    return (b & ~m) | ((a << pos) & m);
}
template <class T>
static inline T to_int(f64 x) {
    if (x != x) return 0;
    if (x <= (f64)std::numeric_limits<T>::min()) return std::numeric_limits<T>::min();
    if (x >= (f64)std::numeric_limits<T>::max()) return std::numeric_limits<T>::max();
    return (T)x;
}
static inline f32 sat_(f64 x) { return x != x ? 0 : x < 0 ? 0 : x > 1 ? 1 : (f32)x; }
static inline f32 copysign_(f32 a, f32 s) { return copysignf(a, s); }
static inline f64 copysign_(f64 a, f64 s) { return copysign(a, s); }
#define UNARY(n, F, D)                       \
    static inline f32 n(f32 x) { return F; } \
    static inline f64 n(f64 x) { return D; } \
    static inline f16 n(f16 x) { return (f16)n((f32)x); }
UNARY(rcp_, 1.0f / x, 1.0 / x)
UNARY(sqrt_, sqrtf(x), sqrt(x)) UNARY(rsqrt_, 1.0f / sqrtf(x), 1.0 / sqrt(x)) UNARY(ex2_, exp2f(x), exp2(x))
    UNARY(lg2_, log2f(x), log2(x)) UNARY(sin_, sinf(x), sin(x)) UNARY(cos_, cosf(x), cos(x))
        UNARY(tanh_, tanhf(x), tanh(x))
#include <cstdio>
            static inline void fail_(const char* k) {
    fprintf(stderr, "assertion failed on the device, in %s\n", k);
    abort();
}
struct Fibres {
    ucontext_t main;
    std::vector<ucontext_t> all;
    std::vector<char> done;
    size_t now;
};
static thread_local Fibres* FIB = nullptr;
static inline void MEET() {
    Fibres* f = FIB;
    size_t i = f->now;
    swapcontext(&f->all[i], &f->main);
}
typedef void (*Body)(void**, char*, Dim, Dim, Dim, Dim);
struct Job {
    Body body;
    void** args;
    char* sh;
    Dim t, nt, ct, nc;
};
static thread_local std::vector<Job> JOBS;
static void begin() {
    size_t i = FIB->now;
    Job& j = JOBS[i];
    j.body(j.args, j.sh, j.t, j.nt, j.ct, j.nc);
    i = FIB->now;
    FIB->done[i] = 1;
    swapcontext(&FIB->all[i], &FIB->main);
}
static void run(Body body, void** args, Dim grid, Dim block, unsigned shared, int meets) {
    std::vector<char> sh(shared + 16);
    const size_t STACK = 1 << 16;
    static thread_local std::vector<char> stacks;
    size_t n = (size_t)block.x * block.y * block.z;
    for (u32 cz = 0; cz < grid.z; cz++)
        for (u32 cy = 0; cy < grid.y; cy++)
            for (u32 cx = 0; cx < grid.x; cx++) {
                Dim ct = {cx, cy, cz};
                if (!meets) {
                    for (u32 z = 0; z < block.z; z++)
                        for (u32 y = 0; y < block.y; y++)
                            for (u32 x = 0; x < block.x; x++) body(args, sh.data(), Dim{x, y, z}, block, ct, grid);
                    continue;
                }
                if (stacks.size() < n * STACK) stacks.resize(n * STACK);
                Fibres f;
                f.all.resize(n);
                f.done.assign(n, 0);
                JOBS.resize(n);
                FIB = &f;
                for (size_t i = 0; i < n; i++) {
                    Dim t = {(u32)(i % block.x), (u32)(i / block.x % block.y), (u32)(i / block.x / block.y)};
                    JOBS[i] = Job{body, args, sh.data(), t, block, ct, grid};
                    getcontext(&f.all[i]);
                    f.all[i].uc_stack.ss_sp = stacks.data() + i * STACK;
                    f.all[i].uc_stack.ss_size = STACK;
                    f.all[i].uc_link = &f.main;
                    makecontext(&f.all[i], begin, 0);
                }
                for (size_t left = n; left;)
                    for (size_t i = 0; i < n; i++)
                        if (!f.done[i]) {
                            f.now = i;
                            swapcontext(&f.main, &f.all[i]);
                            if (f.done[i]) left--;
                        }
                FIB = nullptr;
            }
}
