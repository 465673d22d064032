#pragma once

#include <functional>
#include <string>

#include "model/model.h"
#include "run/options.h"

namespace mumoe::launch {

/// What writes `log.sample` tokens with `model`, from the start of a document,
/// by the settings that `mumoe sample` has unless it is told others; null where
/// that is 0 or the model writes no text. Collective over the model's tp group;
/// what is not UTF-8 becomes U+FFFD. `model` must outlive it.
std::function<std::string()> text_sampler(const model::Model& model,
                                          const run::Options& options);

}  // namespace mumoe::launch
