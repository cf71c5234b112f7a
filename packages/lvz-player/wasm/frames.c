/* Frames as the player's workers decode them: what lvc/codec/frames.py does, over the engine. Which frame comes next and
   what it is predicted from is said by gop.js.

   A frame is one piece of memory, so that it can be sent to another worker as it is: a header, luma, chroma, vectors,
   modes, flags (`Layout`). */
#include <stdlib.h>
#include <string.h>

#include "detail.h"
#include "motion.h"
#include "nets.h"

#define EXPORT(name) __attribute__((export_name(#name))) name

enum { DONE, DAMAGED, NO_MEMORY };
enum { PATCH = 96, SAMPLE_OFFSET = 2040, RESIDUAL_SHIFT = 3, PLACES = 6, QUALITIES = 128, LONGEST_DISTANCE = 1024 };
enum { DETAIL_FROM = 32, NETWORKS_BEST = 96 };

/* planes.c, motion_wasm.c, nets.c, motion_field.c */
void lvc_planes_to_patches(const int16_t *luma, const int16_t *chroma, int rows, int columns, int offset,
                           int16_t *patches);
void lvc_patches_apart(const int16_t *patches, int rows, int columns, int16_t *luma, int16_t *chroma);
void lvc_samples(int16_t *values, int64_t count, int shift, int offset);
void lvc_patches_to_planes(const int16_t *residual, int rows, int columns, int shift, int offset,
                           const int16_t *luma_prediction, const int16_t *chroma_prediction, const uint8_t *wanted,
                           int16_t *luma, int16_t *chroma);
void lvc_deblock(int16_t *luma, int16_t *chroma, const uint8_t *skip, int32_t rows, int32_t columns, int32_t quality);
void lvc_lap(int16_t *plane, int rows, int columns, int half, const int16_t *matrix);
int32_t lvc_wasm_compensate(const int16_t *y0, const int16_t *uv0, const int16_t *y1, const int16_t *uv1,
                            const uint8_t *mode, const int16_t *mv, int64_t rows, int64_t cols, int16_t *p_y,
                            int16_t *p_uv, int16_t *d_y, int16_t *d_uv);
int lvc_program_run(const Program *p, Workspace *w, const LvcRun *run);
Workspace *lvc_workspace_new(void);

typedef struct {
    int32_t references; /* 0 of a key frame, and of an anchor without */
    int32_t time, to[2];
    LvcExposure exposure;
    int32_t pad[10];
} Header;

typedef struct {
    Header *head;
    int16_t *luma, *chroma, *mv;
    uint8_t *mode, *skip, *copy;
} Layout;

typedef struct {
    int rows, columns; /* of 8x8 luma blocks, both even */
    const Program *key, *predicted;
    Workspace *space;
    int16_t luma_lap[16 * 16], chroma_lap[8 * 8];
    int16_t *p_patches, *d_patches, *out, *latents, *d_luma, *d_chroma;
    uint8_t *known, *coded, *coded_input, *wanted;
    int16_t *exposed[2]; /* references at another exposure, luma and chroma; NULL until there are some */
} Decoder;

/* An entropy-coded part, and the contexts of its motion. */
typedef struct {
    Rans rans;
    LvcMotionContexts contexts;
} Part;

void *EXPORT(allocate)(size_t bytes) { return malloc(bytes); }
void EXPORT(release)(void *memory) { free(memory); }

static Layout layout(const Decoder *d, uint8_t *frame)
{
    size_t blocks = (size_t)d->rows * (size_t)d->columns;
    Layout l;
    l.head = (Header *)(void *)frame;
    l.luma = (int16_t *)(void *)(frame + sizeof(Header));
    l.chroma = l.luma + 64 * blocks;
    l.mv = l.chroma + 32 * blocks;
    l.mode = (uint8_t *)(l.mv + 4 * blocks);
    l.skip = l.mode + blocks;
    l.copy = l.skip + blocks / 4;
    return l;
}

size_t EXPORT(frame_bytes)(const Decoder *d)
{
    size_t blocks = (size_t)d->rows * (size_t)d->columns;
    return sizeof(Header) + blocks * (2 * PATCH + 8 + 1) + blocks / 4 * 2;
}

/* NULL: no memory. `latents`: int16 that the second output of either program has at a block of 16x16. */
Decoder *EXPORT(decoder_new)(int rows, int columns, const Program *key, const Program *predicted, int latents,
                             const int16_t *luma_lap, const int16_t *chroma_lap)
{
    Decoder *d = calloc(1, sizeof *d);
    if (d == NULL)
        return NULL;
    size_t blocks = (size_t)rows * (size_t)columns;
    d->rows = rows;
    d->columns = columns;
    d->key = key;
    d->predicted = predicted;
    memcpy(d->luma_lap, luma_lap, sizeof d->luma_lap);
    memcpy(d->chroma_lap, chroma_lap, sizeof d->chroma_lap);
    d->space = lvc_workspace_new();
    int16_t **patches[] = {&d->p_patches, &d->d_patches, &d->out};
    uint8_t **masks[] = {&d->coded, &d->coded_input, &d->wanted};
    int ok = d->space != NULL;
    for (int i = 0; i < 3; i++)
        ok &= (*patches[i] = malloc(blocks * PATCH * 2)) != NULL;
    ok &= (d->d_luma = malloc(blocks * 128)) != NULL && (d->d_chroma = malloc(blocks * 64)) != NULL;
    for (int i = 0; i < 3; i++)
        ok &= (*masks[i] = malloc(blocks / 4)) != NULL;
    ok &= (d->known = malloc(blocks)) != NULL;
    ok &= (d->latents = malloc(blocks / 4 * (size_t)latents * 2)) != NULL;
    return ok ? d : NULL; /* a worker without memory is thrown away as a whole */
}

/* `data` must stay as long as the part; contexts go on from where those of `before` are, unless it is NULL. */
Part *EXPORT(part_new)(const uint8_t *data, size_t bytes, const Part *before)
{
    Part *p = malloc(sizeof *p);
    if (p == NULL)
        return NULL;
    rans_read(&p->rans, data, bytes);
    if (before)
        p->contexts = before->contexts;
    else
        lvc_motion_start(&p->contexts);
    return p;
}

/* The same place of the same part, to go on from a second time. */
Part *EXPORT(part_copy)(const Part *from)
{
    Part *p = malloc(sizeof *p);
    if (p)
        *p = *from;
    return p;
}

/* Whether all of it was read, and nothing but it. */
int EXPORT(part_whole)(const Part *p) { return rans_whole(&p->rans); }

static int best_of(int quality) { return quality < NETWORKS_BEST ? quality : NETWORKS_BEST; }

static int detailed(const Decoder *d, Part *part, Layout *l, int quality)
{
    if (quality >= DETAIL_FROM &&
        !lvc_detail(&part->rans, d->rows / 2, d->columns / 2, quality, NULL, l->luma, l->chroma))
        return NO_MEMORY;
    return DONE;
}

/* `before`: the anchor before one that is coded by itself, or NULL. */
int EXPORT(frame_key)(Decoder *d, Part *part, uint8_t *frame, uint8_t *before, int quality, int32_t time)
{
    Layout l = layout(d, frame);
    memset(l.head, 0, sizeof *l.head);
    l.head->time = time;
    l.head->exposure.gain = LVC_GAIN_ONE;
    if (before &&
        lvc_code_exposure(&part->rans, &part->contexts, layout(d, before).head->exposure, &l.head->exposure) != LVC_OK)
        return DAMAGED;
    void *const outputs[2] = {d->out, d->latents};
    LvcRun run = {.rows = d->rows, .columns = d->columns, .outputs = outputs, .rans = &part->rans};
    run.level = best_of(quality);
    if (lvc_program_run(d->key, d->space, &run))
        return NO_MEMORY;
    lvc_patches_apart(d->out, d->rows, d->columns, l.luma, l.chroma);
    lvc_lap(l.luma, 8 * d->rows, 8 * d->columns, 8, d->luma_lap);
    for (int c = 0; c < 2; c++)
        lvc_lap(l.chroma + c * 16 * (ptrdiff_t)d->rows * d->columns, 4 * d->rows, 4 * d->columns, 4, d->chroma_lap);
    lvc_samples(l.luma, 96 * (int64_t)d->rows * d->columns, RESIDUAL_SHIFT, SAMPLE_OFFSET); /* chroma lies behind it */
    return detailed(d, part, &l, quality);
}

/* What a reference says of itself, its times counted from `now`. 0: it is too far away to be real. */
static int field_of(const Decoder *d, uint8_t *frame, int32_t now, LvcField *field, const uint8_t **skip,
                    const uint8_t **copy)
{
    Layout l = layout(d, frame);
    memset(field, 0, sizeof *field);
    *skip = *copy = NULL;
    if (l.head->references == 0)
        return 1;
    field->mode = l.mode;
    field->mv = l.mv;
    field->time = l.head->time - now;
    for (int k = 0; k < 2; k++) {
        field->to[k] = k < l.head->references ? l.head->to[k] - now : 0;
        if (abs(field->to[k]) > LONGEST_DISTANCE)
            return 0;
    }
    *skip = l.skip;
    *copy = l.copy;
    return abs(field->time) <= LONGEST_DISTANCE;
}

/* Makes a reference's planes those of another exposure. 0: there is no memory. */
static int exposed(Decoder *d, int which, Layout *reference, LvcExposure to)
{
    size_t n = 64 * (size_t)d->rows * (size_t)d->columns;
    const LvcExposure from = reference->head->exposure;
    if (from.gain == to.gain && from.offset == to.offset)
        return 1;
    if (d->exposed[which] == NULL && (d->exposed[which] = malloc(3 * n)) == NULL)
        return 0;
    int16_t *luma = d->exposed[which], *chroma = luma + n;
    if (lvc_expose(reference->luma, reference->chroma, (int64_t)n, from, to, luma, chroma)) {
        reference->luma = luma;
        reference->chroma = chroma;
    }
    return 1;
}

/* `second` NULL: there is one reference. Their times differ from `time` and from those of what they refer to. `passed`: the
   frame is only read past, so that its samples may be anything: what makes them of the latents is not run. */
int EXPORT(frame_predicted)(Decoder *d, Part *part, uint8_t *frame, uint8_t *first, uint8_t *second, int32_t time,
                            int quality, int place, int passed)
{
    Layout l = layout(d, frame), a = layout(d, first), b = second ? layout(d, second) : a;
    size_t blocks = (size_t)d->rows * (size_t)d->columns, squares = blocks / 4;
    const uint8_t *skips[2] = {NULL, NULL}, *copies[2] = {NULL, NULL};
    LvcFrame f = {.mode = l.mode, .mv = l.mv, .known = d->known, .rows = d->rows, .cols = d->columns};
    f.references = second ? 2 : 1;
    f.to[0] = a.head->time - time;
    f.to[1] = second ? b.head->time - time : 0;
    if (f.to[0] == 0 || abs(f.to[0]) > LONGEST_DISTANCE || abs(f.to[1]) > LONGEST_DISTANCE ||
        !field_of(d, first, time, &f.fields[0], &skips[0], &copies[0]) ||
        (second && !field_of(d, second, time, &f.fields[1], &skips[1], &copies[1])))
        return DAMAGED;
    l.head->references = f.references;
    l.head->time = time;
    l.head->to[0] = a.head->time;
    l.head->to[1] = second ? b.head->time : 0;
    memset(l.mode, 0, blocks);
    memset(l.mv, 0, 8 * blocks);
    const LvcExposure expected = lvc_expected_exposure(a.head->exposure, second && place ? &b.head->exposure : NULL);
    l.head->exposure = expected;
    if (lvc_code_exposure(&part->rans, &part->contexts, expected, &l.head->exposure) != LVC_OK)
        return DAMAGED;
    if (!exposed(d, 0, &a, l.head->exposure) || (second && !exposed(d, 1, &b, l.head->exposure)))
        return NO_MEMORY;
    if (lvc_code_field(&part->rans, &part->contexts, &f, place) != LVC_OK)
        return DAMAGED;
    lvc_code_flags(&part->rans, &part->contexts, &f, place, l.skip, l.copy, skips, copies);
    int wanted = 0;
    for (size_t i = 0; i < squares; i++) {
        d->coded[i] = !l.skip[i];
        d->coded_input[i] = l.skip[i] ? 0 : 127;
        d->wanted[i] = !passed && !l.copy[i];
        wanted |= d->wanted[i] | d->coded[i];
    }
    if (passed && !wanted)
        return detailed(d, part, &l, quality);
    int32_t failed = lvc_wasm_compensate(a.luma, a.chroma, second ? b.luma : NULL, second ? b.chroma : NULL, l.mode,
                                         l.mv, d->rows, d->columns, l.luma, l.chroma, d->d_luma, d->d_chroma);
    if (failed)
        return failed == LVC_NO_MEMORY ? NO_MEMORY : DAMAGED;
    if (!wanted)
        return detailed(d, part, &l, quality);
    lvc_planes_to_patches(l.luma, l.chroma, d->rows, d->columns, SAMPLE_OFFSET, d->p_patches);
    lvc_planes_to_patches(d->d_luma, d->d_chroma, d->rows, d->columns, 0, d->d_patches);
    const void *const inputs[3] = {d->p_patches, d->d_patches, d->coded_input};
    void *const outputs[2] = {d->out, d->latents};
    LvcRun run = {.rows = d->rows, .columns = d->columns, .inputs = inputs, .outputs = outputs};
    run.level = QUALITIES * (place < PLACES ? place : PLACES - 1) + best_of(quality);
    run.wanted = d->wanted;
    run.coded = d->coded;
    run.rans = &part->rans;
    if (lvc_program_run(d->predicted, d->space, &run))
        return NO_MEMORY;
    if (passed)
        return detailed(d, part, &l, quality);
    lvc_patches_to_planes(d->out, d->rows, d->columns, RESIDUAL_SHIFT, 0, l.luma, l.chroma, d->wanted, l.luma,
                          l.chroma);
    lvc_deblock(l.luma, l.chroma, l.skip, d->rows / 2, d->columns / 2, quality);
    return detailed(d, part, &l, quality);
}

/* CRC-32 of zlib, eight bytes at a time. */
static uint32_t crc_table[8][256];

static uint32_t crc32(uint32_t crc, const uint8_t *p, size_t bytes)
{
    if (crc_table[0][1] == 0)
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;
            for (int k = 0; k < 8; k++)
                c = c & 1 ? c >> 1 ^ 0xedb88320u : c >> 1;
            crc_table[0][i] = c;
        }
    for (int k = 1; crc_table[7][1] == 0 && k < 8; k++)
        for (int i = 0; i < 256; i++)
            crc_table[k][i] = crc_table[k - 1][i] >> 8 ^ crc_table[0][crc_table[k - 1][i] & 255];
    crc = ~crc;
    for (; bytes >= 8; bytes -= 8, p += 8) {
        uint32_t low, high;
        memcpy(&low, p, 4);
        memcpy(&high, p + 4, 4);
        low ^= crc;
        crc = crc_table[7][low & 255] ^ crc_table[6][low >> 8 & 255] ^ crc_table[5][low >> 16 & 255] ^
              crc_table[4][low >> 24] ^ crc_table[3][high & 255] ^ crc_table[2][high >> 8 & 255] ^
              crc_table[1][high >> 16 & 255] ^ crc_table[0][high >> 24];
    }
    for (; bytes; bytes--, p++)
        crc = crc >> 8 ^ crc_table[0][(crc ^ *p) & 255];
    return ~crc;
}

uint32_t EXPORT(checksum)(const uint8_t *data, size_t bytes) { return crc32(0, data, bytes); }

/* What is shown of a frame, Y, U and V one after the other, cropped, bytes or (over 8 bits) 16-bit numbers. */
void EXPORT(frame_shown)(const Decoder *d, uint8_t *frame, int width, int height, int depth, uint8_t *to)
{
    Layout l = layout(d, frame);
    int half_width = (width + 1) / 2, half_height = (height + 1) / 2;
    int shift = 12 - depth, half = 1 << (shift - 1), top = (1 << depth) - 1;
    for (int plane = 0; plane < 3; plane++) {
        int columns = plane ? half_width : width, rows = plane ? half_height : height;
        ptrdiff_t stride = plane ? 4 * d->columns : 8 * d->columns;
        const int16_t *from = plane ? l.chroma + (plane - 1) * 16 * (ptrdiff_t)d->rows * d->columns : l.luma;
        for (int y = 0; y < rows; y++, from += stride) {
            if (depth == 8) {
                for (int x = 0; x < columns; x++) {
                    int v = (from[x] + half) >> shift;
                    to[x] = (uint8_t)(v > top ? top : v);
                }
                to += columns;
            } else {
                for (int x = 0; x < columns; x++) {
                    int v = (from[x] + half) >> shift;
                    v = v > top ? top : v;
                    to[2 * x] = (uint8_t)v;
                    to[2 * x + 1] = (uint8_t)(v >> 8);
                }
                to += 2 * columns;
            }
        }
    }
}
