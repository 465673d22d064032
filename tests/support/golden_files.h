#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "tests/support/source_folder.h"

// Reference tensors of the tests: tests/golden/README.md says what they are.

namespace mumoe::testing {

/// `MUMOE_GOLDEN_DIR` of the environment, else tests/golden of the clone.
inline std::filesystem::path golden_folder() {
  const char* folder = std::getenv("MUMOE_GOLDEN_DIR");
  if (folder != nullptr && *folder != '\0') return folder;
  return std::filesystem::path(source_folder()) / "tests" / "golden";
}

/// The golden files whose name starts with `prefix`, sorted; at least one.
inline std::vector<std::filesystem::path> golden_files(
    const std::string& prefix) {
  std::vector<std::filesystem::path> found;
  const auto folder = golden_folder();
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(prefix) && name.ends_with(".safetensors")) {
      found.push_back(entry.path());
    }
  }
  require(!found.empty(), "{}: no golden file {}*", folder.string(), prefix);
  std::sort(found.begin(), found.end());
  return found;
}

/// "6,4" of a file's metadata as numbers.
inline std::vector<std::int64_t> golden_numbers(const std::string& text) {
  std::vector<std::int64_t> values;
  std::istringstream in(text);
  for (std::string word; std::getline(in, word, ',');) {
    values.push_back(std::stoll(word));
  }
  return values;
}

}  // namespace mumoe::testing
