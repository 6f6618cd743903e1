/* status.c: names and default sentences of statuses, from the one list in grad.h. */
#include "include/grad.h"

const char *grad_status_name(grad_status status) {
  switch (status) {
#define XX(name, text)                                                                                                 \
  case GRAD_##name:                                                                                                    \
    return #name;
    GRAD_STATUS_MAP(XX)
#undef XX
  }
  return "EUNKNOWN";
}

const char *grad_status_text(grad_status status) {
  switch (status) {
#define XX(name, text)                                                                                                 \
  case GRAD_##name:                                                                                                    \
    return text;
    GRAD_STATUS_MAP(XX)
#undef XX
  }
  return "unknown status";
}

const char *grad_version(void) { return GRAD_VERSION_STRING; }
