#include "study/predict/machine.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

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
    {"gpus_per_node", &Machine::gpus_per_node, 1024, true},
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
  return constant.whole
             ? fmt::format("a whole number from 1 to {:.0f}", constant.most)
             : "a number above 0";
}

double read_constant(const json& entry,
                     const Constant& constant,
                     const std::string& where) {
  const json* value = &entry;
  bool known = true;
  if (entry.is_object() && entry.contains("value")) {
    value = &entry["value"];
    known = entry.size() == (entry.contains("source") ? 2 : 1);
  }
  const double number =
      known && value->is_number() ? value->get<double>() : std::nan("");
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

bool is_plain(const std::string& name) {
  return !name.empty() && std::ranges::none_of(name, [](unsigned char c) {
    return c < 0x20 || c == 0x7f;
  });
}

/// Whether `entry` is like one of `entries` that is not among those `read`.
bool waits(const std::string& name,
           const json& entry,
           const json& entries,
           const std::set<std::string>& read) {
  const auto like = entry.find("like");
  if (like == entry.end() || !like->is_string()) return false;
  const auto base = like->get<std::string>();
  // By its own name: what it was before this file.
  return base != name && entries.contains(base) && !read.contains(base);
}

std::string first_without(const json& entries,
                          const std::set<std::string>& read) {
  for (const auto& [name, unused] : entries.items()) {
    if (!read.contains(name)) return name;
  }
  return {};
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
  require(file.is_object() && file.size() == 1 && file.contains("machines") &&
              file["machines"].is_object(),
          "{}: expected {{\"machines\": {{NAME: {{...}}, ...}}}}",
          where);
  const json& entries = file["machines"];
  for (const auto& [name, entry] : entries.items()) {
    const std::string here = where + ": machine " + name;
    require(is_plain(name),
            "{}: expected a name without control characters",
            here);
    require(entry.is_object(), "{}: expected an object of constants", here);
    require_known(entry, here);
  }
  // What others of the file are like comes before them, wherever it stands.
  std::set<std::string> read;
  while (read.size() < entries.size()) {
    const std::size_t before = read.size();
    for (const auto& [name, entry] : entries.items()) {
      if (read.contains(name) || waits(name, entry, entries, read)) continue;
      add_machine(name, entry, where + ": machine " + name);
      read.insert(name);
    }
    require(read.size() > before,
            "{}: machine {}: expected one that is not like itself, by way of "
            "others",
            where,
            first_without(entries, read));
  }
}

void Machines::add_machine(const std::string& name,
                           const json& entry,
                           const std::string& where) {
  // What a name has already, or the machine that it is said to be like.
  std::string base = name;
  if (entry.contains("like")) {
    const json& like = entry["like"];
    base = like.is_string() ? like.get<std::string>() : "";
    require(machines_.contains(base),
            "{}.like is {}: expected one of {}",
            where,
            to_text(like),
            fmt::join(names(), ", "));
  }
  machines_[name] = read_machine(entry, base, where);
  machines_[name].name = name;
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
