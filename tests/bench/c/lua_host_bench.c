/* lua_host_bench.c: what an embedded toolkit costs a host: start-up, memory of an idle state, a call of a compiled
 * function, the time from a request to stop until the call ends. The figures of docs/embedding.md: the least of many
 * runs, for stopping the middle one of five. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "include/gradlua.h"

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static grad_status run(gradlua *g, const char *text) { return gradlua_run(g, text, strlen(text), "=bench", NULL); }

static void start_up(void) {
  enum { RUNS = 50 };
  double best = 1e9;
  size_t bytes = 0;
  for (int i = 0; i < RUNS; i++) {
    const double start = now();
    gradlua *g;
    if (gradlua_new(NULL, &g) != GRAD_OK) return;
    bytes = gradlua_bytes(g);
    gradlua_free(g);
    best = fmin(best, now() - start);
  }
  printf("a state made and freed      %8.3f ms\n", 1e3 * best);
  printf("memory of an idle state     %8zu KiB\n", bytes >> 10);
}

/* The gradient of a parabola of three entries: next to nothing but the call. */
static void call(gradlua *g) {
  enum { RUNS = 1000, CALLS = 1000 };
  double x[] = {1, 2, 3}, value, gradient[3];
  int64_t three = 3;
  grad_array *like;
  grad_function *f;
  run(g, "function parabola(x) return (x * x):sum() end");
  if (grad_array_borrow(gradlua_core(g), x, GRAD_F64, 1, &three, NULL, 0, NULL, NULL, &like) != GRAD_OK) return;
  const grad_array *in[] = {like};
  if (gradlua_compile(g, "parabola", GRADLUA_GRADIENT, 1, in, NULL, &f) == GRAD_OK) {
    const void *raw[] = {x};
    void *out[] = {&value, gradient};
    double best = 1e9;
    for (int i = 0; i < RUNS; i++) {
      const double start = now();
      for (int k = 0; k < CALLS; k++) grad_run_raw(f, raw, out);
      best = fmin(best, (now() - start) / CALLS);
    }
    printf("a call of a gradient        %8.0f ns\n", 1e9 * best);
  }
  grad_function_free(f);
  grad_array_free(like);
}

typedef struct stopper {
  gradlua *g;
  double asked;
} stopper;

static void *stop_later(void *ud) {
  stopper *s = ud;
  usleep(300000);
  s->asked = now();
  gradlua_stop(s->g);
  return NULL;
}

/* Seconds from the request to the end of the call; negative when it was not stopped. */
static double stop_once(gradlua *g, const char *script) {
  stopper s = {.g = g};
  pthread_t thread;
  if (pthread_create(&thread, NULL, stop_later, &s) != 0) return -1;
  const grad_status status = run(g, script);
  const double ended = now();
  pthread_join(thread, NULL);
  return status == GRAD_EINTERRUPT ? ended - s.asked : -1;
}

static void stop(gradlua *g, const char *what, const char *script) {
  enum { RUNS = 5 };
  double sorted[RUNS];
  for (int i = 0, k; i < RUNS; i++) {
    const double spent = stop_once(g, script);
    for (k = i; k > 0 && sorted[k - 1] > spent; k--) sorted[k] = sorted[k - 1];
    sorted[k] = spent;
  }
  printf("stopping %-18s %8.2f ms (least %.2f)\n", what, 1e3 * sorted[RUNS / 2], 1e3 * sorted[0]);
}

int main(void) {
  start_up();
  gradlua *g;
  if (gradlua_new(NULL, &g) != GRAD_OK) return 1;
  call(g);
  stop(g, "a loop in Lua", "while true do pcall(function() while true do end end) end");
  stop(g, "4000 x 4000 product", "local a = gl.ones(4000, 4000) for i = 1, 100 do a = a:matmul(a) end");
  stop(g, "a jitted loop",
       "local f = gl.jit(function(x) return gl.fori(1e9, function(i, s) return (s * 1.5):sin() end, x) end) "
       "f(gl.ones(1000))");
  gradlua_free(g);
  return 0;
}
