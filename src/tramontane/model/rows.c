/* What happens between two matrix products, one pass each: rows of activations, in bfloat16 or float32.
 *
 * PyTorch runs each of these as three to six passes over memory. Plain C: the compiler vectorises the loops for whatever
 * processor it is on. Every row is computed by itself, so that its result does not depend on the rows beside it.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    int64_t rows, columns;
    int32_t is_bf16, num_threads;
} Size;

static inline float widen(uint16_t x) {
    uint32_t bits = (uint32_t)x << 16;
    float y;
    memcpy(&y, &bits, 4);
    return y;
}

/* To the nearest bfloat16, ties to even; a NaN stays one. */
static inline uint16_t narrow(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return (uint16_t)(x != x ? 0x7fc0 : rounded);
}

static inline float load(const void *x, int64_t i, int is_bf16) {
    return is_bf16 ? widen(((const uint16_t *)x)[i]) : ((const float *)x)[i];
}

static inline void put(void *x, int64_t i, float value, int is_bf16) {
    if (is_bf16) ((uint16_t *)x)[i] = narrow(value);
    else ((float *)x)[i] = value;
}

static inline const void *row_of(const void *x, int64_t row, int64_t stride, int is_bf16) {
    return (const char *)x + row * stride * (is_bf16 ? 2 : 4);
}

/* e^x by 2^n * 2^f, polynomial of degree 5; relative error below 3e-7. */
static inline float exponential(float x) {
    x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
    float t = x * 1.44269504f, n = rintf(t), f = t - n;
    float y = 1.33336e-3f;
    y = y * f + 9.61813e-3f;
    y = y * f + 5.5504109e-2f;
    y = y * f + 2.4022651e-1f;
    y = y * f + 6.9314718e-1f;
    y = y * f + 1.0f;
    int32_t power = ((int32_t)n + 127) << 23;
    float scale;
    memcpy(&scale, &power, 4);
    return y * scale;
}

#define FOR_ROWS(size)                                                              \
    _Pragma("omp parallel for schedule(static) num_threads(size->num_threads)")      \
    for (int64_t r = 0; r < size->rows; r++)

/* One row: uint8 around 128, and the scale that maps it back. Values that are not finite make the scale NaN. */
static inline void quantize_row(const void *x, int64_t columns, int is_bf16, uint8_t *out, float *scale) {
    float peak = 1e-20f;
    int32_t broken = 0;
    for (int64_t i = 0; i < columns; i++) {
        float a = fabsf(load(x, i, is_bf16));
        broken |= !(a <= 3.0e38f);
        peak = a > peak ? a : peak;
    }
    if (broken) {
        memset(out, 128, columns);
        *scale = NAN;
        return;
    }
    const float inverse = 127.0f / peak;
    for (int64_t i = 0; i < columns; i++) out[i] = (uint8_t)(int32_t)(load(x, i, is_bf16) * inverse + 128.5f);
    *scale = peak / 127.0f;
}

/* x [rows, columns] → out uint8, scale float32 [rows]. */
void quantize_rows(const Size *size, const void *x, uint8_t *out, float *scale) {
    const int64_t n = size->columns;
    FOR_ROWS(size) {
        if (size->is_bf16) quantize_row(row_of(x, r, n, 1), n, 1, out + r * n, scale + r);
        else quantize_row(row_of(x, r, n, 0), n, 0, out + r * n, scale + r);
    }
}

/* out[r] = x[r] * scale[r]; x is float32. */
void rescale_rows(const Size *size, const float *x, const float *scale, void *out) {
    const int64_t n = size->columns;
    FOR_ROWS(size) {
        const float *from = x + r * n, factor = scale[r];
        void *to = (void *)row_of(out, r, n, size->is_bf16);
        if (size->is_bf16)
            for (int64_t i = 0; i < n; i++) put(to, i, from[i] * factor, 1);
        else
            for (int64_t i = 0; i < n; i++) put(to, i, from[i] * factor, 0);
    }
}

static inline void norm_row(const void *x, const void *weight, float eps, int64_t n, int is_bf16, void *out) {
    float sums[16] = {0}; /* so many lanes, whatever the processor has: the same sum everywhere */
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; j++) {
            float v = load(x, i + j, is_bf16);
            sums[j] += v * v;
        }
    float sum = 0;
    for (; i < n; i++) {
        float v = load(x, i, is_bf16);
        sum += v * v;
    }
    for (int j = 0; j < 16; j++) sum += sums[j];
    const float factor = 1.0f / sqrtf(sum / n + eps);
    for (i = 0; i < n; i++) put(out, i, load(x, i, is_bf16) * factor * load(weight, i, is_bf16), is_bf16);
}

/* Root-mean-square normalisation of each row, times weight [columns]. */
void rms_norm(const Size *size, const void *x, const void *weight, float eps, void *out) {
    const int64_t n = size->columns;
    FOR_ROWS(size) {
        if (size->is_bf16) norm_row(row_of(x, r, n, 1), weight, eps, n, 1, (void *)row_of(out, r, n, 1));
        else norm_row(row_of(x, r, n, 0), weight, eps, n, 0, (void *)row_of(out, r, n, 0));
    }
}

static inline void gate_row(const void *x, int64_t n, int is_bf16, void *out) {
    for (int64_t i = 0; i < n; i++) {
        const float gate = load(x, i, is_bf16), up = load(x, n + i, is_bf16);
        put(out, i, gate / (1.0f + exponential(-gate)) * up, is_bf16);
    }
}

/* x [rows, 2 * columns], gates first → silu(gate) * up [rows, columns]. */
void silu_mul(const Size *size, const void *x, void *out) {
    const int64_t n = size->columns;
    FOR_ROWS(size) {
        if (size->is_bf16) gate_row(row_of(x, r, 2 * n, 1), n, 1, (void *)row_of(out, r, n, 1));
        else gate_row(row_of(x, r, 2 * n, 0), n, 0, (void *)row_of(out, r, n, 0));
    }
}

static inline void rotate_head(void *x, const float *cos, const float *sin, int64_t half, int is_bf16) {
    for (int64_t i = 0; i < half; i++) {
        const float a = load(x, i, is_bf16), b = load(x, i + half, is_bf16);
        put(x, i, a * cos[i] - b * sin[i], is_bf16);
        put(x, i + half, b * cos[i] + a * sin[i], is_bf16);
    }
}

/* Rotates, in place, the first `num_heads` heads of each token: x [rows, stride], heads of `columns` each;
 * cos and sin [rows, columns / 2]. */
void rotate(const Size *size, void *x, int64_t stride, int64_t num_heads, const float *cos, const float *sin) {
    const int64_t half = size->columns / 2;
    FOR_ROWS(size) {
        for (int64_t h = 0; h < num_heads; h++) {
            if (size->is_bf16)
                rotate_head((uint16_t *)x + r * stride + h * 2 * half, cos + r * half, sin + r * half, half, 1);
            else
                rotate_head((float *)x + r * stride + h * 2 * half, cos + r * half, sin + r * half, half, 0);
        }
    }
}
