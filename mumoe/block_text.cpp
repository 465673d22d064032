#include "mumoe/block_text.h"

#include <fmt/format.h>

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "base/json.h"

namespace mumoe {
namespace {

using nlohmann::json;

/// The members of an object, each asked for once.
class Members {
 public:
  Members(const json& object, const std::string& where)
      : object_(object), where_(where) {
    require(object.is_object(), "{}: expected an object", where);
  }

  std::int64_t count(const char* name) {
    const auto value = as_count(member(name));
    require(value.has_value(), "{}: {}: expected a count", where_, name);
    return *value;
  }
  std::vector<std::int64_t> counts(const char* name) {
    const json& list = member(name);
    require(list.is_array(), "{}: {}: expected a list", where_, name);
    std::vector<std::int64_t> values;
    for (const json& each : list) {
      const auto value = as_count(each);
      require(value.has_value(), "{}: {}: expected counts", where_, name);
      values.push_back(*value);
    }
    return values;
  }
  bool flag(const char* name) {
    const json& value = member(name);
    require(value.is_boolean(), "{}: {}: expected true or false", where_, name);
    return value.get<bool>();
  }
  double number(const char* name) {
    const json& value = member(name);
    require(value.is_number(), "{}: {}: expected a number", where_, name);
    return value.get<double>();
  }
  /// The one of `all` that has this name.
  template <class T, class Range>
  T one_of(const char* name, const Range& all) {
    const json& value = member(name);
    require(value.is_string(), "{}: {}: expected text", where_, name);
    for (const T each : all) {
      if (to_string(each) == value.get<std::string>()) return each;
    }
    fail<InputError>("{}: {} = {}: there is none of that name",
                     where_,
                     name,
                     value.get<std::string>());
  }
  /// What is there beside is of a version that computes something else.
  void require_no_more() const {
    require(object_.size() == asked_,
            "{}: {} settings, expected {}",
            where_,
            object_.size(),
            asked_);
  }

 private:
  const json& member(const char* name) {
    const auto found = object_.find(name);
    require(found != object_.end(), "{}: {} is missing", where_, name);
    ++asked_;
    return *found;
  }

  const json& object_;
  const std::string& where_;
  std::size_t asked_ = 0;
};

constexpr GateActivation kActivations[] = {GateActivation::entmax15,
                                           GateActivation::softmax,
                                           GateActivation::top_k};
constexpr GateNorm kNorms[] = {GateNorm::layer,
                               GateNorm::batch,
                               GateNorm::none};

json to_json(const BlockConfig& c) {
  return {{"input_dim", c.input_dim},
          {"hidden_dim", c.hidden_dim},
          {"output_dim", c.output_dim},
          {"experts", c.experts},
          {"form", to_string(c.form)},
          {"ranks", c.ranks},
          {"gate", to_string(c.gate.activation)},
          {"gate_norm", to_string(c.gate.norm)},
          {"top_k", c.gate.top_k},
          {"input_layer_norm", c.input_layer_norm},
          {"expert_bias", c.expert_bias},
          {"level_noise", c.level_noise}};
}

}  // namespace

std::string to_text(const BlockConfig& config) {
  return to_text(to_json(config));
}

BlockConfig block_config(const std::string& text, const std::string& where) {
  const json object = parse_json(text, where);
  Members members(object, where);
  BlockConfig c;
  c.input_dim = members.count("input_dim");
  c.hidden_dim = members.count("hidden_dim");
  c.output_dim = members.count("output_dim");
  c.experts = members.counts("experts");
  c.form = members.one_of<Form>("form", forms());
  c.ranks = members.counts("ranks");
  c.gate.activation = members.one_of<GateActivation>("gate", kActivations);
  c.gate.norm = members.one_of<GateNorm>("gate_norm", kNorms);
  c.gate.top_k = members.count("top_k");
  c.input_layer_norm = members.flag("input_layer_norm");
  c.expert_bias = members.flag("expert_bias");
  c.level_noise = members.number("level_noise");
  members.require_no_more();
  try {
    c.validate();
  } catch (const InputError& error) {
    fail<InputError>("{}: {}", where, error.what());
  }
  return c;
}

std::string difference(const BlockConfig& found, const BlockConfig& expected) {
  const json ours = to_json(expected), theirs = to_json(found);
  for (const auto& [name, value] : theirs.items()) {
    if (name == "level_noise" || value == ours[name]) continue;
    return fmt::format("{} = {}, expected {}",
                       name,
                       to_text(value),
                       to_text(ours[name]));
  }
  return "";
}

}  // namespace mumoe
