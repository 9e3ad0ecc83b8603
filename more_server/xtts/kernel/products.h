/* Products of quantised rows with one tile of int8 weights: 32 output channels over all inputs.
 *
 * A tile lies in memory as it is read: for every four inputs two vectors of sixteen channels by four inputs, then the
 * channels' scales and biases in float32. Weights are unsigned, shifted by 128, because vpdpbusd wants one side
 * unsigned; rows stay signed, and the 128 times their sum that is too much is taken off before the first product.
 * Integer sums are exact: however rows are grouped, a row's products are the same. */

#pragma once

#include <string.h>

#include "rows.h"

#define TILE 32
#define MOST_ROWS 12 /* 24 of the 32 registers are sums, two hold weights */

typedef int32_t Quad __attribute__((may_alias)); /* four inputs of a row */

static inline size_t tile_bytes(int inputs)
{
    return TILE * ((size_t)inputs + 2 * sizeof(float));
}

/* Sums are variables of their own, for gcc 12 keeps an array of them in memory: half the speed. */
#define EACH(do) do(0) do(1) do(2) do(3) do(4) do(5) do(6) do(7) do(8) do(9) do(10) do(11)

/* first: the first row; the others follow it, each `stride` bytes after the one before. */
INLINE void products(const int rows, const Quantised *first, size_t stride, const uint8_t *weights, int inputs,
                     int32_t sums[][TILE])
{
#define START(i)                                                                                                       \
    const Quantised *row##i = row_at(first, i < rows ? i : 0, stride);                                                 \
    __m512i low##i = _mm512_set1_epi32(-128 * row##i->sum), high##i = low##i;
#define STEP(i)                                                                                                        \
    if (i < rows) {                                                                                                    \
        __m512i values = _mm512_set1_epi32(*(const Quad *)(row##i->values + k));                                       \
        low##i = _mm512_dpbusd_epi32(low##i, left, values);                                                            \
        high##i = _mm512_dpbusd_epi32(high##i, right, values);                                                         \
    }
#define STORE(i)                                                                                                       \
    if (i < rows) {                                                                                                    \
        _mm512_storeu_si512(sums[i], low##i);                                                                          \
        _mm512_storeu_si512(sums[i] + 16, high##i);                                                                    \
    }
    EACH(START)
    /* No prefetching: 2 to 8 KB ahead cost one row 5 to 15 %, and gained nothing at a hundred. */
    for (int k = 0; k < inputs; k += 4, weights += 4 * TILE) {
        __m512i left = _mm512_loadu_si512(weights), right = _mm512_loadu_si512(weights + 64);
        EACH(STEP)
    }
    EACH(STORE)
#undef START
#undef STEP
#undef STORE
}

/* The number of rows as a constant, so that the sums stay in registers. */
AVX512 static void products_of(int rows, const Quantised *first, size_t stride, const uint8_t *weights, int inputs,
                               int32_t sums[][TILE])
{
#define CASE(n)                                                                                                        \
    case n:                                                                                                            \
        products(n, first, stride, weights, inputs, sums);                                                             \
        break;
    switch (rows) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
    }
#undef CASE
}

/* Channels 16 * half … of a row: sums to numbers. */
INLINE __m512 scaled(const int32_t *sums, const float *scales, const float *biases, float row_scale)
{
    __m512 scale = _mm512_mul_ps(_mm512_loadu_ps(scales), _mm512_set1_ps(row_scale));
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_loadu_si512(sums)), scale, _mm512_loadu_ps(biases));
}

/* The code head's tile is in float32: 32 channels for each input, then 32 biases. Every sum runs over the inputs in
 * order. Four rows at once, which cost one row nothing: reading the weights takes longer. */
#define FLOAT_ROWS 4

AVX512 static void dots(const float *const rows[FLOAT_ROWS], const float *weights, int inputs,
                        float products[FLOAT_ROWS][TILE])
{
#define EACH_ROW(do) do(0) do(1) do(2) do(3)
#define START(i) __m512 low##i = _mm512_loadu_ps(biases), high##i = _mm512_loadu_ps(biases + 16);
#define STEP(i)                                                                                                        \
    {                                                                                                                  \
        __m512 value = _mm512_set1_ps(rows[i][k]);                                                                     \
        low##i = _mm512_fmadd_ps(value, left, low##i);                                                                 \
        high##i = _mm512_fmadd_ps(value, right, high##i);                                                              \
    }
#define STORE(i)                                                                                                       \
    _mm512_storeu_ps(products[i], low##i);                                                                             \
    _mm512_storeu_ps(products[i] + 16, high##i);
    const float *biases = weights + (size_t)TILE * inputs;
    EACH_ROW(START)
    for (int k = 0; k < inputs; k++, weights += TILE) {
        __m512 left = _mm512_loadu_ps(weights), right = _mm512_loadu_ps(weights + 16);
        EACH_ROW(STEP)
    }
    EACH_ROW(STORE)
#undef START
#undef STEP
#undef STORE
}
