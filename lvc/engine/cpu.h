/* Which instruction sets this processor and this library support. */
#ifndef LVC_CPU_H
#define LVC_CPU_H

#if defined(_WIN32)
#define LVC_API __declspec(dllexport)
#else
#define LVC_API __attribute__((visibility("default")))
#endif

/* Before a loop that is worth vectors, whatever a compiler's model of a browser says. */
#if defined(__clang__)
#define VECTORISED _Pragma("clang loop vectorize(enable)")
#else
#define VECTORISED
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

/* 1 if the library has kernels for this instruction set and the processor runs them. */
int isa_runs(Isa isa);

/* AVX-VNNI comes in two encodings: with the VEX prefix, and as AVX-512 VNNI cut to 256 bits. */
int isa_has_vex_vnni(void);

/* The best instruction set that runs here. */
Isa isa_best(void);

#endif
