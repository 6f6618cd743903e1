/* simd.c: which kernels this CPU runs: features by cpuid, the operating system's part by xgetbv. The variable
 * GRADLUA_SIMD = baseline | avx2 | avx512 may lower what was found, never raise it. */
#include "core/ctx.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[] = {
    [GRAD_SIMD_BASELINE] = "baseline", [GRAD_SIMD_AVX2] = "avx2", [GRAD_SIMD_AVX512] = "avx512"};

const char *grad__simd_name(grad_simd simd) { return names[simd]; }

#if defined __x86_64__ && defined __GNUC__
#include <cpuid.h>

static unsigned saved_registers(void) {
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

static grad_simd cpu_level(void) {
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return GRAD_SIMD_BASELINE;
  const unsigned need = bit_OSXSAVE | bit_AVX | bit_FMA;
  if ((c & need) != need) return GRAD_SIMD_BASELINE;
  const unsigned saved = saved_registers();
  const unsigned ymm = 0x6, zmm = 0xe0; /* state components: xmm and ymm; opmask and both halves of zmm */
  if ((saved & ymm) != ymm || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2)) return GRAD_SIMD_BASELINE;
  const unsigned wide = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
  return (saved & zmm) == zmm && (b & wide) == wide ? GRAD_SIMD_AVX512 : GRAD_SIMD_AVX2;
}
#else
static grad_simd cpu_level(void) { return GRAD_SIMD_BASELINE; }
#endif

grad_simd grad__simd_detect(void) {
  const grad_simd found = cpu_level();
  const char *const wish = getenv("GRADLUA_SIMD");
  for (int level = GRAD_SIMD_BASELINE; wish && level < (int)found; level++) {
    if (strcmp(wish, names[level]) == 0) return (grad_simd)level;
  }
  return found;
}
