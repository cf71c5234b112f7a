/* Runs one program of integer layers on one instruction set, for machines without Python: run_program ISA IN OUT.
   IN: int32 sizes (see main), then the structures of nets.h whose pointers are places in a block of bytes, plus 1. */
#include "cpu.h"
#include "nets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Program *lvc_program_new(int isa, int levels, const LvcTensor *tensors, int tensor_count, const LvcLayer *layers,
                         int layer_count, const int32_t *inputs, int input_count, const int32_t *outputs,
                         int output_count, const LvcTables *tables);
Workspace *lvc_workspace_new(void);
int lvc_program_run(const Program *p, Workspace *w, const LvcRun *run);
void lvc_set_threads(int threads);

static uint8_t *block;

static void *take(FILE *in, size_t bytes)
{
    void *p = malloc(bytes + 1);
    if (p == NULL || fread(p, 1, bytes, in) != bytes)
        exit(2);
    return p;
}

static void patch(void *pointer)
{
    uintptr_t place;
    memcpy(&place, pointer, sizeof place);
    uint8_t *at = place ? block + (place - 1) : NULL;
    memcpy(pointer, &at, sizeof at);
}

int main(int argc, char **argv)
{
    FILE *in = argc == 4 ? fopen(argv[2], "rb") : NULL;
    if (in == NULL)
        return 2;
    int isa = atoi(argv[1]);
    if (!isa_runs((Isa)isa))
        return 3;
    /* levels, tensors, layers, inputs, outputs, rows, columns, level, bytes of the block, of the stream */
    int32_t *n = take(in, 10 * sizeof *n);
    LvcTensor *tensors = take(in, (size_t)n[1] * sizeof *tensors);
    LvcLayer *layers = take(in, (size_t)n[2] * sizeof *layers);
    int32_t *inputs = take(in, (size_t)n[3] * sizeof *inputs), *outputs = take(in, (size_t)n[4] * sizeof *outputs);
    LvcTables *tables = take(in, sizeof *tables);
    void **data = take(in, (size_t)n[3] * sizeof *data);
    int32_t *sizes = take(in, (size_t)n[4] * sizeof *sizes);
    block = take(in, (size_t)n[8]);
    uint8_t *stream = take(in, (size_t)n[9]);
    patch(&tables->frequencies);
    patch(&tables->reach);
    for (int i = 0; i < n[2]; i++) {
        for (int k = 0; k < 5; k++) {
            patch(&layers[i].part[k].weight);
            patch(&layers[i].part[k].bias);
            patch(&layers[i].part[k].shift);
        }
        patch(&layers[i].gain);
        patch(&layers[i].gain_shift);
    }
    for (int i = 0; i < n[3]; i++)
        patch(&data[i]);
    void **results = malloc((size_t)n[4] * sizeof *results);
    for (int i = 0; i < n[4]; i++)
        results[i] = malloc((size_t)sizes[i]);
    Program *p = lvc_program_new(isa, n[0], tensors, n[1], layers, n[2], inputs, n[3], outputs, n[4], tables);
    Rans rans;
    rans_read(&rans, stream, (size_t)n[9]);
    LvcRun run = {.rows = n[5], .columns = n[6], .level = n[7], .inputs = (const void *const *)data, .outputs = results,
                  .rans = &rans};
    lvc_set_threads(3);
    if (p == NULL || lvc_program_run(p, lvc_workspace_new(), &run) || !rans_whole(&rans))
        return 4;
    FILE *out = fopen(argv[3], "wb");
    for (int i = 0; out && i < n[4]; i++)
        fwrite(results[i], 1, (size_t)sizes[i], out);
    return out == NULL || fclose(out) != 0;
}
