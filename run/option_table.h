#pragma once

#include <functional>
#include <string>
#include <vector>

#include "run/options.h"

namespace mumoe::run {

/// One setting: its key, its meaning, and how it becomes text and back.
struct Key {
  std::string name;  ///< section.key
  std::string help;
  bool is_switch = false;  ///< May stand without a value: `--train.resume`.
  bool is_text = false;    ///< Any bytes but zero, such as the name of a file.
  /// Throws `InputError` that says what was expected.
  std::function<void(Options&, const std::string&)> set;
  std::function<std::string(const Options&)> get;
};

/// All keys, in the order in which configurations are printed.
const std::vector<Key>& option_table();

/// The key called `name`, or nullptr.
const Key* find_key(const std::string& name);

/// "4,2" as numbers. Throws `InputError` that says what was `expected`.
std::vector<std::int64_t> parse_list(
    const std::string& text,
    const char* expected = "whole numbers with commas between");

/// Which of `known` (at least one) looks most like `name`.
const std::string& nearest(const std::vector<std::string>& known,
                           const std::string& name);

}  // namespace mumoe::run
