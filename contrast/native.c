/* Noise pairs of drawn rows, or of all rows: score, objective and the sum of the rows, in one pass over them.

   A chunk of rows stays in the nearest caches between its scores and its sum. Of drawn ones, those to come are
   asked for while others are multiplied, and what is left is the time to read each once; of all rows, that of the
   two products. Threads are those of OpenMP, which PyTorch has as well: it links to nothing of its own. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 256, AHEAD = 16, LINE = 64 };
typedef float vector __attribute__((vector_size(64)));
enum { GROUP = 2 * sizeof(vector) / sizeof(float), ROWS = 8, TILE = 1024 };
static const float MASKED = -1e9f;

static inline float widen(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

/* Four rows at a time, so that what they have in common is read once. */

#define FOUR(NAME, TYPE, WIDE)                                                                            \
    static inline void products_##NAME(const float *restrict anchor, const TYPE *const rows[4],           \
                                       int64_t dim, float *restrict scores)                               \
    {                                                                                                     \
        const TYPE *restrict p = rows[0], *restrict q = rows[1], *restrict r = rows[2],                   \
                   *restrict s = rows[3];                                                                 \
        float a = 0, b = 0, c = 0, d = 0;                                                                 \
        for (int64_t i = 0; i < dim; i++) {                                                               \
            a += anchor[i] * WIDE(p[i]);                                                                  \
            b += anchor[i] * WIDE(q[i]);                                                                  \
            c += anchor[i] * WIDE(r[i]);                                                                  \
            d += anchor[i] * WIDE(s[i]);                                                                  \
        }                                                                                                 \
        scores[0] = a, scores[1] = b, scores[2] = c, scores[3] = d;                                       \
    }                                                                                                     \
    static inline void add_##NAME(float *restrict sum, const float *restrict weights,                     \
                                  const TYPE *const rows[4], int64_t dim)                                 \
    {                                                                                                     \
        const TYPE *restrict p = rows[0], *restrict q = rows[1], *restrict r = rows[2],                   \
                   *restrict s = rows[3];                                                                 \
        const float a = weights[0], b = weights[1], c = weights[2], d = weights[3];                       \
        for (int64_t i = 0; i < dim; i++)                                                                 \
            sum[i] += (a * WIDE(p[i]) + b * WIDE(q[i])) + (c * WIDE(r[i]) + d * WIDE(s[i]));              \
    }

static inline float same(float value) { return value; }

FOUR(fp32, float, same)
FOUR(bf16, uint16_t, widen)

static inline void ask_for(const char *row, int64_t bytes)
{
    for (int64_t i = 0; i < bytes; i += LINE)
        __builtin_prefetch(row + i, 0, 2);
}

/* e^-x of x >= 0, to the last digit or two: written out, so that the compiler does many at a time. A NaN stays. */
static inline float exp_minus(float x)
{
    x = x > 87.0f ? 87.0f : x;
    const float twos = rintf(x * -1.44269504f);
    const float r = (-x - twos * 0.693359375f) + twos * 2.12194440e-4f;
    const float p = ((((1.9875691500e-4f * r + 1.3981999507e-3f) * r + 8.3334519073e-3f) * r + 4.1665795894e-2f)
                     * r + 1.6666665459e-1f) * r + 5.0000001201e-1f;
    const int32_t bits = ((int32_t)twos + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return ((p * r * r + r) + 1.0f) * power;
}

/* log(1 + e) of 0 <= e <= 1: twice the inverse hyperbolic tangent of e / (2 + e), which is at most 1/3. */
static inline float log_one_plus(float e)
{
    const float s = e / (2.0f + e), q = s * s;
    const float p = ((((q / 13.0f + 1.0f / 11.0f) * q + 1.0f / 9.0f) * q + 1.0f / 7.0f) * q + 1.0f / 5.0f) * q
                    + 1.0f / 3.0f;
    return 2.0f * s * (p * q + 1.0f);
}

/* A score becomes its weight sigma(l) with l = scale * s - shift; returns softplus(l). */
static inline float weigh_one(float *restrict score, float scale, float shift)
{
    const float l = *score * scale - shift;
    const float e = exp_minus(fabsf(l)), share = 1.0f / (1.0f + e);
    *score = l > 0 ? share : e * share;
    return (l > 0 ? l : 0) + log_one_plus(e);
}

/* What both ways are given: anchors z (B, dim), a bank (size, dim) of float or, with bf16, of bfloat16; NCE with
   l = scale * score - shift, or infonce; and what they fill: total (B), the sum of softplus(l), or of infonce that
   of e^(scale score - top) with top (B) the largest scale * score; pull (B, dim), the rows' sum by their weights. */
struct noise {
    const float *z;
    const void *bank;
    int bf16;
    int64_t size, count, dim;
    float scale, shift;
    int infonce;
    float *total, *top, *pull;
};

/* Rows row ... row + ROWS - 1 of a bank in fp32, in place or copied to `block`; those behind its end are 0. */
static const float *in_fp32(const struct noise *n, int64_t row, float *block)
{
    const int64_t dim = n->dim, count = n->size - row < ROWS ? n->size - row : ROWS;
    const float *wide = (const float *)n->bank + row * dim;
    const uint16_t *narrow = (const uint16_t *)n->bank + row * dim;
    if (!n->bf16 && count == ROWS)
        return wide;
    for (int64_t i = 0; i < count * dim; i++)
        block[i] = n->bf16 ? widen(narrow[i]) : wide[i];
    memset(block + count * dim, 0, (ROWS - count) * dim * sizeof *block);
    return block;
}

/* Columns 0 ... width - 1 of rows by their weights for a group of anchors, added to its sums. */
static inline __attribute__((always_inline)) void add_rows(vector *sum, const float *rows, int64_t dim,
                                                           vector score[ROWS][2], const int width)
{
    vector own[4][2];
    memcpy(own, sum, width * sizeof *own);
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < width; i++) {
            own[i][0] += rows[r * dim + i] * score[r][0];
            own[i][1] += rows[r * dim + i] * score[r][1];
        }
    memcpy(sum, own, width * sizeof *own);
}

/* All rows of the bank as the noise of anchors first ... last - 1; returns 0, or 2 without memory.

   Anchors come in groups of two vectors, turned, so that a group and its sums stay in the nearest cache; and rows
   in tiles that stay in the next one while all groups meet them. */
static int multiply_part(const struct noise *n, const int64_t *owner, const int64_t *bank_owner, float *weights,
                         int64_t first, int64_t last)
{
    const int64_t dim = n->dim, size = n->size, groups = (last - first + GROUP - 1) / GROUP;
    vector *const kept = aligned_alloc(sizeof(vector), (groups * 4 * dim + ROWS * dim) * sizeof(vector));
    double *const all = calloc(groups * GROUP, sizeof *all);
    if (!kept || !all) {
        free(kept), free(all);
        return 2;
    }
    vector *const sums = kept + groups * 2 * dim;
    float *const block = (float *)(kept + groups * 4 * dim);
    memset(kept, 0, groups * 4 * dim * sizeof *kept);
    for (int64_t b = first; b < last; b++)
        for (int64_t d = 0; d < dim; d++)
            ((float *)(kept + (b - first) / GROUP * 2 * dim))[d * GROUP + (b - first) % GROUP] = n->z[b * dim + d];
    for (int64_t start = 0; start < size; start += TILE) {
        const int64_t end = size - start < TILE ? size : start + TILE;
        for (int64_t group = 0; group < groups; group++) {
            const vector *const anchors = kept + group * 2 * dim;
            vector *const sum = sums + group * 2 * dim;
            const int64_t left = first + group * GROUP, lanes = last - left < GROUP ? last - left : GROUP;
            float part[GROUP] = {0};
            for (int64_t row = start; row < end; row += ROWS) {
                const float *const rows = in_fp32(n, row, block);
                const int64_t real = size - row < ROWS ? size - row : ROWS;
                vector score[ROWS][2] = {0};
                for (int64_t d = 0; d < dim; d++)
                    for (int r = 0; r < ROWS; r++) {
                        score[r][0] += rows[r * dim + d] * anchors[2 * d];
                        score[r][1] += rows[r * dim + d] * anchors[2 * d + 1];
                    }
                memset(score[real], 0, (ROWS - real) * sizeof *score);
                for (int64_t r = 0; r < real; r++) {
                    float *const own = (float *)score[r];
                    if (owner) {
                        const int64_t whose = bank_owner ? bank_owner[row + r] : row + r;
                        for (int64_t i = 0; i < lanes; i++)
                            own[i] = whose < 0 || owner[left + i] == whose ? MASKED : own[i];
                    }
                    for (int64_t i = 0; i < GROUP; i++)
                        part[i] += weigh_one(own + i, n->scale, n->shift);
                    if (weights)
                        memcpy(weights + (row + r) * n->count + left, own, lanes * sizeof *own);
                }
                int64_t d = 0;
                for (; d + 4 <= dim; d += 4) /* four sums at a time, as each addition waits for the one before */
                    add_rows(sum + 2 * d, rows + d, dim, score, 4);
                for (; d < dim; d++)
                    add_rows(sum + 2 * d, rows + d, dim, score, 1);
            }
            for (int64_t i = 0; i < GROUP; i++)
                all[group * GROUP + i] += part[i];
        }
    }
    for (int64_t b = first; b < last; b++) {
        const int64_t group = (b - first) / GROUP, lane = (b - first) % GROUP;
        n->total[b] = (float)all[b - first];
        for (int64_t d = 0; d < dim; d++)
            n->pull[b * dim + d] = ((float *)(sums + group * 2 * dim))[d * GROUP + lane];
    }
    free(kept), free(all);
    return 0;
}

/* All rows of the bank as the noise of every anchor, by NCE; returns 0, or 2 without memory.

   No row is noise to an anchor of its own owner (B), and none with a negative owner is any; bank_owner (size), or the
   row's number where NULL; none is left out where `owner` is NULL. weights (size, B), unless NULL: sigma(l). */
int multiply_noise(const struct noise *n, const int64_t *owner, const int64_t *bank_owner, float *weights,
                   int threads)
{
    const int64_t groups = (n->count + GROUP - 1) / GROUP;
    int failed = 0;
#pragma omp parallel for num_threads(threads) schedule(static, 1) reduction(| : failed)
    for (int part = 0; part < threads; part++) {
        const int64_t first = groups * part / threads * GROUP, end = groups * (part + 1) / threads * GROUP;
        if (first < n->count)
            failed |= multiply_part(n, owner, bank_owner, weights, first, end < n->count ? end : n->count);
    }
    return failed;
}

/* The noise of anchors first ... last - 1 from the rows that they drew; returns 0, or 1 if one is no row. */
static int gather_part(const struct noise *n, const int64_t *columns, int64_t draws, int64_t first, int64_t last)
{
    const int64_t dim = n->dim, bytes = dim * (n->bf16 ? 2 : 4);
    const float scale = n->scale;
    const char *rows = n->bank;
    const char *four[4];
    float scores[CHUNK];
    for (int64_t b = first; b < last; b++) {
        const float *anchor = n->z + b * dim;
        const int64_t *own = columns + b * draws;
        float *sum = n->pull + b * dim, highest = -INFINITY;
        double all = 0;
        for (int64_t k = 0; k < draws; k++)
            if (own[k] < 0 || own[k] >= n->size)
                return 1;
        memset(sum, 0, dim * sizeof *sum);
        for (int64_t k = 0; k < draws && k < AHEAD; k++)
            ask_for(rows + own[k] * bytes, bytes);
        for (int64_t start = 0; start < draws; start += CHUNK) {
            const int64_t count = draws - start < CHUNK ? draws - start : CHUNK;
            for (int64_t i = 0; i < count; i += 4) {
                for (int64_t j = 0; j < 4; j++) {
                    const int64_t next = start + i + j + AHEAD;
                    if (next < draws)
                        ask_for(rows + own[next] * bytes, bytes);
                    four[j] = rows + own[start + (i + j < count ? i + j : i)] * bytes;
                }
                if (n->bf16)
                    products_bf16(anchor, (const uint16_t *const *)four, dim, scores + i);
                else
                    products_fp32(anchor, (const float *const *)four, dim, scores + i);
            }
            if (n->infonce) {
                float most = highest, part = 0;
                for (int64_t i = 0; i < count; i++)
                    most = scores[i] * scale > most ? scores[i] * scale : most;
                if (most > highest) {
                    const float fade = expf(highest - most);
                    all *= fade;
                    for (int64_t i = 0; i < dim; i++)
                        sum[i] *= fade;
                    highest = most;
                }
                for (int64_t i = 0; i < count; i++) {
                    scores[i] = exp_minus(highest - scores[i] * scale);
                    part += scores[i];
                }
                all += part;
            } else {
                float part = 0;
                for (int64_t i = 0; i < count; i++)
                    part += weigh_one(scores + i, n->scale, n->shift);
                all += part;
            }
            for (int64_t i = count; i % 4; i++)
                scores[i] = 0;
            for (int64_t i = 0; i < count; i += 4) {
                for (int64_t j = 0; j < 4; j++)
                    four[j] = rows + own[start + (i + j < count ? i + j : i)] * bytes;
                if (n->bf16)
                    add_bf16(sum, scores + i, (const uint16_t *const *)four, dim);
                else
                    add_fp32(sum, scores + i, (const float *const *)four, dim);
            }
        }
        n->total[b] = (float)all;
        n->top[b] = highest;
    }
    return 0;
}

/* The noise of every anchor from the rows that it drew, columns (B, draws); returns 0, or 1 if one is no row. */
int gather_noise(const struct noise *n, const int64_t *columns, int64_t draws, int threads)
{
    int failed = 0;
#pragma omp parallel for num_threads(threads) schedule(static, 1) reduction(| : failed)
    for (int part = 0; part < threads; part++)
        failed |= gather_part(n, columns, draws, n->count * part / threads, n->count * (part + 1) / threads);
    return failed;
}
