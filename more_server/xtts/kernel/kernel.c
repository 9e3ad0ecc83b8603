/* All layers of XTTS's GPT-2 for n rows in one call: int8 weights, activations quantised row by row.
 *
 * A row's floats are computed by one thread at a time, by the same code and in an order that depends on that row alone;
 * what is summed for several rows at once are integers. So a row is the same to the bit in any company.
 *
 * The weights lie in one block in the order in which they are read (pack.py writes it): for every layer ln_1's gain and
 * shift, c_attn, c_proj, ln_2, c_fc, c_out; then ln_f, final_norm and the code head. */

#if defined(__x86_64__) && defined(__linux__)

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "attention.h"
#include "products.h"
#include "team.h"

#define UNIT 131072       /* bytes of weights that a thread takes at a time, at most */
#define FETCHED 32768     /* bytes of them that a thread fetches while it waits */
#define QUANTISED_ALONE 2 /* rows up to which each thread quantises all for itself: cheaper than to meet once more */

typedef struct {
    /* the model */
    int32_t layers, width, heads, codes;
    const uint8_t *weights;
    /* the cache in float16: (layers, slots, heads, positions, head width) */
    int32_t slots, positions;
    uint16_t *keys, *values;
    /* the rows */
    int32_t rows, wanted_rows;
    const int32_t *slot, *position, *wanted;
    float *hidden;           /* (rows, width), overwritten */
    float *latents, *logits; /* (wanted rows, width) and (wanted rows, codes) */
    float epsilon;
    /* the threads: at most so many, GOMP_parallel, omp_get_thread_num and omp_get_num_threads */
    int32_t threads;
    uint8_t *scratch;
    void (*parallel)(void (*)(void *), void *, unsigned, unsigned);
    int (*thread_number)(void);
    int (*team_size)(void);
} Call;

typedef struct {
    const Call *call;
    Member member;
    float *wide;            /* (rows, 4 width): queries and what came of them, later c_fc's output; of all threads */
    Quantised *quantised;   /* the rows, `row_stride` apart; of all threads or of each, see QUANTISED_ALONE */
    float *normed, *scores; /* of this thread */
} Worker;

typedef enum { QUERY_KEY_VALUE, ADD, GELU } Finish;

typedef struct {
    Finish finish;
    int layer, inputs, outputs;
    const uint8_t *weights;
} Linear;

static size_t row_stride(const Call *call)
{
    return sizeof(Quantised) + 4 * (size_t)call->width;
}

static int alone(const Call *call)
{
    return call->rows <= QUANTISED_ALONE;
}

/* norm: gain and shift, or null for rows that are quantised as they are; step: from one row to the next. */
AVX512 static void quantise_rows(Worker *worker, const float *rows, int width, int step, const float *norm)
{
    const Call *call = worker->call;
    int next = 0;
    for (;;) {
        const int i = alone(call) ? next++ : take(&worker->member, call->rows);
        if (i < 0 || i >= call->rows)
            return;
        const float *row = rows + (size_t)i * step;
        if (norm) {
            layer_norm(row, norm, call->epsilon, width, worker->normed);
            row = worker->normed;
        }
        quantise(row, width, row_at(worker->quantised, i, row_stride(call)));
    }
}

/* Where sixteen channels of a row go. */
AVX512 static void finish(Worker *worker, const Linear *linear, int row, int channel, __m512 values)
{
    const Call *call = worker->call;
    const int width = call->width, head_width = width / call->heads;
    float *wide = worker->wide + (size_t)row * 4 * width + channel;
    float *hidden = call->hidden + (size_t)row * width + channel;
    if (linear->finish == ADD) {
        _mm512_storeu_ps(hidden, _mm512_add_ps(_mm512_loadu_ps(hidden), values));
    } else if (linear->finish == GELU) {
        _mm512_storeu_ps(wide, gelu(values));
    } else if (channel < width) {
        _mm512_storeu_ps(wide, values);
    } else {
        uint16_t *cache = channel < 2 * width ? call->keys : call->values;
        channel %= width;
        size_t head = ((size_t)linear->layer * call->slots + call->slot[row]) * call->heads + channel / head_width;
        size_t place = (head * call->positions + call->position[row]) * head_width + channel % head_width;
        _mm256_storeu_si256((__m256i *)(cache + place), _mm512_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT));
    }
}

AVX512 static void multiply_tile(Worker *worker, const Linear *linear, int tile)
{
    const Call *call = worker->call;
    const uint8_t *weights = linear->weights + tile * tile_bytes(linear->inputs);
    const float *scales = (const float *)(weights + (size_t)TILE * linear->inputs), *biases = scales + TILE;
    const int blocks = (call->rows + MOST_ROWS - 1) / MOST_ROWS;
    int32_t sums[MOST_ROWS][TILE];
    for (int block = 0; block < blocks; block++) {
        const int first = call->rows * block / blocks, count = call->rows * (block + 1) / blocks - first;
        const Quantised *rows = row_at(worker->quantised, first, row_stride(call));
        products_of(count, rows, row_stride(call), weights, linear->inputs, sums);
        for (int i = 0; i < count; i++)
            for (int half = 0; half < TILE; half += 16) {
                const float scale = row_at(rows, i, row_stride(call))->scale;
                __m512 values = scaled(sums[i] + half, scales + half, biases + half, scale);
                finish(worker, linear, first + i, tile * TILE + half, values);
            }
    }
}

AVX512 static void multiply(Worker *worker, const Linear *linear)
{
    const int tiles = linear->outputs / TILE, share = tiles / worker->member.threads;
    int at_once = UNIT / TILE / linear->inputs;
    if (at_once > share / 4) /* a thread that is done early helps the others */
        at_once = share / 4;
    if (at_once < 1)
        at_once = 1;
    for (int unit; (unit = take(&worker->member, (tiles + at_once - 1) / at_once)) >= 0;)
        for (int tile = unit * at_once; tile < tiles && tile < (unit + 1) * at_once; tile++)
            multiply_tile(worker, linear, tile);
}

/* Rows of a head, then the next head: the rows of one prompt share its keys and values. */
static Head head_of(const Worker *worker, int layer, int unit)
{
    const Call *call = worker->call;
    const int head = unit / call->rows, row = unit % call->rows, head_width = call->width / call->heads;
    size_t place = ((size_t)layer * call->slots + call->slot[row]) * call->heads + head;
    place *= (size_t)call->positions * head_width;
    return (Head){
        .query = worker->wide + (size_t)row * 4 * call->width + head * head_width,
        .keys = call->keys + place,
        .values = call->values + place,
        .count = call->position[row] + 1,
    };
}

static void attend_rows(Worker *worker, int layer)
{
    const Call *call = worker->call;
    const int units = call->rows * call->heads;
    for (int unit = take(&worker->member, units), next; unit >= 0; unit = next) {
        next = take(&worker->member, units);
        const Head head = head_of(worker, layer, unit), following = head_of(worker, layer, next < 0 ? unit : next);
        attend(&head, call->width / call->heads, worker->scores, following.keys);
    }
}

/* Latents of the wanted rows: ln_f, then final_norm. */
AVX512 static void last_norms(Worker *worker, const float *norms)
{
    const Call *call = worker->call;
    for (int i; (i = take(&worker->member, call->wanted_rows)) >= 0;) {
        float *latent = call->latents + (size_t)i * call->width;
        layer_norm(call->hidden + (size_t)call->wanted[i] * call->width, norms, call->epsilon, call->width, latent);
        layer_norm(latent, norms + 2 * call->width, call->epsilon, call->width, latent);
    }
}

AVX512 static void code_head(Worker *worker, const float *weights)
{
    const Call *call = worker->call;
    const int last = call->wanted_rows - 1;
    for (int tile; (tile = take(&worker->member, (call->codes + TILE - 1) / TILE)) >= 0;) {
        const int left = call->codes - tile * TILE, channels = left < TILE ? left : TILE;
        for (int first = 0; first <= last; first += FLOAT_ROWS) {
            const float *rows[FLOAT_ROWS];
            float logits[FLOAT_ROWS][TILE];
            for (int i = 0; i < FLOAT_ROWS; i++)
                rows[i] = call->latents + (size_t)(first + i < last ? first + i : last) * call->width;
            dots(rows, weights + (size_t)tile * TILE * (call->width + 1), call->width, logits);
            for (int i = first; i <= last && i < first + FLOAT_ROWS; i++)
                memcpy(call->logits + (size_t)i * call->codes + tile * TILE, logits[i - first], 4 * channels);
        }
    }
}

/* The phase is over when all are done with it. `inputs` and `outputs` of the layer whose weights are read next. */
static void meet_before(Worker *worker, const uint8_t *weights, int inputs, int outputs)
{
    const Member *member = &worker->member;
    meet(member, weights + share_start(member, member->number, outputs / TILE) * tile_bytes(inputs), FETCHED);
}

/* Layer norm or not, quantise, multiply. Returns what lies behind the weights. */
static const uint8_t *run_linear(Worker *worker, Finish finish, int layer, const uint8_t *weights, int inputs,
                                 int outputs)
{
    const Call *call = worker->call;
    const int from_hidden = finish != ADD; /* then through a layer norm, whose numbers lie before the weights */
    const float *norm = from_hidden ? (const float *)weights : NULL;
    weights += from_hidden ? 2 * sizeof(float) * inputs : 0;
    quantise_rows(worker, from_hidden ? call->hidden : worker->wide, inputs, (from_hidden ? 1 : 4) * call->width, norm);
    if (!alone(call))
        meet_before(worker, weights, inputs, outputs);
    multiply(worker, &(Linear){finish, layer, inputs, outputs, weights});
    return weights + outputs / TILE * tile_bytes(inputs);
}

static void run(Worker *worker)
{
    const Call *call = worker->call;
    const int width = call->width;
    const size_t norm = 2 * sizeof(float) * width;
    const uint8_t *weights = call->weights;
    for (int layer = 0; layer < call->layers; layer++) {
        weights = run_linear(worker, QUERY_KEY_VALUE, layer, weights, width, 3 * width);
        meet_before(worker, weights, width, width);
        attend_rows(worker, layer);
        meet_before(worker, weights, width, width);
        weights = run_linear(worker, ADD, layer, weights, width, width);
        meet_before(worker, weights + norm, width, 4 * width);
        weights = run_linear(worker, GELU, layer, weights, width, 4 * width);
        meet_before(worker, weights, 4 * width, width);
        weights = run_linear(worker, ADD, layer, weights, 4 * width, width);
        meet_before(worker, weights + norm, width, 3 * width);
    }
    last_norms(worker, (const float *)weights);
    meet(&worker->member, weights, 0);
    code_head(worker, (const float *)weights + 4 * width);
}

static uint8_t *carve(uint8_t **free, size_t bytes)
{
    uint8_t *piece = *free;
    *free += (bytes + 63) / 64 * 64;
    return piece;
}

/* Give a thread its places in the scratch memory. Returns the end of all. */
static uint8_t *carve_up(const Call *call, Worker *worker)
{
    const size_t rows = call->rows * row_stride(call), own = (call->width + call->positions + 31) / 16 * 16;
    const int number = worker->member.number, copies = alone(call) ? call->threads : 1;
    uint8_t *free = call->scratch;
    worker->wide = (float *)carve(&free, (size_t)call->rows * 4 * call->width * sizeof(float));
    worker->quantised = (Quantised *)(carve(&free, copies * rows) + number % copies * rows);
    worker->normed = (float *)carve(&free, call->threads * own * sizeof(float)) + number * own;
    worker->scores = worker->normed + call->width;
    return free;
}

typedef struct {
    const Call *call;
    Team team;
} Start;

static void run_thread(void *data)
{
    Start *start = data;
    const Call *call = start->call;
    Worker worker = {.call = call, .member = {&start->team, call->thread_number(), call->team_size()}};
    carve_up(call, &worker);
    run(&worker);
}

/* Bytes of scratch memory for a call, which must start at a multiple of 64. */
size_t gpt_scratch_bytes(const Call *call)
{
    Worker worker = {0};
    return (size_t)(carve_up(call, &worker) - call->scratch);
}

void gpt_forward(const Call *call)
{
    Start start = {.call = call};
    call->parallel(run_thread, &start, call->threads < MOST_THREADS ? (unsigned)call->threads : MOST_THREADS, 0);
}

int gpt_supported(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}

#else

int gpt_supported(void)
{
    return 0;
}

#endif
