#include "study/scale/scale_result.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace mumoe::study {
namespace {

using nlohmann::json;

/// All members of a result with their names, for reading as for writing.
template <class Result, class Visit>
void visit_members(Result& r, const Visit& visit) {
  visit("study", r.study);
  visit("cell", r.cell);
  visit("model", r.model);
  visit("scaling", r.scaling);
  visit("dp", r.dp);
  visit("tp", r.tp);
  visit("ranks", r.ranks);
  visit("nodes", r.nodes);
  visit("plan", r.plan);
  visit("zero", r.zero);
  visit("micro_batch", r.micro_batch);
  visit("batch", r.batch);
  visit("recompute", r.recompute);
  visit("precision", r.precision);
  visit("repeat", r.repeat);
  visit("steps", r.steps);
  visit("step_ms", r.step_ms);
  visit("step_ms_all", r.step_ms_all);
  visit("target", r.target);
  visit("targets_per_s", r.targets_per_s);
  visit("mfu", r.mfu);
  visit("sol", r.sol);
  visit("rss_mib", r.rss_mib);
  visit("gpu_mib", r.gpu_mib);
  visit("dp_bytes", r.dp_bytes);
  visit("tp_bytes", r.tp_bytes);
  visit("all_bytes", r.all_bytes);
  visit("exposed_ms", r.exposed_ms);
  visit("loss", r.loss);
  visit("parameters", r.parameters);
  visit("flops_per_target", r.flops_per_target);
  visit("predicted", r.predicted);
  visit("command", r.command);
  visit("version", r.version);
  visit("finished", r.finished);
  visit("failed", r.failed);
  visit("code", r.code);
}

template <class Predicted, class Visit>
void visit_predicted(Predicted& p, const Visit& visit) {
  visit("step_ms", p.step_ms);
  visit("low_ms", p.low_ms);
  visit("high_ms", p.high_ms);
  visit("memory_mib", p.memory_mib);
}

template <class T>
json value_of(const T& value) {
  return value;
}

json value_of(double value) {
  return std::isfinite(value) ? json(value) : json();
}

json value_of(const std::vector<double>& values) {
  json array = json::array();
  for (const double value : values) array.push_back(value_of(value));
  return array;
}

json value_of(const Predicted& predicted) {
  json object = json::object();
  visit_predicted(predicted, [&](const char* name, double value) {
    object[name] = value_of(value);
  });
  return object;
}

template <class T>
json value_of(const std::optional<T>& value) {
  return value ? value_of(*value) : json();
}

/// Takes values out of one object.
class Reader {
 public:
  Reader(const json& object, std::string where)
      : object_(object), where_(std::move(where)) {}

  template <class T>
  void operator()(const char* name, T& value) const {
    const auto found = object_.find(name);
    if (found == object_.end()) refuse(name, "nothing", expected(value));
    if (!take(*found, value, name)) {
      refuse(name, to_text(*found), expected(value));
    }
  }

 private:
  [[noreturn]] void refuse(const char* name,
                           const std::string& is,
                           const char* wanted) const {
    fail<InputError>("{}: {} = {}: expected {}", where_, name, is, wanted);
  }

  static const char* expected(const std::string&) { return "a text"; }
  static const char* expected(bool) { return "true or false"; }
  static const char* expected(double) { return "a number or null"; }
  static const char* expected(const std::vector<double>&) {
    return "a list of numbers";
  }
  template <class T>
  requires std::is_integral_v<T>
  static const char* expected(T) { return "a whole number of at least 0"; }
  template <class T>
  static const char* expected(const std::optional<T>&) {
    return "a number or null";
  }
  static const char* expected(const std::optional<Predicted>&) {
    return "an object or null";
  }

  bool take(const json& from, std::string& value, const char*) const {
    if (!from.is_string()) return false;
    value = from.get<std::string>();
    return true;
  }
  bool take(const json& from, bool& value, const char*) const {
    if (!from.is_boolean()) return false;
    value = from.get<bool>();
    return true;
  }
  bool take(const json& from, double& value, const char*) const {
    if (!from.is_number() && !from.is_null()) return false;
    value = from.is_null() ? std::numeric_limits<double>::quiet_NaN()
                           : from.get<double>();
    return true;
  }
  template <class T>
  requires std::is_integral_v<T>
  bool take(const json& from, T& value, const char*) const {
    const auto count = as_count(from);
    if (!count || *count > std::numeric_limits<T>::max()) return false;
    value = static_cast<T>(*count);
    return true;
  }
  bool take(const json& from,
            std::vector<double>& values,
            const char* name) const {
    if (!from.is_array()) return false;
    values.clear();
    for (const json& entry : from) {
      if (!take(entry, values.emplace_back(), name)) return false;
    }
    return true;
  }
  bool take(const json& from, Predicted& value, const char* name) const {
    if (!from.is_object()) return false;
    visit_predicted(value, Reader(from, where_ + ": " + name));
    return true;
  }
  template <class T>
  bool take(const json& from, std::optional<T>& value, const char* name) const {
    value.reset();
    return from.is_null() || take(from, value.emplace(), name);
  }

  const json& object_;
  std::string where_;
};

}  // namespace

std::string to_json(const ScaleResult& result) {
  nlohmann::ordered_json object;
  visit_members(result, [&](const char* name, const auto& value) {
    object[name] = value_of(value);
  });
  return object.dump(-1,
                     ' ',
                     false,
                     nlohmann::ordered_json::error_handler_t::replace);
}

ScaleResult from_json(std::string_view line, const std::string& where) {
  const json object = parse_json(line, where);
  require(object.is_object(),
          "{}: expected an object, a run of a scaling study",
          where);
  ScaleResult result;
  visit_members(result, Reader(object, where));
  return result;
}

Results read_results(const std::filesystem::path& file) {
  std::error_code error;
  if (!std::filesystem::exists(file, error) && !error) return {};
  const std::string text = read_file(file);
  Results read;
  int number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = text.find('\n', begin);
    const auto where = fmt::format("{}:{}", file.string(), ++number);
    if (end == text.npos) {
      read.note =
          fmt::format("{}: the last line is cut short ({} bytes) and left out",
                      where,
                      text.size() - begin);
      break;
    }
    const auto line = std::string_view(text).substr(begin, end - begin);
    begin = read.whole = end + 1;
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    read.results.push_back(from_json(line, where));
  }
  return read;
}

}  // namespace mumoe::study
