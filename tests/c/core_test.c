/* core_test.c: context, allocation accounting, arena, checked sizes, random numbers. */
#include "check_alloc.h"

#include "core/arena.h"
#include "core/rng.h"

static void test_accounting(void) {
  grad_ctx *ctx;
  check(grad_ctx_new(&(grad_config){.byte_limit = 100000}, &ctx) == GRAD_OK);
  void *const a = grad__alloc(ctx, 1000), *const b = grad__alloc_aligned(ctx, 64);
  check(a && b && (uintptr_t)b % 64 == 0 && ctx->used >= 1064 && ctx->allocations == 2);
  memset(b, 1, 64);
  check(grad__alloc(ctx, 0) == NULL && ctx->status == GRAD_OK);
  const size_t used = ctx->used;
  check(grad__alloc(ctx, 100000) == NULL && ctx->status == GRAD_ELIMIT && ctx->used == used);
  check(strstr(grad_message(ctx), "limit") != NULL);
  void *const grown = grad__realloc(ctx, a, 1000, 5000);
  check(grown && ctx->used == used + 4000 && ctx->peak == ctx->used);
  grad__free(ctx, grown, 5000);
  grad__free_aligned(ctx, b, 64);
  check(ctx->used == 0 && grad__alloc_aligned(ctx, SIZE_MAX) == NULL);
  grad_ctx_free(ctx);
  grad_ctx_free(NULL);
  check(grad_ctx_new(&(grad_config){.byte_limit = 8}, &ctx) == GRAD_ENOMEM);
}

/* Freed large blocks wait for the next request of their size; they never stand in the way of another. */
static void test_kept_blocks(void) {
  enum { MB = 1 << 20 };
  check_alloc a = {0};
  grad_ctx *ctx = NULL;
  const grad_config config = {.alloc = check_alloc_run, .alloc_ud = &a, .byte_limit = 20 * MB, .threads = 1};
  if (!check(grad_ctx_new(&config, &ctx) == GRAD_OK)) return;
  const int64_t none = a.bytes;
  void *const first = grad__alloc_aligned(ctx, 8 * MB), *const second = grad__alloc_aligned(ctx, 8 * MB);
  grad__free_aligned(ctx, first, 8 * MB);
  check(ctx->used <= 9 * MB);
  const bool keeps = a.bytes > none + 9 * MB; /* not under a sanitizer */
  void *const again = grad__alloc_aligned(ctx, 8 * MB);
  check(again && (again == first || !keeps) && ctx->used > 16 * MB);
  grad__free_aligned(ctx, again, 8 * MB);
  void *const other = grad__alloc_aligned(ctx, 10 * MB); /* within the limit only without the kept one */
  check(other && a.bytes < none + 19 * MB);
  grad__free_aligned(ctx, other, 10 * MB);
  void *const small = grad__alloc(ctx, MB);
  check(small && a.bytes <= 20 * MB);
  a.fail_at = a.calls + 1; /* the system refuses once: what is kept is given up, and it is asked again */
  void *const asked = grad__alloc(ctx, MB / 8);
  check(asked || !keeps);
  grad__free(ctx, asked, MB / 8);
  grad__free(ctx, small, MB);
  grad__free_aligned(ctx, second, 8 * MB);
  check(ctx->used == 0);
  for (int i = 1; i < 40; i++) grad__free_aligned(ctx, grad__alloc_aligned(ctx, 5 * MB), 5 * MB);
  void *many[3];
  for (int i = 0; i < 3; i++) many[i] = grad__alloc_aligned(ctx, 5 * MB);
  check(many[0] && many[1] && many[2] && !grad__alloc_aligned(ctx, 6 * MB) && ctx->status == GRAD_ELIMIT);
  for (int i = 0; i < 3; i++) grad__free_aligned(ctx, many[i], 5 * MB);
  grad_ctx_free(ctx);
  check(a.bytes == 0);
}

static int stop(void *ud) { return *(int *)ud; }

static void test_messages(void) {
  grad_ctx *ctx;
  int wanted = 0;
  check(grad_ctx_new(&(grad_config){.interrupt = stop, .interrupt_ud = &wanted}, &ctx) == GRAD_OK);
  check_text(grad_message(ctx), "");
  check(grad__interrupted(ctx) == GRAD_OK);
  wanted = 1;
  check(grad__interrupted(ctx) == GRAD_EINTERRUPT);
  check(grad__fail(ctx, GRAD_ESHAPE, "add: %d", 5) == GRAD_ESHAPE && ctx->status == GRAD_ESHAPE);
  grad__fail(ctx, GRAD_EVALUE, "outer: %s", grad_message(ctx));
  check_text(grad_message(ctx), "outer: add: 5");
  for (int i = 0; i < 20; i++) grad__fail(ctx, GRAD_EVALUE, "%s%s%s", grad_message(ctx), grad_message(ctx), "abc");
  check(strlen(grad_message(ctx)) < sizeof ctx->message);
  check_text(grad_status_name(GRAD_ESHAPE), "ESHAPE");
  check_text(grad_status_text(GRAD_OK), "ok");
  check(grad_status_name((grad_status)999) != NULL && grad_status_text((grad_status)-1) != NULL);
  grad_ctx_free(ctx);
}

static grad_status arena_task(grad_ctx *ctx, void *ud) {
  (void)ud;
  grad_arena arena;
  grad__arena_init(&arena, ctx);
  grad_status status = GRAD_OK;
  for (size_t bytes = 0; bytes < 3000 && !status; bytes += 7) {
    unsigned char *const block = grad__arena_alloc(&arena, bytes);
    if (!block) status = ctx->status;
    if (block) {
      check((uintptr_t)block % 16 == 0);
      memset(block, 0xff, bytes);
    }
  }
  int *const copy = status ? NULL : grad__arena_copy(&arena, &(int){42}, sizeof(int));
  if (!status && !copy) status = ctx->status;
  if (copy) check(*copy == 42);
  if (!status) check(grad__arena_alloc(&arena, SIZE_MAX - 3) == NULL);
  grad__arena_clear(&arena);
  grad__arena_clear(&arena);
  return status;
}

static void test_checked(void) {
  int64_t x = 7;
  check(grad__mul_i64(1 << 20, 1 << 20, &x) && x == INT64_C(1) << 40);
  check(!grad__mul_i64(INT64_C(1) << 40, INT64_C(1) << 40, &x) && x == INT64_C(1) << 40);
  check(grad__add_i64(INT64_MAX - 1, 1, &x) && x == INT64_MAX && !grad__add_i64(INT64_MAX, 1, &x));
}

/* Known answers: Philox4x32-10 of Random123's test vectors with a zero high counter, and the all-zero input. */
static void test_rng(void) {
  uint32_t out[4];
  grad__rng_block(0, 0, out);
  check(out[0] == 0x6627e8d5 && out[1] == 0xe169c58d && out[2] == 0xbc57ac4c && out[3] == 0x9b00dbd8);
  double sum = 0, squares = 0;
  enum { N = 20000 };
  for (uint64_t i = 0; i < N; i++) {
    grad__rng_block(12345, i, out);
    const double u = grad__rng_uniform(out[0], out[1]);
    check_passed += u >= 0 && u < 1;
    sum += u;
    squares += u * u;
  }
  check_near(sum / N, 0.5, 0.01);
  check_near(squares / N, 1.0 / 3, 0.01);
  check(grad__rng_uniform(UINT32_MAX, UINT32_MAX) < 1);
  check(grad__rng_uniform(0, 0) == 0);
}

static void test_simd(void) {
  const grad_simd found = grad__simd_detect();
  setenv("GRADLUA_SIMD", "baseline", 1);
  check(grad__simd_detect() == GRAD_SIMD_BASELINE);
  setenv("GRADLUA_SIMD", "avx512", 1);
  check(grad__simd_detect() == found || found < GRAD_SIMD_AVX512);
  setenv("GRADLUA_SIMD", "nonsense", 1);
  check(grad__simd_detect() == found);
  unsetenv("GRADLUA_SIMD");
  check_text(grad__simd_name(GRAD_SIMD_AVX2), "avx2");
}

int main(void) {
  unsetenv("GRADLUA_SIMD");
  test_accounting();
  test_kept_blocks();
  test_messages();
  check_failing_alloc("arena", arena_task, NULL);
  test_checked();
  test_rng();
  test_simd();
  return check_done();
}
