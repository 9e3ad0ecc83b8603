/* Attention of one row in one head: over the keys and values of its slot up to its position, kept in float16. */

#pragma once

#include "rows.h"

typedef struct {
    float *query; /* and, in its place, what comes out */
    const uint16_t *keys, *values;
    int count; /* positions */
} Head;

INLINE __m512 halves(const uint16_t *address)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)address));
}

/* Sixteen vectors to the vector of their sums, two and two: neighbouring lanes, then pairs of lanes, then quarters. */
INLINE __m512 lanes(__m512 a, __m512 b)
{
    return _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
}

INLINE __m512 pairs(__m512 a, __m512 b)
{
    __m512d c = _mm512_castps_pd(a), d = _mm512_castps_pd(b);
    return _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(c, d)), _mm512_castpd_ps(_mm512_unpackhi_pd(c, d)));
}

INLINE __m512 quarters(__m512 a, __m512 b)
{
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
}

/* query . key for sixteen keys, of which `left` are there: the others are not read and give 0. Key after key, as they
 * lie in memory: a sixteenth of each at a time takes a quarter longer when they come from there. */
INLINE __m512 products_of_keys(const float *query, const uint16_t *keys, const int left, const int head_width)
{
#define EACH(do) \
    do(0) do(1) do(2) do(3) do(4) do(5) do(6) do(7) do(8) do(9) do(10) do(11) do(12) do(13) do(14) do(15)
#define SUM(i)                                                                                                         \
    __m512 sum##i = _mm512_setzero_ps();                                                                               \
    for (int part = 0; part < head_width; part += 16, keys += 16) {                                                    \
        __mmask8 there = i < left ? 0xff : 0;                                                                          \
        __m512 key = left == 16 ? halves(keys) : _mm512_cvtph_ps(_mm256_maskz_loadu_epi32(there, keys));               \
        sum##i = _mm512_fmadd_ps(key, _mm512_loadu_ps(query + part), sum##i);                                          \
    }
    EACH(SUM)
#undef EACH
#undef SUM
    return quarters(quarters(pairs(lanes(sum0, sum1), lanes(sum2, sum3)), pairs(lanes(sum4, sum5), lanes(sum6, sum7))),
                    quarters(pairs(lanes(sum8, sum9), lanes(sum10, sum11)),
                             pairs(lanes(sum12, sum13), lanes(sum14, sum15))));
}

/* scores[i] = query . key i, and -inf behind the last up to a multiple of 16. Returns the largest. Meanwhile the values
 * are fetched into the second cache, as the next head's keys are below: two streams of pages at once, 7 % of a step of
 * eight rows at position 300. */
INLINE float score(const Head *head, const int head_width, float *scores)
{
    __m512 largest = _mm512_set1_ps(-INFINITY);
    int start = 0;
    for (; start + 16 <= head->count; start += 16) {
        const uint16_t *keys = head->keys + (size_t)start * head_width;
        for (int i = 0; i < 16 * head_width; i += 32)
            __builtin_prefetch(head->values + (size_t)start * head_width + i, 0, 2);
        __m512 sums = products_of_keys(head->query, keys, 16, head_width);
        _mm512_storeu_ps(scores + start, sums);
        largest = _mm512_max_ps(largest, sums);
    }
    const int left = head->count - start;
    if (left) {
        __m512 sums = products_of_keys(head->query, head->keys + (size_t)start * head_width, left, head_width);
        sums = _mm512_mask_blend_ps((__mmask16)((1 << left) - 1), _mm512_set1_ps(-INFINITY), sums);
        _mm512_storeu_ps(scores + start, sums);
        largest = _mm512_max_ps(largest, sums);
    }
    return _mm512_reduce_max_ps(largest);
}

/* Scores to e^(score - largest), which are the weights but for their sum. Returns that. */
AVX512 static float soften(float *scores, float largest, int count, int head_width)
{
    const __m512 top = _mm512_set1_ps(largest), scale = _mm512_set1_ps(1 / sqrtf((float)head_width));
    __m512 total = _mm512_setzero_ps();
    for (int i = 0; i < count; i += 16) {
        __m512 below = _mm512_sub_ps(_mm512_loadu_ps(scores + i), top);
        __m512 weights = exponential(_mm512_mul_ps(below, scale));
        _mm512_storeu_ps(scores + i, weights);
        total = _mm512_add_ps(total, weights);
    }
    return sum_of(total);
}

/* The sum of values by their weights, over `total`: `parts` vectors of their width, from `part` on. */
INLINE void mix(const int parts, const Head *head, int part, const float *weights, float total, int head_width,
                const uint16_t *next_keys)
{
#define EACH(do) do(0) do(1) do(2) do(3)
#define START(i) __m512 sum##i = _mm512_setzero_ps();
#define STEP(i)                                                                                                        \
    if (i < parts)                                                                                                     \
        sum##i = _mm512_fmadd_ps(weight, halves(values + 16 * i), sum##i);                                             \
    if (i < parts && i % 2 == 0)                                                                                       \
        __builtin_prefetch(next_keys + 16 * i, 0, 2);
#define STORE(i)                                                                                                       \
    if (i < parts)                                                                                                     \
        _mm512_storeu_ps(head->query + part + 16 * i, _mm512_div_ps(sum##i, _mm512_set1_ps(total)));
    const uint16_t *values = head->values + part;
    next_keys += part;
    EACH(START)
    for (int i = 0; i < head->count; i++, values += head_width, next_keys += head_width) {
        __m512 weight = _mm512_set1_ps(weights[i]);
        EACH(STEP)
    }
    EACH(STORE)
#undef EACH
#undef START
#undef STEP
#undef STORE
}

/* scores: room for as many numbers as positions, rounded up to 16. */
AVX512 static void attend(const Head *head, int head_width, float *scores, const uint16_t *next_keys)
{
    /* The head width of XTTS-v2 and nano as a constant, so that its loops are unrolled. */
    const float largest = head_width == 64 ? score(head, 64, scores) : score(head, head_width, scores);
    const float total = soften(scores, largest, head->count, head_width);
    int part = 0;
    for (; part + 64 <= head_width; part += 64)
        mix(4, head, part, scores, total, head_width, next_keys);
    for (; part + 32 <= head_width; part += 32)
        mix(2, head, part, scores, total, head_width, next_keys);
    for (; part < head_width; part += 16)
        mix(1, head, part, scores, total, head_width, next_keys);
}
