#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "model/gpt2_config.h"
#include "model/model.h"

namespace mumoe::model {

/// A kind of model, by the name that `model.family` has for it.
struct Family {
  const char* name;
  /// Registers the parameters; `registry` must outlive the model. Throws
  /// `InputError` naming the key that does not fit.
  std::unique_ptr<Model> (*make)(const Gpt2Config& config,
                                 dist::ParameterRegistry& registry,
                                 const Sharding& sharding);
};

/// All there are: a new family is a file and a line of this table.
std::span<const Family> families();

/// The one called `name`, which there must be.
const Family& family(std::string_view name);

}  // namespace mumoe::model
