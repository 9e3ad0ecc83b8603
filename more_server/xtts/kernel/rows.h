/* What is done to one row: layer norm, quantisation, and the exponential of softmax and GELU. Each takes a row whole,
 * in an order fixed by its width; every product is an explicit fused one, so that no compiler rounds it another way
 * in another place. */

#pragma once

#include <immintrin.h>
#include <math.h>
#include <stdint.h>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
#define INLINE AVX512 static inline __attribute__((always_inline))

/* e^x within 3e-7; 0 for -inf, inf for large x, NaN for NaN (min and max return their second operand then). */
INLINE __m512 exponential(__m512 x)
{
    x = _mm512_min_ps(_mm512_set1_ps(100), _mm512_max_ps(_mm512_set1_ps(-110), x));
    __m512 power = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), 0);
    __m512 rest = _mm512_fnmadd_ps(power, _mm512_set1_ps(0.693359375f), x);
    rest = _mm512_fnmadd_ps(power, _mm512_set1_ps(-2.12194440e-4f), rest);
    __m512 sum = _mm512_set1_ps(1 / 720.f);
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(1 / 120.f));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(1 / 24.f));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(1 / 6.f));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(1 / 2.f));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(1));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(1));
    return _mm512_scalef_ps(sum, power);
}

/* x/2 (1 + tanh(u)) = x / (1 + e^-2u) with u = sqrt(2/pi) (x + 0.044715 x^3) */
INLINE __m512 gelu(__m512 x)
{
    __m512 cubic = _mm512_fmadd_ps(_mm512_mul_ps(x, x), _mm512_set1_ps(-0.0713548163f), _mm512_set1_ps(-1.59576912f));
    __m512 decay = exponential(_mm512_mul_ps(x, cubic));
    return _mm512_div_ps(x, _mm512_add_ps(_mm512_set1_ps(1), decay));
}

INLINE float sum_of(__m512 lanes)
{
    __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(lanes), _mm512_extractf32x8_ps(lanes, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}

/* norm: gain, then shift. In place is allowed. */
AVX512 static void layer_norm(const float *row, const float *norm, float epsilon, int width, float *out)
{
    __m512 sum = _mm512_setzero_ps(), squares = _mm512_setzero_ps();
    for (int i = 0; i < width; i += 16)
        sum = _mm512_add_ps(sum, _mm512_loadu_ps(row + i));
    __m512 mean = _mm512_set1_ps(sum_of(sum) / (float)width);
    for (int i = 0; i < width; i += 16) {
        __m512 centred = _mm512_sub_ps(_mm512_loadu_ps(row + i), mean);
        squares = _mm512_fmadd_ps(centred, centred, squares);
    }
    __m512 scale = _mm512_set1_ps(1 / sqrtf(sum_of(squares) / (float)width + epsilon));
    for (int i = 0; i < width; i += 16) {
        __m512 unit = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(row + i), mean), scale);
        _mm512_storeu_ps(out + i, _mm512_fmadd_ps(unit, _mm512_loadu_ps(norm + i), _mm512_loadu_ps(norm + width + i)));
    }
}

typedef struct {
    float scale;
    int32_t sum; /* of the values: what weights shifted to 0…255 add 128 times too much */
    _Alignas(64) int8_t values[];
} Quantised;

static inline Quantised *row_at(const Quantised *first, int row, size_t stride)
{
    return (Quantised *)((char *)first + row * stride);
}

/* Symmetric, the largest magnitude becomes 127. As integers, magnitudes are ordered with NaN above infinity above all
 * numbers, so that a row which holds one gets it as its scale and every product of the row shows it. */
AVX512 static void quantise(const float *row, int width, Quantised *out)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    __m512i most = _mm512_setzero_si512(), sum = _mm512_setzero_si512();
    for (int i = 0; i < width; i += 16)
        most = _mm512_max_epi32(most, _mm512_and_si512(_mm512_loadu_si512(row + i), magnitude));
    float largest = _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(_mm512_reduce_max_epi32(most))));
    if (largest < 1e-30f) /* and no division by zero for rows of zeros */
        largest = 1e-30f;
    __m512 inverse = _mm512_set1_ps(127 / largest);
    for (int i = 0; i < width; i += 16) {
        __m512i rounded = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(row + i), inverse));
        __m128i bytes = _mm512_cvtsepi32_epi8(rounded);
        _mm_storeu_si128((__m128i *)(out->values + i), bytes);
        sum = _mm512_add_epi32(sum, _mm512_cvtepi8_epi32(bytes));
    }
    out->scale = largest / 127;
    out->sum = _mm512_reduce_add_epi32(sum);
}
