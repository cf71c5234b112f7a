/* The interpreter of integer programs: memory, masks of the pixels to compute, and layers row by row. */
#include "nets_run.h"

#include <string.h>

/* Four-step coding: the quarter of the channels coded at positions of class 2 (y & 1) + (x & 1), by step. */
static const int square[4][4] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {1, 0, 3, 2}, {2, 3, 0, 1}};

/* Packing weights */

/* Adds half of the divisor to the bias, so that the shift rounds at no cost. */
static int32_t rounded_bias(int32_t bias, int shift)
{
    return shift ? bias + (int32_t)(1u << (shift - 1)) : bias;
}

/* Packs bias and shift of the outputs first..first+outputs-1, for each level. */
static int pack_bias(const Kernels *k, const LvcWeights *w, int all, int first, int outputs, int levels, int groups,
                     int32_t **bias, int32_t **shift)
{
    *bias = allocate((size_t)levels * groups * GROUP, sizeof **bias);
    *shift = allocate((size_t)groups * GROUP, sizeof **shift);
    if (*bias == NULL || *shift == NULL)
        return 0;
    for (int at = 0; at < groups * GROUP; at++) {
        int output = at / GROUP * GROUP + lane_channel(k->lanes, at % GROUP);
        if (output >= outputs)
            continue;
        int s = w->shift[first + output];
        (*shift)[at] = k->powers ? 1 << (SHIFTS_MOST - s) : s;
        for (int level = 0; level < levels; level++)
            (*bias)[level * groups * GROUP + at] = rounded_bias(w->bias[(size_t)level * all + first + output], s);
    }
    return 1;
}

/* Packs a matrix for inputs in a row buffer: by source, then tap, with channels rounded up to a whole step. */
static int pack_matrix(const Program *p, Layer *layer, int index, const LvcWeights *w, int all, int first, int outputs,
                       int levels)
{
    const LvcLayer *l = &layer->is;
    Matrix *m = &layer->matrix[index];
    int per_step = l->wide ? 2 : 4, lanes = p->kernels->lanes, inputs = 0;
    m->groups = padded(outputs) / GROUP;
    m->steps = 0;
    for (int s = 0; s < l->sources; s++) {
        int channels = p->tensor[l->source[s]].channels;
        m->steps += layer->taps * ((channels + per_step - 1) / per_step);
        inputs += layer->taps * channels;
    }
    m->weights = allocate((size_t)m->groups * m->steps * GROUP, 4);
    if (m->weights == NULL ||
        !pack_bias(p->kernels, w, all, first, outputs, levels, m->groups, &layer->bias[index], &m->shift))
        return 0;
    m->bias = layer->bias[index];
    for (int at = 0; at < m->groups * GROUP; at++) {
        int group = at / GROUP, output = group * GROUP + lane_channel(lanes, at % GROUP);
        if (output >= outputs)
            continue;
        size_t from = (size_t)(first + output) * inputs;
        int place = 0; /* in the row buffer */
        for (int s = 0; s < l->sources; s++)
            for (int tap = 0; tap < layer->taps; tap++) {
                int channels = p->tensor[l->source[s]].channels;
                for (int c = 0; c < channels; c++, from++) {
                    size_t to = (((size_t)group * m->steps + (place + c) / per_step) * GROUP + at % GROUP) * per_step +
                                (place + c) % per_step;
                    if (l->wide)
                        ((int16_t *)m->weights)[to] = ((const int16_t *)w->weight)[from];
                    else
                        ((int8_t *)m->weights)[to] = ((const int8_t *)w->weight)[from];
                }
                place += (channels + per_step - 1) / per_step * per_step;
            }
    }
    return 1;
}

static int pack_depthwise(const Program *p, Layer *layer, const LvcWeights *w, int channels)
{
    Depthwise *d = &layer->depthwise;
    d->groups = padded(channels) / GROUP;
    d->weights = allocate((size_t)d->groups * 3 * GROUP, 4);
    if (d->weights == NULL || !pack_bias(p->kernels, w, channels, 0, channels, 1, d->groups, &d->bias, &d->shift))
        return 0;
    const int8_t *from = w->weight; /* [row, column, channel] */
    for (int at = 0; at < d->groups * GROUP; at++) {
        int group = at / GROUP, channel = group * GROUP + lane_channel(p->kernels->lanes, at % GROUP);
        for (int column = 0; column < 3 && channel < channels; column++)
            for (int row = 0; row < 3; row++)
                d->weights[((group * 3 + column) * GROUP + at % GROUP) * 4 + row] =
                    from[(row * 3 + column) * channels + channel];
    }
    return 1;
}

static int pack_layer(const Program *p, Layer *layer)
{
    const LvcLayer *l = &layer->is;
    const int taps[] = {1, 4, 1, 9};
    layer->taps = l->op == OP_CONV ? taps[l->mode] : 1;
    /* writes to the last part of a row buffer may be rounded up to a whole group */
    int per_step = l->wide ? 2 : 4, place = 0, end = 0;
    for (int s = 0; s < l->sources; s++) {
        int channels = p->tensor[l->source[s]].channels;
        for (int tap = 0; tap < layer->taps; tap++) {
            if (place + padded(channels) > end)
                end = place + padded(channels);
            place += (channels + per_step - 1) / per_step * per_step;
        }
    }
    layer->row = padded(end);
    int levels = l->level_rows, c = l->outputs;
    if (l->op == OP_DEPTHWISE)
        return pack_depthwise(p, layer, &l->part[0], c);
    if (l->op == OP_BLOCK)
        return pack_matrix(p, layer, 0, &l->part[0], c, 0, c, 1) && pack_depthwise(p, layer, &l->part[1], c) &&
               pack_matrix(p, layer, 1, &l->part[2], c, 0, c, 1) && pack_matrix(p, layer, 2, &l->part[3], 2 * c, 0, c, 1) &&
               pack_matrix(p, layer, 3, &l->part[3], 2 * c, c, c, 1) && pack_matrix(p, layer, 4, &l->part[4], c, 0, c, 1);
    if (l->op != OP_CONV)
        return 1;
    if (l->step < 0 && l->mode != MODE_UP2)
        return pack_matrix(p, layer, 0, &l->part[0], c, 0, c, levels);
    /* four matrices: for quarters of the outputs, or for the four pixels that one becomes */
    int each = l->mode == MODE_UP2 ? c : c / 4;
    for (int i = 0; i < 4; i++)
        if (!pack_matrix(p, layer, i, &l->part[0], 4 * each, i * each, each, levels))
            return 0;
    return 1;
}

/* Bytes per column of a worker's row buffers for a layer. */
static size_t scratch_of(const Layer *layer)
{
    const LvcLayer *l = &layer->is;
    size_t c = (size_t)padded(l->outputs);
    if (l->op == OP_BLOCK)
        return 10 * c + 4; /* x, three rows of A, d, u, g, int16 t, flags */
    if (l->op == OP_DEPTHWISE)
        return 3 * c + 4;
    return (size_t)layer->row * (l->wide ? 2 : 1) + 4;
}

/* A copy of an array. */
static void *copied(const void *from, size_t count, size_t size)
{
    void *to = allocate(count, size);
    if (to != NULL && count)
        memcpy(to, from, count * size);
    return to;
}

void program_free(Program *p)
{
    if (p == NULL)
        return;
    for (int i = 0; p->layer && i < p->layers; i++) {
        Layer *layer = &p->layer[i];
        for (int m = 0; m < 6; m++) {
            free(layer->matrix[m].weights);
            free(layer->matrix[m].shift);
            free(layer->bias[m]);
        }
        free(layer->depthwise.weights);
        free(layer->depthwise.bias);
        free(layer->depthwise.shift);
        free((void *)layer->is.gain);
        free((void *)layer->is.gain_shift);
        if (layer->is.op == OP_HYPER)
            free((void *)layer->is.part[0].shift);
    }
    free(p->layer);
    free(p->tensor);
    free(p->input);
    free(p->output);
    free(p->table);
    free(p);
}

static int keep_tables(Program *p, const LvcTables *tables)
{
    p->table = allocate(TABLES, sizeof *p->table);
    if (p->table == NULL)
        return 0;
    const uint32_t *at = tables->frequencies;
    for (int i = 1; i < TABLES; i++) {
        p->reach[i] = tables->reach[i];
        int symbols = 2 * tables->reach[i] + 2;
        if (!rans_table_make(&p->table[i], at, symbols))
            return 0;
        at += symbols;
    }
    return 1;
}

static int keep_layer(Program *p, Layer *layer, const LvcLayer *given)
{
    layer->is = *given;
    LvcLayer *l = &layer->is;
    l->gain = NULL;
    l->gain_shift = NULL;
    if (l->op == OP_HYPER)
        l->part[0].shift = NULL;
    int ok = pack_layer(p, layer);
    if (ok && l->op == OP_GAIN) {
        l->gain = copied(given->gain, (size_t)l->level_rows * l->outputs, sizeof *l->gain);
        l->gain_shift = copied(given->gain_shift, (size_t)l->level_rows, 1);
        ok = l->gain != NULL && l->gain_shift != NULL;
    }
    if (ok && l->op == OP_HYPER)
        ok = (l->part[0].shift = copied(given->part[0].shift, (size_t)l->level_rows * l->outputs, 1)) != NULL;
    if (scratch_of(layer) > p->scratch_pixel)
        p->scratch_pixel = scratch_of(layer);
    return ok;
}

/* Makes a program. NULL: no memory, or invalid tables. All arguments are copied. */
LVC_API Program *lvc_program_new(int isa, int levels, const LvcTensor *tensors, int tensor_count,
                                 const LvcLayer *layers, int layer_count, const int32_t *inputs, int input_count,
                                 const int32_t *outputs, int output_count, const LvcTables *tables)
{
    Program *p = allocate(1, sizeof *p);
    if (p == NULL)
        return NULL;
    p->kernels = kernels_of((Isa)isa);
    p->levels = levels;
    p->tensors = tensor_count;
    p->layers = layer_count;
    p->inputs = input_count;
    p->outputs = output_count;
    p->tensor = copied(tensors, (size_t)tensor_count, sizeof *tensors);
    p->input = copied(inputs, (size_t)input_count, sizeof *inputs);
    p->output = copied(outputs, (size_t)output_count, sizeof *outputs);
    p->layer = allocate((size_t)layer_count, sizeof *p->layer);
    int ok = p->tensor && p->input && p->output && p->layer && (tables == NULL || keep_tables(p, tables));
    for (int i = 0; ok && i < layer_count; i++)
        ok = keep_layer(p, &p->layer[i], &layers[i]);
    if (!ok) {
        program_free(p);
        return NULL;
    }
    return p;
}

LVC_API void lvc_program_free(Program *p)
{
    program_free(p);
}

LVC_API Workspace *lvc_workspace_new(void)
{
    return calloc(1, sizeof(Workspace));
}

LVC_API void lvc_workspace_free(Workspace *w)
{
    if (w)
        free(w->memory);
    free(w);
}

/* Reads a layer's inputs into a row buffer */

/* Pixels of one row: sx(i) = first + i * by, clamped to the row. Unclamped pixels are read as one run. */
typedef struct {
    int first, by, count;
} Walk;

static void read_wide(const int16_t *t, ptrdiff_t t_stride, int16_t *x, ptrdiff_t x_stride, int count, int channels,
                      int shift, int limit)
{
    int half = shift ? 1 << (shift - 1) : 0;
    for (int i = 0; i < count; i++)
        for (int c = 0; c < channels; c++) {
            int v = (t[i * t_stride + c] + half) >> shift;
            x[i * x_stride + c] = (int16_t)(v < -limit ? -limit : v > limit ? limit : v);
        }
}

/* Reads `count` pixels of a source, `by` apart, into the row buffer at `x`. */
static void read_pixels(const State *s, int source, const uint8_t *row, int sx, int by, int count, void *x)
{
    const Layer *layer = s->layer;
    const LvcLayer *l = &layer->is;
    const LvcTensor *t = &s->p->tensor[l->source[source]];
    ptrdiff_t stride = padded(t->channels);
    if (l->wide) {
        read_wide((const int16_t *)(const void *)row + sx * stride, by * stride, x, layer->row, count,
                  padded(t->channels), l->shift[source], l->limit);
    } else if (t->kind == KIND_S16) {
        s->p->kernels->quantise((const int16_t *)(const void *)row + sx * stride, by * stride, x, layer->row, count,
                                t->channels, l->shift[source], l->zero[source]);
    } else {
        for (int i = 0; i < count; i++)
            memcpy((uint8_t *)x + (size_t)i * layer->row, row + (sx + i * by) * stride, (size_t)stride);
    }
}

static void read_row(const State *s, int source, const uint8_t *row, int width, Walk walk, uint8_t *x)
{
    size_t pixel = (size_t)s->layer->row * (s->layer->is.wide ? 2 : 1);
    int i = 0;
    while (i < walk.count) {
        int sx = walk.first + i * walk.by, n = 1;
        if (sx < 0)
            sx = 0;
        else if (sx >= width)
            sx = width - 1;
        else
            n = (width - 1 - sx) / walk.by + 1;
        if (n > walk.count - i)
            n = walk.count - i;
        read_pixels(s, source, row, sx, walk.by, n, x + i * pixel);
        i += n;
    }
}

/* Reads all inputs of `count` output pixels x, x + by, ... of row y. Edge pixels are repeated. */
static void read_inputs(const State *s, int y, int x, int by, int count, uint8_t *buffer)
{
    const LvcLayer *l = &s->layer->is;
    const int side[] = {1, 2, 1, 3}, stride[] = {1, 2, 1, 2}, before[] = {0, 0, 0, 1};
    int per_step = l->wide ? 2 : 4, place = 0, k = side[l->mode];
    for (int source = 0; source < l->sources; source++) {
        const LvcTensor *t = &s->p->tensor[l->source[source]];
        int height = rows_of(s, t->scale), width = columns_of(s, t->scale);
        for (int tap = 0; tap < s->layer->taps; tap++) {
            int sy = y * stride[l->mode] + tap / k - before[l->mode];
            sy = sy < 0 ? 0 : sy >= height ? height - 1 : sy;
            Walk walk = {x * stride[l->mode] + tap % k - before[l->mode], by * stride[l->mode], count};
            read_row(s, source, row_of(s, l->source[source], sy), width, walk,
                     buffer + (size_t)place * (l->wide ? 2 : 1));
            place += (t->channels + per_step - 1) / per_step * per_step;
        }
    }
}

/* Convolutions */

static void multiply(const State *s, int index, const uint8_t *x, ptrdiff_t stride, int count, const Stage *stage)
{
    Matrix m = s->layer->matrix[index];
    m.bias += (ptrdiff_t)level_row(s) * m.groups * GROUP;
    if (s->layer->is.wide)
        s->p->kernels->matrix16(&m, (const int16_t *)(const void *)x, stride, count, stage);
    else
        s->p->kernels->matrix(&m, x, stride, count, stage);
}

/* The output stage for the pixels x, x + by, ... of row y of the layer's output. */
static Stage stage_at(const State *s, int y, int x, int by)
{
    const LvcLayer *l = &s->layer->is;
    const LvcTensor *t = &s->p->tensor[l->out];
    int kind = t->kind == KIND_U7 ? STAGE_U7 : l->add >= 0 ? STAGE_ADD : STAGE_S16;
    Stage stage = {.kind = kind, .leaky = l->leaky, .zero = l->out_zero, .high = l->high};
    stage.out = row_of(s, l->out, y) + x * pixel_bytes(t);
    stage.out_stride = by * (ptrdiff_t)padded(t->channels);
    if (l->add >= 0) {
        stage.add = (const int16_t *)(const void *)(row_of(s, l->add, y) + x * pixel_bytes(t));
        stage.add_stride = stage.out_stride;
    }
    return stage;
}

/* Turns each input pixel into 2x2 output pixels, within the picture. */
static void shuffle_run(const State *s, int y, int x, int count, const uint8_t *in, ptrdiff_t stride)
{
    int scale = s->p->tensor[s->layer->is.out].scale, height = rows_of(s, scale), width = columns_of(s, scale);
    for (int i = 0; i < 4; i++) {
        int oy = 2 * y + i / 2, ox = 2 * x + i % 2;
        int n = (width - ox + 1) / 2;
        if (oy >= height || n < 1)
            continue;
        Stage stage = stage_at(s, oy, ox, 2);
        multiply(s, i, in, stride, n < count ? n : count, &stage);
    }
}

static void conv_run(const State *s, int y, int x, int count, uint8_t *scratch)
{
    const LvcLayer *l = &s->layer->is;
    ptrdiff_t stride = s->layer->row;
    if (l->step >= 0) { /* the quarter depends on the parity of x */
        for (int parity = 0; parity < 2; parity++) {
            int first = x + ((x & 1) != parity), n = (x + count - first + 1) / 2;
            if (first >= x + count)
                continue;
            read_inputs(s, y, first, 2, n, scratch);
            Stage stage = stage_at(s, y, first, 2);
            multiply(s, square[l->step][2 * (y & 1) + parity], scratch, stride, n, &stage);
        }
        return;
    }
    const LvcTensor *t = &s->p->tensor[l->source[0]];
    const uint8_t *in = scratch;
    if (l->sources == 1 && s->layer->taps == 1 && t->kind == KIND_U7) {
        in = row_of(s, l->source[0], y) + x * pixel_bytes(t); /* as it lies */
        stride = padded(t->channels);
    } else {
        read_inputs(s, y, x, 1, count, scratch);
    }
    if (l->mode == MODE_UP2) {
        shuffle_run(s, y, x, count, in, stride);
        return;
    }
    Stage stage = stage_at(s, y, x, 1);
    multiply(s, 0, in, stride, count, &stage);
}

static void depthwise_run(const State *s, int y, int x, int count, uint8_t *scratch)
{
    const LvcLayer *l = &s->layer->is;
    const LvcTensor *t = &s->p->tensor[l->source[0]];
    size_t c = (size_t)padded(t->channels);
    const uint8_t *rows[3];
    for (int r = 0; r < 3; r++) {
        uint8_t *row = scratch + (size_t)r * (s->columns + 2) * c;
        rows[r] = row;
        int sy = y + r - 1, left = x > 0, right = x + count < s->columns;
        if (sy < 0 || sy >= s->rows) {
            memset(row, l->zero[0], (size_t)(count + 2) * c);
            continue;
        }
        memset(row, l->zero[0], c);
        memset(row + (size_t)(count + 1) * c, l->zero[0], c);
        memcpy(row + (left ? 0 : c), row_of(s, l->source[0], sy) + (x - left) * c, (size_t)(count + left + right) * c);
    }
    Stage stage = stage_at(s, y, x, 1);
    s->p->kernels->depthwise(&s->layer->depthwise, rows, (ptrdiff_t)c, count, &stage);
}

static int saturated(int v)
{
    return v < -32768 ? -32768 : v > 32767 ? 32767 : v;
}

static void gain_run(const State *s, int y, int x, int count, uint8_t *scratch)
{
    (void)scratch;
    const LvcLayer *l = &s->layer->is;
    const int16_t *gain = l->gain + (size_t)level_row(s) * l->outputs;
    int shift = l->gain_shift[level_row(s)], half = shift ? 1 << (shift - 1) : 0, c = padded(l->outputs);
    const int16_t *from = (const int16_t *)(const void *)row_of(s, l->source[0], y) + (ptrdiff_t)x * c;
    int16_t *to = (int16_t *)(void *)row_of(s, l->out, y) + (ptrdiff_t)x * c;
    const int16_t *add = l->add < 0 ? NULL : (const int16_t *)(const void *)row_of(s, l->add, y) + (ptrdiff_t)x * c;
    for (int i = 0; i < count; i++, from += c, to += c)
        VECTORISED
        for (int channel = 0; channel < l->outputs; channel++)
            to[channel] = (int16_t)saturated(((from[channel] * gain[channel] + half) >> shift) +
                                             (add ? add[(size_t)i * c + channel] : 0));
}

/* Blocks: five layers fused row by row, so that intermediate values stay in the cache */

typedef struct {
    const State *s;
    size_t c;                                 /* padded channels */
    uint8_t *x, *a, *d, *u, *g, *flags;       /* one row each; of A three, with one more pixel on both sides */
    int16_t *t;
} BlockRows;

static BlockRows block_rows(const State *s, uint8_t *scratch)
{
    size_t c = (size_t)padded(s->layer->is.outputs), w = (size_t)s->columns;
    BlockRows b = {.s = s, .c = c, .t = (int16_t *)(void *)scratch};
    b.x = scratch + 2 * w * c;
    b.d = b.x + w * c;
    b.u = b.d + w * c;
    b.g = b.u + w * c;
    b.a = b.g + w * c;
    b.flags = b.a + 3 * (w + 2) * c;
    return b;
}

static uint8_t *a_row(const BlockRows *b, int y)
{
    return b->a + (size_t)((y + 3) % 3) * (b->s->columns + 2) * b->c;
}

static void quantise_trunk(const BlockRows *b, int which, const int16_t *t, int count)
{
    const LvcLayer *l = &b->s->layer->is;
    b->s->p->kernels->quantise(t, (ptrdiff_t)b->c, b->x, (ptrdiff_t)b->c, count, l->outputs, l->shift[which],
                               l->zero[which]);
}

/* The first layer for the pixels x..x+count-1 of row y. */
static void block_first(const BlockRows *b, int y, int x, int count)
{
    const State *s = b->s;
    ptrdiff_t c = (ptrdiff_t)b->c;
    quantise_trunk(b, 0, (const int16_t *)(const void *)row_of(s, s->layer->is.source[0], y) + x * c, count);
    Stage stage = {.kind = STAGE_U7, .leaky = 1, .zero = s->layer->is.block_zero[0], .high = 127};
    stage.out = a_row(b, y) + (x + 1) * c;
    stage.out_stride = c;
    s->p->kernels->matrix(&s->layer->matrix[0], b->x, c, count, &stage);
}

/* The other four. */
static void block_rest(const BlockRows *b, int y, int x, int count)
{
    const State *s = b->s;
    const Kernels *k = s->p->kernels;
    const LvcLayer *l = &s->layer->is;
    ptrdiff_t c = (ptrdiff_t)b->c;
    const uint8_t *rows[3];
    for (int r = 0; r < 3; r++)
        rows[r] = a_row(b, y + r - 1) + x * c;
    Stage stage = {.kind = STAGE_U7, .zero = l->block_zero[1], .high = 127, .out = b->d, .out_stride = c};
    k->depthwise(&s->layer->depthwise, rows, c, count, &stage);
    stage = (Stage){.kind = STAGE_ADD, .out = b->t, .out_stride = c, .add_stride = c};
    stage.add = (const int16_t *)(const void *)row_of(s, l->source[0], y) + x * c;
    k->matrix(&s->layer->matrix[1], b->d, c, count, &stage);
    quantise_trunk(b, 1, b->t, count);
    stage = (Stage){.kind = STAGE_S8, .leaky = 1, .out = b->u, .out_stride = c};
    k->matrix(&s->layer->matrix[2], b->x, c, count, &stage);
    stage = (Stage){.kind = STAGE_GATE, .zero = l->block_zero[2], .high = 127, .out = b->g, .out_stride = c};
    stage.gate = (const int8_t *)b->u;
    stage.gate_stride = c;
    stage.gate_shift = l->gate_shift;
    k->matrix(&s->layer->matrix[3], b->x, c, count, &stage);
    stage = (Stage){.kind = STAGE_ADD, .out_stride = c, .add = b->t, .add_stride = c};
    stage.out = (int16_t *)(void *)row_of(s, l->out, y) + x * c;
    k->matrix(&s->layer->matrix[4], b->g, c, count, &stage);
}

int next_set(const uint8_t *flags, int x, int columns)
{
    for (uint64_t eight; x + 8 <= columns; x += 8) {
        memcpy(&eight, flags + x, sizeof eight);
        if (eight)
            break;
    }
    while (x < columns && !flags[x])
        x++;
    return x;
}

void each_run(const uint8_t *flags, int columns, int y, RunFunction run, const void *context)
{
    if (flags == NULL) {
        run(context, y, 0, columns);
        return;
    }
    for (int x = 0; (x = next_set(flags, x, columns)) < columns;) {
        int end = x + 1;
        while (end < columns && flags[end])
            end++;
        run(context, y, x, end - x);
        x = end;
    }
}

static void first_run(const void *b, int y, int x, int count)
{
    block_first(b, y, x, count);
}

static void rest_run(const void *b, int y, int x, int count)
{
    block_rest(b, y, x, count);
}

static const uint8_t *mask_row(const State *s, int y)
{
    return s->mask ? s->mask + (size_t)y * s->columns : NULL;
}

/* The first layer must also be computed around each pixel of the other layers. */
static const uint8_t *first_flags(const BlockRows *b, int y, int top, int bottom)
{
    const State *s = b->s;
    if (s->mask == NULL)
        return NULL;
    memset(b->flags, 0, (size_t)s->columns);
    for (int near = y - 1; near <= y + 1; near++)
        for (int x = 0; near >= top && near < bottom && x < s->columns; x++)
            if (mask_row(s, near)[x]) {
                b->flags[x] = 1;
                if (x > 0)
                    b->flags[x - 1] = 1;
                if (x + 1 < s->columns)
                    b->flags[x + 1] = 1;
            }
    return b->flags;
}

static void block_band(const State *s, int top, int bottom, uint8_t *scratch)
{
    BlockRows b = block_rows(s, scratch);
    int zero = s->layer->is.block_zero[0];
    memset(b.a, zero, 3 * (size_t)(s->columns + 2) * b.c);
    for (int y = top - 1; y <= bottom; y++) {
        if (y >= 0 && y < s->rows)
            each_run(first_flags(&b, y, top, bottom), s->columns, y, first_run, &b);
        else
            memset(a_row(&b, y), zero, (size_t)(s->columns + 2) * b.c);
        if (y > top)
            each_run(mask_row(s, y - 1), s->columns, y - 1, rest_run, &b);
    }
}

/* Runs layers in bands of rows, shared among threads */

typedef struct {
    const State *s;
    uint8_t *scratch;
} Band;

static void simple_run(const void *context, int y, int x, int count)
{
    const Band *band = context;
    switch (band->s->layer->is.op) {
    case OP_CONV: conv_run(band->s, y, x, count, band->scratch); break;
    case OP_DEPTHWISE: depthwise_run(band->s, y, x, count, band->scratch); break;
    default: gain_run(band->s, y, x, count, band->scratch);
    }
}

static void run_band(void *context, int task, int worker)
{
    const State *s = context;
    int top = (int)((int64_t)s->rows * task / s->bands), bottom = (int)((int64_t)s->rows * (task + 1) / s->bands);
    Band band = {s, s->scratch + (size_t)worker * s->scratch_bytes};
    if (s->layer->is.op == OP_BLOCK) {
        block_band(s, top, bottom, band.scratch);
        return;
    }
    for (int y = top; y < bottom; y++)
        each_run(mask_row(s, y), s->columns, y, simple_run, &band);
}

/* Symbols */

/* Codes a symbol, with an escape beyond the table's reach. Returns a value within SYMBOL_MAX, whatever is read. */
static int code_symbol(const Program *p, Rans *rans, int index, int q)
{
    int reach = p->reach[index], size = q < 0 ? -q : q;
    int symbol = rans_code_symbol(rans, &p->table[index], size > reach ? 2 * reach + 1 : q + reach);
    if (symbol <= 2 * reach)
        return symbol - reach;
    int sign = (int)rans_code_raw(rans, 1, q < 0);
    uint32_t more = rans_code_golomb(rans, 2, size > reach ? (uint32_t)(size - reach - 1) : 0);
    size = more > SYMBOL_MAX ? SYMBOL_MAX : reach + 1 + (int)more;
    size = size > SYMBOL_MAX ? SYMBOL_MAX : size;
    return sign ? -size : size;
}

static int clamped(int v, int limit)
{
    return v < -limit ? -limit : v > limit ? limit : v;
}

/* (y - mean) in whole steps: adds `rounding` sixteenths to the absolute value, then truncates. */
static int quantised(int y, int mean, int rounding)
{
    int d = y - mean, size = ((d < 0 ? -d : d) + rounding) >> MEAN_BITS;
    return clamped(d < 0 ? -size : size, SYMBOL_MAX);
}

static void code_latents(const State *s)
{
    const LvcLayer *l = &s->layer->is;
    const LvcTensor *t = &s->p->tensor[l->out];
    int m = t->channels, quarter = m / 4;
    if (l->step == 0)
        memset(s->tensor[l->out], 0, (size_t)s->rows * s->columns * pixel_bytes(t));
    for (int y = 0; y < s->rows; y++)
        for (int x = 0; x < s->columns; x++) {
            size_t at = (size_t)y * s->columns + x;
            if (s->run->coded && !s->run->coded[at])
                continue;
            int first = square[l->step][2 * (y & 1) + (x & 1)] * quarter;
            const int16_t *mean = (const int16_t *)(const void *)s->tensor[l->source[0]] + at * padded(quarter);
            const uint8_t *index = s->tensor[l->source[1]] + at * padded(quarter);
            int16_t *value = (int16_t *)(void *)s->tensor[l->out] + at * padded(m) + first;
            const int16_t *wanted = s->run->y ? s->run->y + at * m + first : NULL;
            for (int c = 0; c < quarter; c++) {
                int q = 0;
                if (index[c] && s->run->rans == NULL) {
                    q = clamped(s->run->symbols[at * m + first + c], SYMBOL_MAX);
                } else if (index[c]) {
                    if (wanted)
                        q = quantised(wanted[c], mean[c], s->run->rounding ? s->run->rounding[index[c]] : 8);
                    q = code_symbol(s->p, s->run->rans, index[c], q);
                }
                value[c] = (int16_t)saturated(q * (1 << MEAN_BITS) + mean[c]);
                if (s->run->symbols)
                    s->run->symbols[at * m + first + c] = (int16_t)q;
                if (s->run->tables)
                    s->run->tables[at * m + first + c] = index[c];
            }
        }
}

/* 1 if any block covered by a hyper-latent has symbols. */
static int hyper_coded(const State *s, int y, int x, int scale)
{
    int height = s->run->rows / 2, width = s->run->columns / 2, by = 1 << (scale - SCALE_BASE - 1);
    if (s->run->coded == NULL)
        return 1;
    for (int j = y * by; j < (y + 1) * by && j < height; j++)
        for (int i = x * by; i < (x + 1) * by && i < width; i++)
            if (s->run->coded[(size_t)j * width + i])
                return 1;
    return 0;
}

static void code_hyper(const State *s)
{
    const LvcLayer *l = &s->layer->is;
    const LvcTensor *t = &s->p->tensor[l->out];
    const uint8_t *index = l->part[0].shift + (size_t)level_row(s) * l->outputs; /* a table for each channel */
    memset(s->tensor[l->out], 0, (size_t)s->rows * s->columns * pixel_bytes(t));
    for (int y = 0; y < s->rows; y++)
        for (int x = 0; x < s->columns; x++) {
            if (!hyper_coded(s, y, x, t->scale))
                continue;
            size_t at = (size_t)y * s->columns + x;
            int16_t *value = (int16_t *)(void *)s->tensor[l->out] + at * padded(t->channels);
            for (int c = 0; c < t->channels; c++) {
                int16_t *z = s->run->z ? s->run->z + at * t->channels + c : NULL;
                int q = z ? clamped(*z, SYMBOL_MAX) : 0;
                value[c] = (int16_t)(index[c] && s->run->rans ? code_symbol(s->p, s->run->rans, index[c], q) : index[c] ? q : 0);
                if (z)
                    *z = value[c];
            }
        }
}

/* Finds what must be computed, from the outputs backwards */

/* Marks in `to`, the mask of a source at `scale`, the pixels that a layer reads for pixel (y, x). */
static void mark(const State *s, const LvcLayer *l, uint8_t *to, int scale, int y, int x)
{
    int height = rows_of(s, scale), width = columns_of(s, scale), first_y = y, first_x = x, side = 1;
    if (l->op == OP_DEPTHWISE || l->op == OP_BLOCK) {
        first_y = y - 1, first_x = x - 1, side = 3;
    } else if (l->mode == MODE_DOWN2 || l->mode == MODE_DOWN3) {
        int before = l->mode == MODE_DOWN3;
        first_y = 2 * y - before, first_x = 2 * x - before, side = 2 + before;
    }
    for (int j = first_y; j < first_y + side; j++)
        for (int i = first_x; i < first_x + side; i++) {
            int inside_y = j < 0 ? 0 : j >= height ? height - 1 : j, inside_x = i < 0 ? 0 : i >= width ? width - 1 : i;
            to[(size_t)inside_y * width + inside_x] = 1;
        }
}

/* Marks the wanted pixels of a tensor, from a mask of 2x2 blocks at 1/8. */
static void mark_blocks(const State *s, uint8_t *to, int scale, const uint8_t *blocks)
{
    int height = rows_of(s, scale), width = columns_of(s, scale), columns = s->run->columns / 2;
    if (blocks == NULL) {
        memset(to, 1, (size_t)height * width);
        return;
    }
    for (int j = 0; j < s->run->rows / 2; j++)
        for (int i = 0; i < columns; i++) {
            if (!blocks[(size_t)j * columns + i])
                continue;
            if (scale == SCALE_BASE) {
                uint8_t *at = to + (size_t)2 * j * width + 2 * i;
                at[0] = at[1] = at[width] = at[width + 1] = 1;
            } else {
                int by = scale - SCALE_BASE - 1;
                to[(size_t)(j >> by) * width + (i >> by)] = 1;
            }
        }
}

/* Marks the pixels of which one of four at twice the resolution is marked. */
static void any_of_four(uint8_t *to, int height, int width, const uint8_t *from, int from_height, int from_width)
{
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            uint8_t any = 0;
            for (int k = 0; k < 4; k++)
                if (2 * y + k / 2 < from_height && 2 * x + k % 2 < from_width)
                    any |= from[(size_t)(2 * y + k / 2) * from_width + 2 * x + k % 2];
            to[(size_t)y * width + x] = any;
        }
}

void plan_work(State *s, uint8_t **need)
{
    const Program *p = s->p;
    for (int i = 0; i < p->outputs; i++)
        mark_blocks(s, need[p->output[i]], p->tensor[p->output[i]].scale, s->run->wanted);
    for (int i = p->layers - 1; i >= 0; i--) {
        const LvcLayer *l = &p->layer[i].is;
        int scale = walk_scale(p, l), height = rows_of(s, scale), width = columns_of(s, scale);
        if (l->op == OP_HYPER)
            continue;
        if (l->op == OP_CODE) {
            for (int k = 0; k < 2; k++)
                mark_blocks(s, need[l->source[k]], scale, s->run->coded);
            continue;
        }
        uint8_t *work = s->work[i];
        const uint8_t *out = need[l->out];
        int out_scale = p->tensor[l->out].scale, out_height = rows_of(s, out_scale), out_width = columns_of(s, out_scale);
        if (scale == out_scale)
            memcpy(work, out, (size_t)height * width);
        else
            any_of_four(work, height, width, out, out_height, out_width);
        for (int y = 0; y < height; y++)
            for (int x = 0; (x = next_set(work + (size_t)y * width, x, width)) < width; x++) {
                for (int k = 0; k < l->sources; k++)
                    mark(s, l, need[l->source[k]], p->tensor[l->source[k]].scale, y, x);
                if (l->add < 0)
                    continue;
                for (int k = 0; k < (scale == out_scale ? 1 : 4); k++) { /* as the output */
                    int oy = scale == out_scale ? y : 2 * y + k / 2, ox = scale == out_scale ? x : 2 * x + k % 2;
                    if (oy < out_height && ox < out_width)
                        need[l->add][(size_t)oy * out_width + ox] = 1;
                }
            }
    }
}

/* Memory of a run: tensors that do not live at the same time share it */

/* Places a tensor at the first gap among those placed before. */
static size_t place_tensor(Place *place, int count, int which)
{
    Place *mine = &place[which];
    mine->at = 0;
    for (int moved = 1; moved;) {
        moved = 0;
        for (int i = 0; i < count; i++) {
            const Place *other = &place[i];
            if (i == which || other->bytes == 0 || other->to < mine->from || mine->to < other->from ||
                other->at + other->bytes <= mine->at || mine->at + mine->bytes <= other->at)
                continue;
            mine->at = other->at + other->bytes;
            moved = 1;
        }
    }
    return mine->at + mine->bytes;
}

static void live(Place *place, int tensor, int layer)
{
    if (layer < place[tensor].from)
        place[tensor].from = layer;
    if (layer > place[tensor].to)
        place[tensor].to = layer;
}

static size_t tensor_bytes(const State *s, const LvcTensor *t, size_t sample)
{
    size_t pixel = sample ? sample * (size_t)padded(t->channels) : pixel_bytes(t);
    return aligned((size_t)rows_of(s, t->scale) * columns_of(s, t->scale) * pixel);
}

void find_lifetimes(const State *s, Place *place)
{
    const Program *p = s->p;
    for (int i = 0; i < p->tensors; i++)
        place[i] = (Place){0, 0, p->layers + 1, -1};
    for (int i = 0; i < p->inputs; i++)
        live(place, p->input[i], 0);
    for (int i = 0; i < p->outputs; i++)
        live(place, p->output[i], p->layers);
    for (int i = 0; i < p->layers; i++) {
        const LvcLayer *l = &p->layer[i].is;
        live(place, l->out, i);
        if (l->add >= 0)
            live(place, l->add, i);
        for (int k = 0; k < l->sources; k++)
            live(place, l->source[k], i);
    }
    for (int i = 0; i < p->inputs + p->outputs; i++) {
        int tensor = i < p->inputs ? p->input[i] : p->output[i - p->inputs];
        if (as_given(&p->tensor[tensor]))
            place[tensor].to = -1;
    }
}

size_t place_tensors(const State *s, Place *place, size_t sample)
{
    const Program *p = s->p;
    size_t all = 0;
    for (int i = 0; i < p->tensors; i++) {
        size_t bytes = tensor_bytes(s, &p->tensor[i], sample), end;
        if (place[i].to < 0)
            continue;
        /* only earlier tensors can overlap: later ones have no bytes yet */
        place[i].bytes = bytes;
        end = place_tensor(place, i, i);
        all = end > all ? end : all;
    }
    return all;
}

int workspace_has(Workspace *w, size_t bytes)
{
    if (w->bytes >= bytes)
        return 1;
    free(w->memory);
    w->memory = malloc(bytes);
    w->bytes = w->memory ? bytes : 0;
    return w->memory != NULL;
}

void copy_channels(const State *s, int tensor, const void *from, void *to)
{
    const LvcTensor *t = &s->p->tensor[tensor];
    size_t pixels = (size_t)rows_of(s, t->scale) * columns_of(s, t->scale), own = pixel_bytes(t);
    size_t plain = (size_t)t->channels * (t->kind == KIND_S16 ? 2 : 1);
    size_t from_stride = from == NULL ? own : plain, to_stride = from == NULL ? plain : own;
    const uint8_t *source = from == NULL ? s->tensor[tensor] : from;
    uint8_t *target = from == NULL ? to : s->tensor[tensor];
    if (own == plain)
        memcpy(target, source, pixels * own);
    else
        for (size_t i = 0; i < pixels; i++)
            memcpy(target + i * to_stride, source + i * from_stride, plain);
}

void take_arrays(State *s)
{
    const Program *p = s->p;
    for (int i = 0; i < p->outputs; i++)
        if (as_given(&p->tensor[p->output[i]]))
            s->tensor[p->output[i]] = s->run->outputs[i];
    for (int i = 0; i < p->inputs; i++)
        if (as_given(&p->tensor[p->input[i]]))
            s->tensor[p->input[i]] = (uint8_t *)(uintptr_t)s->run->inputs[i]; /* no layer writes an input */
        else
            copy_channels(s, p->input[i], s->run->inputs[i], NULL);
}

void begin_layer(State *s, int index)
{
    s->layer = &s->p->layer[index];
    int scale = walk_scale(s->p, &s->layer->is), threads = pool_threads();
    s->rows = rows_of(s, scale);
    s->columns = columns_of(s, scale);
    s->mask = s->work[index];
    s->bands = threads == 1 ? 1 : 2 * threads < s->rows ? 2 * threads : s->rows;
}

void run_layer(State *s, int index)
{
    begin_layer(s, index);
    int op = s->layer->is.op;
    if (op == OP_HYPER)
        code_hyper(s);
    else if (op == OP_CODE)
        code_latents(s);
    else
        pool_run(run_band, s, s->bands);
}

size_t lay_out(State *s, const Place *place, size_t tensors, uint8_t *memory, uint8_t **need)
{
    const Program *p = s->p;
    size_t at = tensors;
    for (int i = 0; memory && i < p->tensors; i++)
        s->tensor[i] = memory + place[i].at;
    s->scratch = memory ? memory + at : NULL;
    at += s->scratch_bytes * POOL_MAX;
    int masks = s->run->wanted || s->run->coded;
    for (int i = 0; masks && i < p->tensors; i++) {
        need[i] = memory ? memory + at : NULL;
        at += aligned((size_t)rows_of(s, p->tensor[i].scale) * columns_of(s, p->tensor[i].scale));
    }
    if (masks && memory)
        memset(need[0], 0, (size_t)(memory + at - need[0]));
    for (int i = 0; i < p->layers; i++) {
        s->work[i] = masks && memory ? memory + at : NULL;
        int scale = walk_scale(p, &p->layer[i].is);
        at += masks ? aligned((size_t)rows_of(s, scale) * columns_of(s, scale)) : 0;
    }
    return at;
}

/* Runs a program. Returns 0, or 1 without memory. Outputs outside `wanted` are undefined. */
LVC_API int lvc_program_run(const Program *p, Workspace *w, const LvcRun *run)
{
    State s = {.p = p, .run = run};
    s.scratch_bytes = aligned(p->scratch_pixel * (size_t)(run->columns + 2));
    size_t tensors = (size_t)p->tensors, layers = (size_t)p->layers;
    Place *place = allocate(tensors, sizeof *place);
    s.tensor = allocate(tensors, sizeof *s.tensor);
    uint8_t **need = allocate(tensors, sizeof *need);
    s.work = allocate(layers, sizeof *s.work);
    int ok = place && s.tensor && need && s.work;
    if (ok) {
        find_lifetimes(&s, place);
        size_t bytes = place_tensors(&s, place, 0);
        ok = workspace_has(w, lay_out(&s, place, bytes, NULL, need));
        if (ok) {
            lay_out(&s, place, bytes, w->memory, need);
            if (run->wanted || run->coded)
                plan_work(&s, need);
            take_arrays(&s);
            for (int i = 0; i < p->layers; i++)
                run_layer(&s, i);
            for (int i = 0; i < p->outputs; i++)
                if (s.tensor[p->output[i]] != run->outputs[i])
                    copy_channels(&s, p->output[i], NULL, run->outputs[i]);
        }
    }
    free(place);
    free(s.tensor);
    free(need);
    free(s.work);
    return !ok;
}

/* A coder for Python to hand from call to call. */
