#include "cpu.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static const char *const names[ISA_COUNT] = {"avx512vnni", "avxvnni", "avx2", "neon", "c"};

#if defined(__x86_64__)

#include <cpuid.h>

typedef struct {
    uint32_t eax, ebx, ecx, edx;
} Registers;

static Registers cpuid(uint32_t leaf, uint32_t subleaf)
{
    Registers r = {0, 0, 0, 0};
    if (__get_cpuid_max(leaf & 0x80000000u, NULL) >= leaf)
        __cpuid_count(leaf, subleaf, r.eax, r.ebx, r.ecx, r.edx);
    return r;
}

/* Which registers the operating system saves: bits 1, 2 for AVX; 5, 6, 7 for AVX-512. */
static uint64_t saved_registers(void)
{
    if (!(cpuid(1, 0).ecx >> 27 & 1))
        return 0;
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static int has_avx2(void)
{
    return (saved_registers() & 0x06) == 0x06 && (cpuid(7, 0).ebx >> 5 & 1);
}

static int has_avx512vnni(void)
{
    uint32_t f = 1u << 16, dq = 1u << 17, bw = 1u << 30, vl = 1u << 31;
    Registers r = cpuid(7, 0);
    return has_avx2() && (saved_registers() & 0xe6) == 0xe6 && (r.ebx & (f | dq | bw | vl)) == (f | dq | bw | vl) &&
           (r.ecx >> 11 & 1);
}

int isa_has_vex_vnni(void)
{
    return has_avx2() && cpuid(7, 0).eax >= 1 && (cpuid(7, 1).eax >> 4 & 1);
}

int isa_runs(Isa isa)
{
    switch (isa) {
    case ISA_AVX512VNNI: return has_avx512vnni();
    case ISA_AVXVNNI: return isa_has_vex_vnni() || has_avx512vnni();
    case ISA_AVX2: return has_avx2();
    default: return isa == ISA_C;
    }
}

#elif defined(__aarch64__)

#if defined(__linux__)
#include <sys/auxv.h>
static int has_dotprod(void)
{
    return (int)(getauxval(AT_HWCAP) >> 20 & 1);
}
#elif defined(__APPLE__)
static int has_dotprod(void)
{
    return 1; /* every Apple processor for 64-bit macOS */
}
#else
static int has_dotprod(void)
{
    return 0;
}
#endif

int isa_has_vex_vnni(void)
{
    return 0;
}

int isa_runs(Isa isa)
{
    return isa == ISA_C || (isa == ISA_NEON && has_dotprod());
}

#else

int isa_has_vex_vnni(void)
{
    return 0;
}

int isa_runs(Isa isa)
{
    return isa == ISA_C;
}

#endif

Isa isa_best(void)
{
    Isa isa = 0;
    while (!isa_runs(isa))
        isa++;
    return isa;
}

LVC_API int lvc_isa_runs(int isa)
{
    return isa >= 0 && isa < ISA_COUNT && isa_runs((Isa)isa);
}

LVC_API int lvc_isa_best(void)
{
    return (int)isa_best();
}

LVC_API const char *lvc_isa_name(int isa)
{
    return isa >= 0 && isa < ISA_COUNT ? names[isa] : NULL;
}

/* Checksum of the sources that this library was made from. */
LVC_API uint32_t lvc_engine_source(void)
{
    return LVC_SOURCE;
}
