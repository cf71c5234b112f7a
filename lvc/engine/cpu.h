/* What this processor can run, and which of the compiled kernels were asked for. */
#ifndef LVC_CPU_H
#define LVC_CPU_H

#if defined(_WIN32)
#define LVC_API __declspec(dllexport)
#else
#define LVC_API __attribute__((visibility("default")))
#endif

/* The instruction sets that kernels are written for, best first. */
typedef enum {
    ISA_AVX512VNNI,
    ISA_AVXVNNI,
    ISA_AVX2,
    ISA_NEON,
    ISA_C,
    ISA_COUNT
} Isa;

/* Whether kernels of this instruction set are in the library and run here. */
int isa_runs(Isa isa);

/* AVX-VNNI comes in two encodings: with the VEX prefix, and as AVX-512 VNNI cut to 256 bits. */
int isa_has_vex_vnni(void);

/* The best instruction set that runs here. */
Isa isa_best(void);

#endif
