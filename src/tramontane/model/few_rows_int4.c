/* Products of up to eight int8 rows with an int4 weight, for processors with AVX-512 VNNI, bound by memory.
 *
 * The weight lies in blocks of 16 output rows, one a lane: for each group of 32 inputs 256 bytes, four vectors whose
 * lanes hold 8 inputs each (low nibbles the first four, high nibbles the others), and 64 bytes of bfloat16 scales and
 * zeros. A value is (q - 8) * scale + zero. VPDPBUSD multiplies four pairs of unsigned and signed bytes a lane; each
 * group is an exact integer, so that a result depends on its own row alone.
 */
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

enum { LANES = 16, GROUP = 32, WORDS = GROUP / 4, MAX_ROWS = 8, AHEAD = 2048 };

static inline uint16_t narrow(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return (uint16_t)(x != x ? 0x7fc0 : (bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

/* `rows` rows (a constant where this is inlined) times one block of 16 weight rows → sums [rows][16]. */
static inline __attribute__((always_inline)) void block(const uint8_t *weight, const uint8_t *scales_and_zeros,
                                                        const int32_t *x, const int32_t *totals, int64_t groups,
                                                        int rows, float *sums) {
    const __m512i nibble = _mm512_set1_epi8(15), high_half = _mm512_set1_epi32((int)0xffff0000);
    __m512 sum[MAX_ROWS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) sum[r] = _mm512_setzero_ps();
    for (int64_t g = 0; g < groups; g++) {
        __m512i dot[MAX_ROWS];
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) dot[r] = _mm512_set1_epi32(-8 * totals[r * groups + g]);
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) {
            const uint8_t *at = weight + g * 256 + v * 64;
            _mm_prefetch((const char *)(at + AHEAD), _MM_HINT_T0);
            const __m512i both = _mm512_loadu_si512(at);
            const __m512i low = _mm512_and_si512(both, nibble);
            const __m512i high = _mm512_and_si512(_mm512_srli_epi32(both, 4), nibble);
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) {
                const int32_t *words = x + (r * groups + g) * WORDS + v * 2;
                dot[r] = _mm512_dpbusd_epi32(dot[r], low, _mm512_set1_epi32(words[0]));
                dot[r] = _mm512_dpbusd_epi32(dot[r], high, _mm512_set1_epi32(words[1]));
            }
        }
        _mm_prefetch((const char *)(scales_and_zeros + g * 64 + AHEAD / 4), _MM_HINT_T0);
        const __m512i pairs = _mm512_loadu_si512(scales_and_zeros + g * 64);
        const __m512 scale = _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
        const __m512 zero = _mm512_castsi512_ps(_mm512_and_si512(pairs, high_half));
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            sum[r] = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(dot[r]), sum[r]);
            sum[r] = _mm512_fmadd_ps(zero, _mm512_set1_ps((float)totals[r * groups + g]), sum[r]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) _mm512_storeu_ps(sums + r * LANES, sum[r]);
}

/* Activations uint8 around 128 [rows, in] → signed words, and the sum of each group. */
static void prepare(const uint8_t *x, int64_t rows, int64_t in, int32_t *words, int32_t *totals) {
    for (int64_t i = 0; i < rows * in / 4; i++) {
        uint32_t word;
        memcpy(&word, x + 4 * i, 4);
        words[i] = (int32_t)(word ^ 0x80808080u);
    }
    for (int64_t g = 0; g < rows * in / GROUP; g++) {
        int32_t total = 0;
        for (int i = 0; i < GROUP; i++) total += (int32_t)x[g * GROUP + i] - 128;
        totals[g] = total;
    }
}

/* x uint8 [rows, in] with scales [rows], weight and scales_and_zeros as above → y bfloat16 [rows, out].
 * `scratch` holds padded * (in / 4 + in / 32) words, where `padded` is `rows` rounded up to 1, 2, 4 or 8. */
void few_rows_int4(const uint8_t *x, const float *x_scale, const uint8_t *weight, const uint8_t *scales_and_zeros,
                   uint16_t *y, int32_t *scratch, int64_t rows, int64_t in, int64_t out, int32_t num_threads) {
    const int64_t groups = in / GROUP, padded = rows <= 2 ? rows : rows <= 4 ? 4 : 8;
    int32_t *words = scratch, *totals = scratch + padded * in / 4;
    memset(scratch, 0, (size_t)padded * (in / 4 + groups) * sizeof(int32_t));
    prepare(x, rows, in, words, totals);
#pragma omp parallel for schedule(static) num_threads(num_threads)
    for (int64_t b = 0; b < out / LANES; b++) {
        const uint8_t *w = weight + b * groups * 256, *sz = scales_and_zeros + b * groups * 64;
        float sums[MAX_ROWS * LANES];
        switch (padded) {
        case 1: block(w, sz, words, totals, groups, 1, sums); break;
        case 2: block(w, sz, words, totals, groups, 2, sums); break;
        case 4: block(w, sz, words, totals, groups, 4, sums); break;
        default: block(w, sz, words, totals, groups, 8, sums);
        }
        for (int64_t r = 0; r < rows; r++)
            for (int i = 0; i < LANES; i++) y[r * out + b * LANES + i] = narrow(sums[r * LANES + i] * x_scale[r]);
    }
}
