/* The kernels in plain C, and the table of all of them. */
#include "kernels.h"

static int clamp(int v, int low, int high)
{
    return v < low ? low : v > high ? high : v;
}

/* Arithmetic shift, whatever the compiler's >> does with negative numbers. */
static int32_t shift_right(int32_t v, int by)
{
    return v < 0 ? ~(~v >> by) : v >> by;
}

static int saturate(int v)
{
    return clamp(v, -32768, 32767);
}

static void finish(int32_t sum, int shift, const Stage *s, int pixel, int channel)
{
    int v = saturate(shift_right(sum, shift));
    if (s->leaky && v < 0)
        v = shift_right(v, 3);
    if (s->kind == STAGE_S16 || s->kind == STAGE_ADD) {
        if (s->kind == STAGE_ADD)
            v = saturate(v + s->add[pixel * s->add_stride + channel]);
        ((int16_t *)s->out)[pixel * s->out_stride + channel] = (int16_t)v;
        return;
    }
    if (s->kind == STAGE_S8) {
        ((int8_t *)s->out)[pixel * s->out_stride + channel] = (int8_t)clamp(v, -128, 127);
        return;
    }
    if (s->kind == STAGE_GATE) {
        int half = s->gate_shift ? 1 << (s->gate_shift - 1) : 0;
        v = shift_right(clamp(v, -128, 127) * s->gate[pixel * s->gate_stride + channel] + half, s->gate_shift);
    }
    ((uint8_t *)s->out)[pixel * s->out_stride + channel] = (uint8_t)clamp(v + s->zero, 0, s->high);
}

static void matrix(const Matrix *m, const uint8_t *x, ptrdiff_t stride, int count, const Stage *stage)
{
    const int8_t *weights = m->weights;
    for (int pixel = 0; pixel < count; pixel++, x += stride)
        for (int group = 0; group < m->groups; group++) {
            int32_t sum[GROUP];
            for (int c = 0; c < GROUP; c++)
                sum[c] = m->bias[group * GROUP + c];
            const int8_t *w = weights + (ptrdiff_t)group * m->steps * GROUP * 4;
            for (int k = 0; k < m->steps; k++, w += GROUP * 4)
                for (int c = 0; c < GROUP; c++)
                    sum[c] += x[4 * k] * w[4 * c] + x[4 * k + 1] * w[4 * c + 1] + x[4 * k + 2] * w[4 * c + 2] +
                              x[4 * k + 3] * w[4 * c + 3];
            for (int c = 0; c < GROUP; c++)
                finish(sum[c], m->shift[group * GROUP + c], stage, pixel, group * GROUP + c);
        }
}

static void matrix16(const Matrix *m, const int16_t *x, ptrdiff_t stride, int count, const Stage *stage)
{
    const int16_t *weights = m->weights;
    for (int pixel = 0; pixel < count; pixel++, x += stride)
        for (int group = 0; group < m->groups; group++) {
            int32_t sum[GROUP];
            for (int c = 0; c < GROUP; c++)
                sum[c] = m->bias[group * GROUP + c];
            const int16_t *w = weights + (ptrdiff_t)group * m->steps * GROUP * 2;
            for (int k = 0; k < m->steps; k++, w += GROUP * 2)
                for (int c = 0; c < GROUP; c++)
                    sum[c] += x[2 * k] * w[2 * c] + x[2 * k + 1] * w[2 * c + 1];
            for (int c = 0; c < GROUP; c++)
                finish(sum[c], m->shift[group * GROUP + c], stage, pixel, group * GROUP + c);
        }
}

static void depthwise(const Depthwise *d, const uint8_t *const rows[3], ptrdiff_t stride, int count,
                      const Stage *stage)
{
    for (int pixel = 0; pixel < count; pixel++)
        for (int channel = 0; channel < d->groups * GROUP; channel++) {
            int32_t sum = d->bias[channel];
            const int8_t *w = d->weights + (channel / GROUP * 3 * GROUP + channel % GROUP) * 4;
            for (int column = 0; column < 3; column++)
                for (int row = 0; row < 3; row++)
                    sum += rows[row][(pixel + column) * stride + channel] * w[column * GROUP * 4 + row];
            finish(sum, d->shift[channel], stage, pixel, channel);
        }
}

static void quantise(const int16_t *t, ptrdiff_t t_stride, uint8_t *x, ptrdiff_t x_stride, int count, int channels,
                     int shift, int zero)
{
    int half = shift ? 1 << (shift - 1) : 0;
    for (int pixel = 0; pixel < count; pixel++)
        for (int c = 0; c < padded(channels); c++)
            x[pixel * x_stride + c] =
                (uint8_t)clamp(shift_right(t[pixel * t_stride + c] + half, shift) + zero, 0, 127);
}

const Kernels kernels_c = {1, 0, matrix, matrix16, depthwise, quantise};

const Kernels *kernels_of(Isa isa)
{
    switch (isa) {
#if defined(__x86_64__)
    case ISA_AVX512VNNI: return &kernels_avx512vnni;
    case ISA_AVXVNNI: return isa_has_vex_vnni() ? &kernels_avxvnni : &kernels_evexvnni;
    case ISA_AVX2: return &kernels_avx2;
#elif defined(__aarch64__)
    case ISA_NEON: return &kernels_neon;
#endif
    default: return &kernels_c;
    }
}
