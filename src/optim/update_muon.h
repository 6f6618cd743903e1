/* update_muon.h: the one rule that is not elementwise. */
#ifndef GRAD_OPTIM_UPDATE_MUON_H
#define GRAD_OPTIM_UPDATE_MUON_H

#include "core/ctx.h"
#include "optim/update.h"
#include "optim/update_kernels.h"

grad_status grad__update_muon(grad_ctx *ctx, const grad_update_options *options, int64_t step,
                              const grad__update_scalars *scalars, grad_update_target *target);

#endif
