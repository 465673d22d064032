#include "study/predict/machine.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "study/predict/machines_text.h"

namespace mumoe::study {
namespace {

using nlohmann::json;

/// A constant of a machine: its key in a file, and what it may be.
struct Constant {
  const char* key;
  double Machine::*member;
  double most = std::numeric_limits<double>::max();
  bool whole = false;
};

constexpr Constant kConstants[] = {
    {"peak_flops", &Machine::peak_flops},
    {"memory_bandwidth", &Machine::memory_bandwidth},
    {"memory_bytes", &Machine::memory_bytes},
    {"multiprocessors", &Machine::multiprocessors, 1e6, true},
    {"kernel_launch", &Machine::kernel_launch},
    {"gpus_per_node", &Machine::gpus_per_node, 1e6, true},
    {"link_bandwidth", &Machine::link_bandwidth},
    {"link_share", &Machine::link_share, 1},
    {"link_latency", &Machine::link_latency},
    {"node_bandwidth", &Machine::node_bandwidth},
    {"node_share", &Machine::node_share, 1},
    {"node_latency", &Machine::node_latency},
    {"collective_latency", &Machine::collective_latency},
};

std::string expected(const Constant& constant) {
  if (constant.most == 1) return "a number above 0, at most 1";
  return constant.whole ? "a whole number from 1 to 1000000"
                        : "a number above 0";
}

double read_constant(const json& entry,
                     const Constant& constant,
                     const std::string& where) {
  const json* value = &entry;
  if (entry.is_object() && entry.contains("value")) value = &entry["value"];
  const double number =
      value->is_number() ? value->get<double>() : std::nan("");
  require(std::isfinite(number) && number > 0 && number <= constant.most &&
              (!constant.whole || number == std::floor(number)),
          "{}.{} is {}: expected {}, or {{\"value\": N, \"source\": TEXT}}",
          where,
          constant.key,
          to_text(entry),
          expected(constant));
  return number;
}

/// Throws `InputError` for a key that means nothing: a word with a slip in it
/// would be a constant that stays as it was.
void require_known(const json& entry, const std::string& where) {
  for (const auto& [key, value] : entry.items()) {
    bool known = key == "about" || key == "like";
    std::vector<std::string> keys = {"about", "like"};
    for (const Constant& constant : kConstants) {
      known = known || key == constant.key;
      keys.emplace_back(constant.key);
    }
    require(known,
            "{}.{}: unknown key; expected one of {}",
            where,
            key,
            fmt::join(keys, ", "));
  }
}

}  // namespace

Machines::Machines() {
  add_text(kMachinesText, "study/predict/machines.json");
}

void Machines::add(const std::filesystem::path& file) {
  add_text(read_file(file), file.string());
}

void Machines::add_text(const std::string& text, const std::string& where) {
  const json file = parse_json(text, where);
  require(file.is_object() && file.contains("machines") &&
              file["machines"].is_object(),
          "{}: expected {{\"machines\": {{NAME: {{...}}, ...}}}}",
          where);
  for (const auto& [name, entry] : file["machines"].items()) {
    const std::string here = where + ": machine " + name;
    require(entry.is_object(), "{}: expected an object of constants", here);
    require_known(entry, here);
    // What a name has already, or the machine that it is said to be like.
    std::string base = name;
    if (entry.contains("like")) {
      const json& like = entry["like"];
      base = like.is_string() ? like.get<std::string>() : "";
      require(machines_.contains(base),
              "{}.like is {}: expected one of {}",
              here,
              to_text(like),
              fmt::join(names(), ", "));
    }
    machines_[name] = read_machine(entry, base, here);
    machines_[name].name = name;
  }
}

Machine Machines::read_machine(const json& entry,
                               const std::string& base,
                               const std::string& where) const {
  const auto found = machines_.find(base);
  const bool based = found != machines_.end();
  Machine machine = based ? found->second : Machine{};
  for (const Constant& constant : kConstants) {
    const bool given = entry.contains(constant.key);
    require(given || based,
            "{}: {} is missing; expected {}, or \"like\": the name of a "
            "machine that has it ({})",
            where,
            constant.key,
            expected(constant),
            fmt::join(names(), ", "));
    if (!given) continue;
    machine.*constant.member =
        read_constant(entry[constant.key], constant, where);
  }
  return machine;
}

const Machine& Machines::named(const std::string& name) const {
  const auto found = machines_.find(name);
  require(found != machines_.end(),
          "machine {}: unknown; expected one of {}, or one that a file of "
          "--machines adds",
          name,
          fmt::join(names(), ", "));
  return found->second;
}

std::vector<std::string> Machines::names() const {
  std::vector<std::string> all;
  for (const auto& [name, machine] : machines_) all.push_back(name);
  return all;
}

}  // namespace mumoe::study
