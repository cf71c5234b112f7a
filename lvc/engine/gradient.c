/* How the squared error of a program's first output changes with a tensor of it, from the integers that it computes.

   Gradients are floats, and pass through rounding as if there were none; they end where values are clamped. Products
   with transposed weights are the engine's own: a pixel's gradients are rounded to 7 bits (int16 for wide layers),
   relative to the largest. Their error is a few per cent, which the caller's decisions do not notice. */
#include "gradient.h"

#include <string.h>

/* Transposed weights */

static int weight_at(const LvcLayer *l, const LvcWeights *w, size_t at)
{
    return l->wide ? ((const int16_t *)w->weight)[at] : ((const int8_t *)w->weight)[at];
}

/* Packs the columns first..first+channels-1 of weights [outputs, inputs], as rows. */
static int pack_back(const Kernels *k, const LvcLayer *l, const LvcWeights *w, int outputs, int inputs, int first,
                     int channels, Back *back, int which)
{
    Matrix *m = &back->matrix[which];
    int per_step = l->wide ? 2 : 4;
    m->groups = padded(channels) / GROUP;
    m->steps = (outputs + per_step - 1) / per_step;
    m->weights = allocate((size_t)m->groups * m->steps * GROUP, 4);
    m->bias = allocate((size_t)m->groups * GROUP, sizeof *m->bias);
    m->shift = allocate((size_t)m->groups * GROUP, sizeof *m->shift);
    if (m->weights == NULL || m->bias == NULL || m->shift == NULL)
        return 0;
    double largest = 1;
    for (int c = 0; c < channels; c++) {
        double sum = 0;
        for (int o = 0; o < outputs; o++)
            sum += abs(weight_at(l, w, (size_t)o * inputs + first + c));
        largest = sum > largest ? sum : largest;
    }
    double most = BYTE_MOST;
    if (l->wide)
        most = largest * WIDE_MOST < 1 << 30 ? WIDE_MOST : (int)((1 << 30) / largest);
    int shift = 0;
    while (largest * most / (double)(1 << shift) > 32767)
        shift++;
    back->most[which] = (float)most;
    back->unit[which] = (float)(1 << shift);
    for (int at = 0; at < m->groups * GROUP; at++) {
        int group = at / GROUP, c = group * GROUP + lane_channel(k->lanes, at % GROUP), sum = 0;
        for (int o = 0; o < outputs && c < channels; o++) {
            size_t to = (((size_t)group * m->steps + o / per_step) * GROUP + at % GROUP) * per_step + o % per_step;
            int value = weight_at(l, w, (size_t)o * inputs + first + c);
            if (l->wide)
                ((int16_t *)m->weights)[to] = (int16_t)value;
            else
                ((int8_t *)m->weights)[to] = (int8_t)value;
            sum += value;
        }
        m->bias[at] = (l->wide ? 0 : -(BYTE_MOST + 1) * sum) + (shift ? 1 << (shift - 1) : 0);
        m->shift[at] = k->powers ? 1 << (SHIFTS_MOST - shift) : shift;
    }
    return 1;
}

static float *scales_of(const uint8_t *shift, int outputs)
{
    float *scale = allocate((size_t)padded(outputs), sizeof *scale);
    for (int o = 0; scale && o < outputs; o++)
        scale[o] = 1.0f / (float)(1u << shift[o]);
    return scale;
}

static float *mirrored(const int8_t *weight, int channels)
{
    float *filter = allocate(9 * (size_t)padded(channels), sizeof *filter);
    for (int tap = 0; filter && tap < 9; tap++)
        for (int c = 0; c < channels; c++)
            filter[tap * padded(channels) + c] = weight[(8 - tap) * channels + c];
    return filter;
}

static int pack_layer_back(const Gradient *g, const LvcLayer *l, Back *back)
{
    const Program *p = g->program;
    int c = l->outputs, inputs = 0, first = 0;
    if (l->op == OP_GAIN || !g->active[l->out])
        return 1;
    if (l->op == OP_BLOCK) {
        const int part[] = {0, 2, 3, 4};
        for (int i = 0; i < 4; i++)
            if (!pack_back(p->kernels, l, &l->part[part[i]], part[i] == 3 ? 2 * c : c, c, 0, c, back, i))
                return 0;
        for (int i = 0; i < BLOCK_PARTS; i++)
            if ((back->scale[i] = scales_of(l->part[i].shift, i == 3 ? 2 * c : c)) == NULL)
                return 0;
        return (back->filter = mirrored(l->part[1].weight, c)) != NULL;
    }
    int outputs = l->mode == MODE_UP2 ? 4 * c : c;
    for (int k = 0; k < l->sources; k++)
        inputs += p->tensor[l->source[k]].channels;
    for (int k = 0; k < l->sources; k++) {
        int channels = p->tensor[l->source[k]].channels;
        if (g->active[l->source[k]] &&
            !pack_back(p->kernels, l, &l->part[0], outputs, inputs, first, channels, back, k))
            return 0;
        first += channels;
    }
    return (back->scale[0] = scales_of(l->part[0].shift, outputs)) != NULL;
}

/* Bytes per pixel of a worker's buffers: bytes and int16 of a block's forward pass, then v, factor, r and q. */
static size_t back_scratch(const Program *p, const LvcLayer *l)
{
    size_t channels = 0;
    for (int k = 0; k < l->sources; k++)
        if ((size_t)padded(p->tensor[l->source[k]].channels) > channels)
            channels = (size_t)padded(p->tensor[l->source[k]].channels);
    return FORWARD_BYTES * (size_t)padded(l->outputs) + 6 * (size_t)most_inputs(l) + 2 * channels + 4;
}

LVC_API void lvc_gradient_free(Gradient *g)
{
    if (g == NULL)
        return;
    for (int i = 0; g->back && i < g->program->layers; i++) {
        Back *back = &g->back[i];
        for (int k = 0; k < SOURCES_MAX; k++) {
            free(back->matrix[k].weights);
            free(back->matrix[k].bias);
            free(back->matrix[k].shift);
        }
        for (int k = 0; k < BLOCK_PARTS; k++)
            free(back->scale[k]);
        free(back->filter);
    }
    free(g->back);
    free(g->active);
    program_free(g->program);
    free(g);
}

static BackBand *back_band_of(int isa)
{
#if defined(__x86_64__)
    if (isa <= ISA_AVX2)
        return back_band_avx2;
#endif
    (void)isa;
    return back_band_c;
}

/* Takes a program (as lvc_program_new makes it, which belongs to the gradient from now on) of conv (point, up2), block
   and gain layers, and the layers that it was made of. `of`: the tensor by which the error is derived, an input.
   NULL: no memory. */
LVC_API Gradient *lvc_gradient_new(int isa, Program *program, const LvcLayer *layers, int of)
{
    Gradient *g = allocate(1, sizeof *g);
    if (g == NULL) {
        program_free(program);
        return NULL;
    }
    g->program = program;
    g->of = of;
    g->band = back_band_of(isa);
    g->active = allocate((size_t)program->tensors, 1);
    g->back = allocate((size_t)program->layers, sizeof *g->back);
    int ok = g->active && g->back;
    if (ok)
        g->active[of] = 1;
    for (int i = 0; ok && i < program->layers; i++) {
        const LvcLayer *l = &layers[i];
        for (int k = 0; k < l->sources; k++)
            g->active[l->out] |= g->active[l->source[k]];
        if (l->add >= 0)
            g->active[l->out] |= g->active[l->add];
        ok = pack_layer_back(g, l, &g->back[i]);
        if (back_scratch(program, l) > g->scratch_pixel)
            g->scratch_pixel = back_scratch(program, l);
    }
    if (!ok) {
        lvc_gradient_free(g);
        return NULL;
    }
    return g;
}

/* A run */

/* Marks the pixels around those of a mask too. */
static void widen(const uint8_t *from, uint8_t *to, int rows, int columns)
{
    memset(to, 0, (size_t)rows * columns);
    for (int y = 0; y < rows; y++)
        for (int x = 0; (x = next_set(from + (size_t)y * columns, x, columns)) < columns; x++)
            for (int j = y > 0 ? y - 1 : 0; j <= y + 1 && j < rows; j++)
                for (int i = x > 0 ? x - 1 : 0; i <= x + 1 && i < columns; i++)
                    to[(size_t)j * columns + i] = 1;
}

static void layer_back(Backward *b, int index)
{
    State *s = b->s;
    begin_layer(s, index);
    b->back = &b->g->back[index];
    const LvcLayer *l = &s->layer->is;
    if (l->add >= 0 && b->g->active[l->add]) {
        const LvcTensor *t = &s->p->tensor[l->out];
        size_t n = (size_t)rows_of(s, t->scale) * columns_of(s, t->scale) * padded(t->channels);
        for (size_t i = 0; i < n; i++)
            b->slope[l->add][i] += b->slope[l->out][i];
    }
    int first = 0, last = 0;
    if (l->op == OP_BLOCK) {
        size_t n = (size_t)(s->rows + 2) * (s->columns + 2) * padded(l->outputs);
        memset(b->first, l->block_zero[0], n);
        memset(b->middle, 0, n * sizeof *b->middle);
        if (s->mask)
            widen(s->mask, b->around, s->rows, s->columns);
        first = 1, last = 3;
    }
    for (b->step = first; b->step <= last; b->step++)
        pool_run(b->g->band, b, s->bands);
}

/* The error's slopes, 2 * weight * (output - target), in the blocks that are wanted. */
static void error_slopes(const Backward *b, const int16_t *target, const float *weights)
{
    const State *s = b->s;
    int tensor = s->p->output[0];
    const LvcTensor *t = &s->p->tensor[tensor];
    int height = rows_of(s, t->scale), width = columns_of(s, t->scale), by = t->scale - SCALE_BASE;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++, target += t->channels) {
            int block = ((y << by) >> 1) * (s->run->columns / 2) + ((x << by) >> 1);
            if (s->run->wanted && !s->run->wanted[block])
                continue;
            const int16_t *out = (const int16_t *)(const void *)(row_of(s, tensor, y) + x * pixel_bytes(t));
            float *slope = slope_row(b, tensor, y, x);
            for (int c = 0; c < t->channels; c++)
                slope[c] = 2 * weights[c] * (float)(out[c] - target[c]);
        }
}

/* Lays out what the backward pass needs beside the forward pass; with NULL, counts the bytes. */
static size_t lay_out_back(Backward *b, const Place *place, size_t slopes, uint8_t *memory)
{
    const Program *p = b->s->p;
    size_t most = 0, at = slopes, pixels = 0;
    for (int i = 0; i < p->layers; i++) {
        const LvcLayer *l = &p->layer[i].is;
        int scale = walk_scale(p, l);
        size_t n = (size_t)(rows_of(b->s, scale) + 2) * (columns_of(b->s, scale) + 2);
        if (l->op == OP_BLOCK && n * padded(l->outputs) > most)
            most = n * padded(l->outputs);
        if (n > pixels)
            pixels = n;
    }
    for (int i = 0; memory && i < p->tensors; i++)
        b->slope[i] = (float *)(void *)(memory + place[i].at);
    b->scratch = memory ? memory + at : NULL;
    at += b->scratch_bytes * POOL_MAX;
    b->middle = memory ? (float *)(void *)(memory + at) : NULL;
    at += aligned(most * sizeof *b->middle);
    b->first = memory ? memory + at : NULL;
    at += aligned(most);
    b->around = memory ? memory + at : NULL;
    return at + aligned(pixels);
}

/* Tensors whose values the backward pass reads live to the end. */
static void keep_read(const Gradient *g, Place *place)
{
    const Program *p = g->program;
    for (int i = 0; i < p->layers; i++) {
        const LvcLayer *l = &p->layer[i].is;
        if (!g->active[l->out] || l->op == OP_GAIN)
            continue;
        int read[SOURCES_MAX + 1], n = 0;
        for (int k = 0; k < l->sources && !l->wide; k++)
            read[n++] = l->source[k];
        if (l->leaky || p->tensor[l->out].kind == KIND_U7)
            read[n++] = l->out;
        for (int k = 0; k < n; k++)
            if (place[read[k]].to >= 0)
                place[read[k]].to = p->layers;
    }
}

/* Slopes live from the last layer that reads a tensor down to the one that makes it. */
static void find_uses(const Gradient *g, const State *s, Place *place)
{
    const Program *p = g->program;
    find_lifetimes(s, place);
    for (int i = 0; i < p->inputs; i++)
        place[p->input[i]].to = -1;
    place[p->output[0]].to = p->layers;
    for (int i = 0; i < p->layers; i++)
        for (int k = 0; k < p->layer[i].is.sources; k++)
            if (p->layer[i].is.source[k] == g->of)
                place[g->of].to = i;
    for (int t = 0; t < p->tensors; t++)
        if (!g->active[t])
            place[t].to = -1;
}

static void copy_slopes(const Backward *b, float *out)
{
    const LvcTensor *t = &b->s->p->tensor[b->g->of];
    int channels = t->channels;
    size_t pixels = (size_t)rows_of(b->s, t->scale) * columns_of(b->s, t->scale);
    for (size_t i = 0; i < pixels; i++)
        memcpy(out + i * channels, b->slope[b->g->of] + i * padded(channels), (size_t)channels * sizeof *out);
}

static void run_back(Backward *b, const Place *place, const int16_t *target, const float *weights)
{
    const Program *p = b->s->p;
    for (int i = p->layers; i >= 0; i--) {
        /* what is derived here first begins with 0 */
        for (int t = 0; t < p->tensors; t++)
            if (b->g->active[t] && place[t].to == i) {
                const LvcTensor *is = &p->tensor[t];
                size_t pixels = (size_t)rows_of(b->s, is->scale) * columns_of(b->s, is->scale);
                memset(b->slope[t], 0, pixels * padded(is->channels) * sizeof(float));
            }
        if (i == p->layers)
            error_slopes(b, target, weights);
        else if (place[p->layer[i].is.out].to >= 0)
            layer_back(b, i);
    }
}

/* Runs the program, then its gradient: of the sum of weight * (first output - target)^2 over `run->wanted`, by the
   tensor in question, into `out` [rows, columns, channels]. `weights` are those of the output's channels. Returns 0, or
   1 without memory. */
LVC_API int lvc_gradient_run(const Gradient *g, Workspace *w, const LvcRun *run, const int16_t *target,
                             const float *weights, float *out)
{
    const Program *p = g->program;
    State s = {.p = p, .run = run};
    Backward b = {.g = g, .s = &s};
    s.scratch_bytes = aligned(p->scratch_pixel * (size_t)(run->columns + 2));
    b.scratch_bytes = aligned(g->scratch_pixel * CHUNK);
    size_t tensors = (size_t)p->tensors, layers = (size_t)p->layers;
    Place *place = allocate(tensors, sizeof *place), *back_place = allocate(tensors, sizeof *place);
    s.tensor = allocate(tensors, sizeof *s.tensor);
    uint8_t **need = allocate(tensors, sizeof *need);
    s.work = allocate(layers, sizeof *s.work);
    b.slope = allocate(tensors, sizeof *b.slope);
    int ok = place && back_place && s.tensor && need && s.work && b.slope;
    if (ok) {
        find_lifetimes(&s, place);
        keep_read(g, place);
        find_uses(g, &s, back_place);
        size_t values = place_tensors(&s, place, 0), slopes = place_tensors(&s, back_place, sizeof(float));
        size_t forward = lay_out(&s, place, values, NULL, need);
        ok = workspace_has(w, forward + lay_out_back(&b, back_place, slopes, NULL));
        if (ok) {
            lay_out(&s, place, values, w->memory, need);
            lay_out_back(&b, back_place, slopes, w->memory + forward);
            if (run->wanted)
                plan_work(&s, need);
            take_arrays(&s);
            for (int i = 0; i < p->layers; i++)
                run_layer(&s, i);
            run_back(&b, back_place, target, weights);
            copy_slopes(&b, out);
        }
    }
    free(place);
    free(back_place);
    free(s.tensor);
    free(need);
    free(s.work);
    free(b.slope);
    return !ok;
}
