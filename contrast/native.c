/* Noise pairs of drawn rows: score, objective and the sum of the rows, in one pass over them. And the objective
   alone, of scores that a matrix product has made, in one pass as well.

   A chunk of rows stays in the nearest caches between its scores and its sum, and rows to come are asked for
   while others are multiplied: what is left is the time to read each drawn row once. */

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { CHUNK = 256, AHEAD = 16, LINE = 64 };

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

/* Scores to weights sigma(l) with l = scale * s - shift; the sum of softplus(l). */
static float weigh_nce(float *restrict scores, int64_t count, float scale, float shift)
{
    float total = 0;
    for (int64_t i = 0; i < count; i++) {
        float l = scores[i] * scale - shift;
        float e = expf(-fabsf(l));
        /* log(1 + e) of a small e by its series, as 1 + e drops its last digits. */
        float rest = e < 1e-3f ? e * (1.0f - e * (0.5f - e * 0.33333333f)) : logf(1.0f + e);
        float share = 1.0f / (1.0f + e);
        total += (l > 0 ? l : 0) + rest;
        scores[i] = l > 0 ? share : e * share;
    }
    return total;
}

/* Rows first ... last - 1 of scores (B, width) become the weights of NCE; total (B): their sums of softplus. */
void weigh_noise(float *scores, int64_t first, int64_t last, int64_t width, float scale, float shift,
                 float *total)
{
    for (int64_t b = first; b < last; b++) {
        double all = 0;
        for (int64_t start = 0; start < width; start += CHUNK) {
            const int64_t count = width - start < CHUNK ? width - start : CHUNK;
            all += weigh_nce(scores + b * width + start, count, scale, shift);
        }
        total[b] = (float)all;
    }
}

/* The noise of anchors first ... last - 1; returns 0, or 1 if a column is no row of the bank.

   z (B, dim), bank (size, dim) of float or, with bf16, of bfloat16, columns (B, draws).
   Into total (B): the sum of softplus, or with infonce the sum of e^(scale s - top); top (B): of infonce the
   largest scale s; pull (B, dim): the rows' sum by their weights. */
int gather_noise(const float *z, const void *bank, int bf16, int64_t size, const int64_t *columns,
                 int64_t first, int64_t last, int64_t draws, int64_t dim, float scale, float shift,
                 int infonce, float *total, float *top, float *pull)
{
    const int64_t bytes = dim * (bf16 ? 2 : 4);
    const char *rows = bank;
    const char *four[4];
    float scores[CHUNK];
    for (int64_t b = first; b < last; b++) {
        const float *anchor = z + b * dim;
        const int64_t *own = columns + b * draws;
        float *sum = pull + b * dim, highest = -INFINITY;
        double all = 0;
        for (int64_t k = 0; k < draws; k++)
            if (own[k] < 0 || own[k] >= size)
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
                if (bf16)
                    products_bf16(anchor, (const uint16_t *const *)four, dim, scores + i);
                else
                    products_fp32(anchor, (const float *const *)four, dim, scores + i);
            }
            if (infonce) {
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
                    scores[i] = expf(scores[i] * scale - highest);
                    part += scores[i];
                }
                all += part;
            } else {
                all += weigh_nce(scores, count, scale, shift);
            }
            for (int64_t i = count; i % 4; i++)
                scores[i] = 0;
            for (int64_t i = 0; i < count; i += 4) {
                for (int64_t j = 0; j < 4; j++)
                    four[j] = rows + own[start + (i + j < count ? i + j : i)] * bytes;
                if (bf16)
                    add_bf16(sum, scores + i, (const uint16_t *const *)four, dim);
                else
                    add_fp32(sum, scores + i, (const float *const *)four, dim);
            }
        }
        total[b] = (float)all;
        top[b] = highest;
    }
    return 0;
}
