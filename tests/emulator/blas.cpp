// The matrix products of cuBLAS that candle calls, for the emulated device.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <library_types.h>

#include <cstdlib>
#include <vector>

extern "C" int emulated_then(void (*what)(void *), const void *with, size_t bytes);

namespace {

enum Status { SUCCESS = 0, NOT_SUPPORTED = 15 };

struct Product {
    bool transposed_a, transposed_b;
    int m, n, k;
    double alpha, beta;
    const void *a, *b;
    void *c;
    long long lda, ldb, ldc, step_a, step_b, step_c;
    int batch;
    cudaDataType type;
};

float widen(float x) { return x; }
double widen(double x) { return x; }
float widen(__half x) { return __half2float(x); }
float widen(__nv_bfloat16 x) { return __bfloat162float(x); }
void store(float &to, float x) { to = x; }
void store(double &to, double x) { to = x; }
void store(__half &to, float x) { to = __float2half_rn(x); }
void store(__nv_bfloat16 &to, float x) { to = __float2bfloat16_rn(x); }

// Matrices are stored column by column, as in FORTRAN.
template <class T, class F> void multiply(const Product &p) {
    std::vector<F> a((size_t)p.m * p.k), column(p.m);
    for (int batch = 0; batch < p.batch; batch++) {
        const T *as = (const T *)p.a + batch * p.step_a, *bs = (const T *)p.b + batch * p.step_b;
        T *cs = (T *)p.c + batch * p.step_c;
        for (int l = 0; l < p.k; l++) {
            for (int i = 0; i < p.m; i++) a[(size_t)l * p.m + i] = widen(p.transposed_a ? as[i * p.lda + l] : as[l * p.lda + i]);
        }
        for (int j = 0; j < p.n; j++) {
            for (F &x : column) x = 0;
            for (int l = 0; l < p.k; l++) {
                F b = widen(p.transposed_b ? bs[l * p.ldb + j] : bs[j * p.ldb + l]);
                const F *from = &a[(size_t)l * p.m];
                for (int i = 0; i < p.m; i++) column[i] += from[i] * b;
            }
            for (int i = 0; i < p.m; i++) {
                T &to = cs[j * p.ldc + i];
                store(to, (F)p.alpha * column[i] + (p.beta ? (F)p.beta * widen(to) : F(0)));
            }
        }
    }
}

void run(void *with) {
    const Product &p = *(const Product *)with;
    switch (p.type) {
    case CUDA_R_32F: return multiply<float, float>(p);
    case CUDA_R_64F: return multiply<double, double>(p);
    case CUDA_R_16F: return multiply<__half, float>(p);
    case CUDA_R_16BF: return multiply<__nv_bfloat16, float>(p);
    default: abort();
    }
}

} // namespace

extern "C" {

int cublasCreate_v2(void **handle) { return *handle = (void *)8, SUCCESS; }
int cublasGetVersion_v2(void *, int *version) { return *version = 130000, SUCCESS; }
int cublasDestroy_v2(void *) { return SUCCESS; }
int cublasSetStream_v2(void *, void *) { return SUCCESS; }
int cublasSetMathMode(void *, int) { return SUCCESS; }
int cublasSetWorkspace_v2(void *, void *, size_t) { return SUCCESS; }

int cublasGemmStridedBatchedEx(void *, int ta, int tb, int m, int n, int k, const void *alpha, const void *a,
                               cudaDataType type_a, int lda, long long step_a, const void *b, cudaDataType, int ldb,
                               long long step_b, const void *beta, void *c, cudaDataType, int ldc, long long step_c,
                               int batch, int, int) {
    if (type_a != CUDA_R_32F && type_a != CUDA_R_16F && type_a != CUDA_R_16BF) return NOT_SUPPORTED;
    Product p{ta != 0, tb != 0, m, n, k, *(const float *)alpha, *(const float *)beta, a, b, c, lda, ldb, ldc,
              step_a, step_b, step_c, batch, type_a};
    return emulated_then(run, &p, sizeof p);
}

int cublasDgemmStridedBatched(void *, int ta, int tb, int m, int n, int k, const double *alpha, const double *a, int lda,
                              long long step_a, const double *b, int ldb, long long step_b, const double *beta, double *c,
                              int ldc, long long step_c, int batch) {
    Product p{ta != 0, tb != 0, m, n, k, *alpha, *beta, a, b, c, lda, ldb, ldc, step_a, step_b, step_c, batch, CUDA_R_64F};
    return emulated_then(run, &p, sizeof p);
}

// A generator can be created, because opening a device needs one; no generator draws numbers.
int curandCreateGenerator(void **generator, int) { return *generator = (void *)8, SUCCESS; }
int curandDestroyGenerator(void *) { return SUCCESS; }
int curandSetStream(void *, void *) { return SUCCESS; }
int curandSetPseudoRandomGeneratorSeed(void *, unsigned long long) { return SUCCESS; }
int curandSetGeneratorOffset(void *, unsigned long long) { return SUCCESS; }
}
