#include "model/families.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "model/gpt2.h"

namespace mumoe::model {
namespace {

template <class Made>
std::unique_ptr<Model> make(const Gpt2Config& config,
                            dist::ParameterRegistry& registry,
                            const Sharding& sharding) {
  return std::make_unique<Made>(config, registry, sharding);
}

constexpr std::array kFamilies = {Family{"gpt2", make<Gpt2>}};

}  // namespace

std::span<const Family> families() {
  return kFamilies;
}

const Family& family(std::string_view name) {
  const auto found = std::ranges::find(kFamilies, name, [](const Family& f) {
    return std::string_view(f.name);
  });
  MUMOE_CHECK(found != kFamilies.end(), "no family {}", name);
  return *found;
}

}  // namespace mumoe::model
