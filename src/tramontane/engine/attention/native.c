/* Attention over paged keys and values for processors with AVX-512 BF16.
 *
 * One call serves one layer of one step: it stores the new keys and values, then attends. The work is cut into items of
 * (sequence, tile of query tokens, kv head); all query heads that share a kv head are rows of one small matrix, so that
 * each key and value is read once for all of them, in place, from its page. The online softmax is that of
 * FlashAttention (arXiv:2205.14135). Both products are the same micro-kernel, 4 rows by 64 columns of VDPBF16PS, which
 * multiplies pairs: keys are packed as pairs of dimensions, values as pairs of tokens.
 */
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

enum { TILE_KEYS = 64, GROUP = 16, MAX_ROWS = 128, MAX_DIM = 256 };

typedef uint16_t bf16;

typedef struct {
    int32_t num_sequences, num_heads, num_kv_heads, head_dim;
    int32_t block_size, window; /* window 0: everything is seen */
    int64_t num_slots;
    int64_t q_stride, k_stride, v_stride; /* elements between two tokens */
    float scale;
} Shape;

typedef struct {
    int32_t start, num_new, num_computed, table; /* row of the batch; token counts; offset of the block table */
} Slice;

typedef struct {
    uint32_t keys[MAX_DIM / 2 * TILE_KEYS];    /* [D / 2][64 keys], two neighbouring dimensions in each */
    uint32_t values[TILE_KEYS / 2 * MAX_DIM];  /* [32][D], two neighbouring tokens in each */
    bf16 queries[MAX_ROWS * MAX_DIM];          /* [rows][D] */
    bf16 weights[MAX_ROWS * TILE_KEYS];        /* [rows][64] */
    float scores[MAX_ROWS * TILE_KEYS];        /* [rows][64] */
    float out[MAX_ROWS * MAX_DIM];             /* [rows][D] */
    float peak[MAX_ROWS], sum[MAX_ROWS];
} __attribute__((aligned(64))) Scratch;

static inline int min(int a, int b) { return a < b ? a : b; }
static inline int max(int a, int b) { return a > b ? a : b; }

/* c[4][64] (+)= a[4][2 * pairs] * b[pairs][64], a row-major bf16, b packed pairs. */
static inline void multiply_4x64(const bf16 *a, int a_stride, const uint32_t *b, int b_stride, float *c, int c_stride,
                                 int pairs, int accumulate) {
    __m512 acc[4][4];
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++)
            acc[i][j] = accumulate ? _mm512_loadu_ps(c + i * c_stride + 16 * j) : _mm512_setzero_ps();
    for (int p = 0; p < pairs; p++) {
        __m512bh column[4];
        for (int j = 0; j < 4; j++) column[j] = (__m512bh)_mm512_loadu_si512(b + (int64_t)p * b_stride + 16 * j);
        for (int i = 0; i < 4; i++) {
            int32_t pair;
            memcpy(&pair, a + (int64_t)i * a_stride + 2 * p, 4);
            __m512bh row = (__m512bh)_mm512_set1_epi32(pair);
            for (int j = 0; j < 4; j++) acc[i][j] = _mm512_dpbf16_ps(acc[i][j], row, column[j]);
        }
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) _mm512_storeu_ps(c + i * c_stride + 16 * j, acc[i][j]);
}

/* Transposes 16 rows of 16 pairs: out[pair * 64 + row] = in[row][pair]. */
static inline void transpose_16x16(const bf16 *in, int64_t in_stride, uint32_t *out) {
    __m512i r[16], t[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) r[i] = _mm512_loadu_si512(in + i * in_stride);
#pragma GCC unroll 16
    for (int i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 4; i++) {
        r[4 * i + 0] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 8; i++) {
        _mm512_storeu_si512(out + i * TILE_KEYS, _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88));
        _mm512_storeu_si512(out + (i + 8) * TILE_KEYS, _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd));
    }
}

/* out[d] = (in0[d], in1[d]) for `dim` dimensions; a missing second token counts as zeros. */
static inline void interleave(const bf16 *in0, const bf16 *in1, uint32_t *out, int dim) {
    for (int d = 0; d < dim; d += 16) {
        __m512i low = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(in0 + d)));
        __m512i high = in1 ? _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(in1 + d)))
                           : _mm512_setzero_si512();
        _mm512_storeu_si512(out + d, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
    }
}

/* e^x for x <= 0; polynomial of degree 5 for 2^f on [-0.5, 0.5], relative error below 3e-7. */
static inline __m512 exponential(__m512 x) {
    x = _mm512_mul_ps(_mm512_max_ps(x, _mm512_set1_ps(-150.0f)), _mm512_set1_ps(1.44269504f));
    __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 f = _mm512_sub_ps(x, n);
    __m512 y = _mm512_set1_ps(1.33336e-3f);
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(9.61813e-3f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(5.5504109e-2f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(2.4022651e-1f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(6.9314718e-1f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(y, n);
}

/* Where the 16 tokens from `position` on begin in a head's pages. */
static inline int64_t offset_of(const Shape *s, const int32_t *table, int position) {
    const int64_t slot = (int64_t)table[position / s->block_size] * s->block_size + position % s->block_size;
    return slot * s->head_dim;
}

/* Asks for `count` cache lines early: processors do not foresee the jump from page to page. */
static inline void prefetch(const bf16 *from, int64_t stride, int count) {
    for (int i = 0; i < count; i++) _mm_prefetch((const char *)(from + i * stride), _MM_HINT_T0);
}

/* Packs up to 64 keys and values from position `first` (a multiple of 16) on; positions from `last` on count as 0. */
static void pack_tile(const Shape *s, Scratch *w, const bf16 *keys, const bf16 *values, const int32_t *table, int first,
                      int last) {
    const int dim = s->head_dim;
    for (int g = 0; g < TILE_KEYS; g += GROUP) {
        const int position = first + g;
        if (position >= last) { /* weights are 0 here, but 0 times garbage could be NaN */
            memset(w->values + g / 2 * dim, 0, (size_t)GROUP / 2 * dim * sizeof(uint32_t));
            continue; /* whatever scores come out are masked */
        }
        /* While this group is packed, the same one of the next tile is fetched (at the end: this one again). */
        const int64_t at = offset_of(s, table, position);
        const int64_t next = position + TILE_KEYS < last ? offset_of(s, table, position + TILE_KEYS) : at;
        const bf16 *k = keys + at, *v = values + at;
        for (int d = 0; d < dim; d += 32) {
            prefetch(keys + next + d * GROUP, 32, GROUP);
            transpose_16x16(k + d, dim, w->keys + d / 2 * TILE_KEYS + g);
        }
        for (int i = 0; i < GROUP; i += 2) {
            uint32_t *out = w->values + (g + i) / 2 * dim;
            prefetch(values + next + i * dim, 32, 2 * dim / 32);
            if (position + i >= last) memset(out, 0, (size_t)dim * sizeof(uint32_t));
            else interleave(v + i * dim, position + i + 1 < last ? v + (i + 1) * dim : 0, out, dim);
        }
    }
}

/* One tile of online softmax: scores [rows][64] → weights, rescaling what was summed before. */
static void weigh(const Shape *s, Scratch *w, int rows, int group, int first, int position) {
    const int dim = s->head_dim;
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    for (int r = 0; r < rows; r++) {
        const int query = position + r / group;
        const int begin = s->window ? max(0, query - s->window + 1 - first) : 0, end = query + 1 - first;
        float *scores = w->scores + r * TILE_KEYS;
        __m512 x[4], peak = _mm512_set1_ps(w->peak[r]);
        for (int j = 0; j < 4; j++) {
            x[j] = _mm512_mul_ps(_mm512_loadu_ps(scores + 16 * j), _mm512_set1_ps(s->scale));
            if (begin > 16 * j || end < 16 * j + 16) {
                __m512i index = _mm512_add_epi32(lane, _mm512_set1_epi32(16 * j));
                __mmask16 seen = _mm512_cmpge_epi32_mask(index, _mm512_set1_epi32(begin)) &
                                 _mm512_cmplt_epi32_mask(index, _mm512_set1_epi32(end));
                x[j] = _mm512_mask_blend_ps(seen, _mm512_set1_ps(-1e30f), x[j]);
            }
            peak = _mm512_max_ps(peak, x[j]);
        }
        const float new_peak = _mm512_reduce_max_ps(peak);
        __m512 sum = _mm512_setzero_ps();
        for (int j = 0; j < 4; j++) {
            __m512 e = exponential(_mm512_sub_ps(x[j], _mm512_set1_ps(new_peak)));
            /* a row that has seen nothing yet has the peak of what is masked: its weights must still be 0 */
            e = _mm512_mask_mov_ps(e, _mm512_cmple_ps_mask(x[j], _mm512_set1_ps(-1e30f)), _mm512_setzero_ps());
            sum = _mm512_add_ps(sum, e);
            _mm256_storeu_si256((__m256i *)(w->weights + r * TILE_KEYS + 16 * j), (__m256i)_mm512_cvtneps_pbh(e));
        }
        if (new_peak > w->peak[r]) {
            const __m512 factor = exponential(_mm512_set1_ps(w->peak[r] - new_peak));
            for (int d = 0; d < dim; d += 16)
                _mm512_storeu_ps(w->out + r * dim + d, _mm512_mul_ps(_mm512_loadu_ps(w->out + r * dim + d), factor));
            w->sum[r] *= _mm512_cvtss_f32(factor);
            w->peak[r] = new_peak;
        }
        w->sum[r] += _mm512_reduce_add_ps(sum);
    }
}

/* `count` tokens of one sequence from its new token `token` on, for one kv head. */
static void attend_tile(const Shape *s, Scratch *w, const bf16 *q, const bf16 *keys, const bf16 *values,
                        const int32_t *table, const Slice *slice, int token, int count, int kv_head, bf16 *out) {
    const int dim = s->head_dim, group = s->num_heads / s->num_kv_heads;
    const int rows = count * group, padded = (rows + 3) / 4 * 4, position = slice->num_computed + token;
    for (int r = 0; r < rows; r++)
        memcpy(w->queries + r * dim,
               q + (slice->start + token + r / group) * s->q_stride + (kv_head * group + r % group) * dim,
               dim * sizeof(bf16));
    memset(w->queries + rows * dim, 0, (size_t)(padded - rows) * dim * sizeof(bf16));
    memset(w->weights + rows * TILE_KEYS, 0, (size_t)(padded - rows) * TILE_KEYS * sizeof(bf16));
    memset(w->out, 0, (size_t)padded * dim * sizeof(float));
    for (int r = 0; r < rows; r++) w->peak[r] = -1e30f, w->sum[r] = 0;

    const int last = position + count;
    const int visible = s->window ? max(0, position - s->window + 1) : 0;
    for (int first = visible / GROUP * GROUP; first < last; first += TILE_KEYS) {
        pack_tile(s, w, keys, values, table, first, last);
        for (int r = 0; r < padded; r += 4)
            multiply_4x64(w->queries + r * dim, dim, w->keys, TILE_KEYS, w->scores + r * TILE_KEYS, TILE_KEYS, dim / 2, 0);
        weigh(s, w, rows, group, first, position);
        for (int r = 0; r < padded; r += 4)
            for (int d = 0; d < dim; d += 64)
                multiply_4x64(w->weights + r * TILE_KEYS, TILE_KEYS, w->values + d, dim, w->out + r * dim + d, dim,
                              TILE_KEYS / 2, 1);
    }
    for (int r = 0; r < rows; r++) {
        bf16 *to = out + ((int64_t)(slice->start + token + r / group) * s->num_heads + kv_head * group + r % group) * dim;
        const __m512 factor = _mm512_set1_ps(1.0f / w->sum[r]);
        for (int d = 0; d < dim; d += 16)
            _mm256_storeu_si256((__m256i *)(to + d),
                                (__m256i)_mm512_cvtneps_pbh(_mm512_mul_ps(_mm512_loadu_ps(w->out + r * dim + d), factor)));
    }
}

/* Stores k and v [T, Hkv, D] into the pages, keys and values [Hkv, slots, D], of each sequence's table. */
static void store(const Shape *s, const Slice *slices, const int32_t *tables, const bf16 *k, const bf16 *v, bf16 *keys,
                  bf16 *values) {
    const size_t bytes = s->head_dim * sizeof(bf16);
    for (int i = 0; i < s->num_sequences; i++)
        for (int t = 0; t < slices[i].num_new; t++) {
            const int position = slices[i].num_computed + t;
            const int32_t *table = tables + slices[i].table;
            const int64_t slot = (int64_t)table[position / s->block_size] * s->block_size + position % s->block_size;
            const int64_t row = slices[i].start + t;
            for (int h = 0; h < s->num_kv_heads; h++) {
                const int64_t at = (h * s->num_slots + slot) * s->head_dim;
                memcpy(keys + at, k + row * s->k_stride + h * s->head_dim, bytes);
                memcpy(values + at, v + row * s->v_stride + h * s->head_dim, bytes);
            }
        }
}

/* q [T, H, D], k and v [T, Hkv, D] → out [T, H, D]. */
void attention(const Shape *s, const Slice *slices, const int32_t *tables, const bf16 *q, const bf16 *k, const bf16 *v,
               bf16 *keys, bf16 *values, bf16 *out, int32_t num_threads) {
    store(s, slices, tables, k, v, keys, values);
    const int tile = max(1, MAX_ROWS / (s->num_heads / s->num_kv_heads));
    int num_items = 0;
    for (int i = 0; i < s->num_sequences; i++) num_items += (slices[i].num_new + tile - 1) / tile;
    num_items *= s->num_kv_heads;
#pragma omp parallel num_threads(min(num_threads, num_items))
    {
        Scratch scratch;
#pragma omp for schedule(dynamic)
        for (int item = 0; item < num_items; item++) {
            /* kv heads vary slowest, so that threads share what they read from memory as little as possible */
            int tiles = num_items / s->num_kv_heads, head = item / tiles, rest = item % tiles, i = 0;
            while (rest >= (slices[i].num_new + tile - 1) / tile) rest -= (slices[i++].num_new + tile - 1) / tile;
            const int64_t at = head * s->num_slots * s->head_dim;
            const int token = rest * tile;
            attend_tile(s, &scratch, q, keys + at, values + at, tables + slices[i].table, &slices[i], token,
                        min(tile, slices[i].num_new - token), head, out);
        }
    }
}
