#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "run/options.h"
#include "run/suggestions.h"

namespace mumoe::run {

/// What a run that resumes asks of a setting.
enum class OnResume {
  free,        ///< Nothing.
  noted,       ///< Nothing; checkpoints hold it for others to go by.
  must_match,  ///< The value that the checkpoint has.
  replayed,    ///< The same; `auto` becomes that value.
  /// `auto` becomes the checkpoint's value where parallel.tp is the same;
  /// another value is free.
  replayed_at_same_tp,
};

/// How a setting becomes text and back.
struct TextForm {
  /// The member of `Options`: "model.width".
  std::string member;
  bool is_switch = false;  ///< May stand without a value: `--train.resume`.
  bool is_text = false;    ///< Any bytes but zero, such as the name of a file.
  std::string value = {};  ///< What help calls a value: N, yes|no.
  bool has_auto = false;   ///< `auto`: what follows from other settings.
  std::vector<Word> words = {};  ///< All values, where these are words.
  /// Throws `InputError` that says what was expected.
  std::function<void(Options&, const std::string&)> set = {};
  std::function<std::string(const Options&)> get = {};
};

/// One setting: its key, what resuming asks of it, its meaning, its text, and
/// other words for it.
struct Key {
  std::string name;  ///< section.key
  OnResume on_resume;
  std::string help;
  TextForm text;
  std::string others = {};  ///< What other programs call it.
};

/// Whether a resumed run must have the value of its checkpoint.
inline bool must_match(const Key& key) {
  return key.on_resume == OnResume::must_match ||
         key.on_resume == OnResume::replayed;
}

/// Whether a key of the section [model] says how a model begins or trains, so
/// that no weight depends on it.
bool shapes_no_weight(const std::string& key);

/// "4,2" as numbers. Throws `InputError` that says what was `expected`.
std::vector<std::int64_t> parse_list(
    const std::string& text,
    const char* expected = "whole numbers with commas between");

/// All keys, in the order in which configurations are printed.
const std::vector<Key>& option_table();

/// The key called `name`, or nullptr.
const Key* find_key(const std::string& name);

/// The key whose value is the member `member` of `Options` ("model.width"), or
/// nullptr.
const Key* find_key_of_member(const std::string& member);

/// The keys of `section` ("*": all, "": none), and what else they are called.
std::vector<Word> key_words(const std::string& section);

}  // namespace mumoe::run
