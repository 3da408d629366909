/* Products of one or two rows with a bfloat16 weight: what a single reader's answer is made of, bound by memory.
 *
 * PyTorch's kernels are made for many rows, and for one they read a weight at half the speed that memory has. A result
 * depends on its own row alone. GCC's vector extensions: 16 lanes, in whatever registers the processor has.
 */
#include <stdint.h>
#include <string.h>

typedef float lanes __attribute__((vector_size(64)));
typedef uint32_t words __attribute__((vector_size(64)));
typedef uint16_t halves __attribute__((vector_size(32)));

enum { LANES = 16, UNROLL = 4, STEP = LANES * UNROLL, AHEAD = 2048 };

static inline lanes widen(const uint16_t *from) {
    halves bits;
    memcpy(&bits, from, sizeof bits);
    return (lanes)(__builtin_convertvector(bits, words) << 16);
}

static inline float total(const lanes *sums) {
    lanes sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    float result = 0;
    for (int i = 0; i < LANES; i++) result += sum[i];
    return result;
}

static inline uint16_t narrow(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return (uint16_t)(x != x ? 0x7fc0 : (bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

/* `rows` rows of x times one row of the weight; `rows` is a constant where this is inlined. */
static inline __attribute__((always_inline)) void dot(const float *x, const uint16_t *weight, int64_t in, int rows,
                                                      float *y) {
    lanes sums[2][UNROLL] = {0};
    for (int64_t k = 0; k < in; k += STEP) {
        /* far enough ahead to be in the next row: the weight is one stream */
        __builtin_prefetch(weight + k + AHEAD);
        __builtin_prefetch(weight + k + AHEAD + STEP / 2);
#pragma GCC unroll 4
        for (int u = 0; u < UNROLL; u++) {
            const lanes w = widen(weight + k + u * LANES);
#pragma GCC unroll 2
            for (int r = 0; r < rows; r++) {
                lanes row;
                memcpy(&row, x + r * in + k + u * LANES, sizeof row);
                sums[r][u] += row * w;
            }
        }
    }
    for (int r = 0; r < rows; r++) y[r] = total(sums[r]);
}

/* x [rows, in] float32, weight [out, in] bfloat16 → y [rows, out] bfloat16; rows is 1 or 2, in a multiple of 64. */
void few_rows(const float *x, const uint16_t *weight, uint16_t *y, int64_t rows, int64_t in, int64_t out,
              int32_t num_threads) {
#pragma omp parallel for schedule(static) num_threads(num_threads)
    for (int64_t c = 0; c < out; c++) {
        float sums[2];
        if (rows == 1) dot(x, weight + c * in, in, 1, sums);
        else dot(x, weight + c * in, in, 2, sums);
        for (int64_t r = 0; r < rows; r++) y[r * out + c] = narrow(sums[r]);
    }
}
