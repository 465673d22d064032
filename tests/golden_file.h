#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"

// Reference tensors of the tests: tests/golden/README.md says what they are.

namespace mumoe::testing {

struct GoldenTensor {
  /// As safetensors names it: F64, F32, I64 or I32.
  std::string dtype;
  std::vector<std::int64_t> shape;
  /// Row-major; integers too, exact up to 2^53.
  std::vector<double> values;
};

struct GoldenFile {
  std::map<std::string, std::string> metadata;
  std::map<std::string, GoldenTensor> tensors;

  /// Throws `InputError` when there is no such tensor.
  const GoldenTensor& operator[](const std::string& name) const {
    const auto found = tensors.find(name);
    require(found != tensors.end(), "golden file: no tensor ", name);
    return found->second;
  }
};

/// `MUMOE_GOLDEN_DIR` of the environment, else tests/golden of the clone.
inline std::filesystem::path golden_folder() {
  const char* folder = std::getenv("MUMOE_GOLDEN_DIR");
  if (folder != nullptr && *folder != '\0') return folder;
#if defined(MUMOE_SOURCE_DIR)
  return std::filesystem::path(MUMOE_SOURCE_DIR) / "tests" / "golden";
#else
  fail<InputError>("MUMOE_GOLDEN_DIR is not set");
#endif
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
  require(!found.empty(), folder.string(), ": no golden file ", prefix, "*");
  std::sort(found.begin(), found.end());
  return found;
}

template <class T>
std::vector<double> golden_values(const char* bytes, std::size_t size) {
  std::vector<T> values(size / sizeof(T));
  std::memcpy(values.data(), bytes, values.size() * sizeof(T));
  return {values.begin(), values.end()};
}

/// Reads a safetensors file: 8 bytes of header length, a JSON header, data.
inline GoldenFile read_golden(const std::filesystem::path& path) {
  const std::string bytes = read_file(path);
  std::uint64_t length = 0;
  require(bytes.size() >= sizeof(length), path.string(), ": too short");
  std::memcpy(&length, bytes.data(), sizeof(length));
  require(length <= bytes.size() - sizeof(length), path.string(), ": cut off");
  const char* header = bytes.data() + sizeof(length);
  const char* data = header + length;
  const std::size_t data_size = bytes.size() - sizeof(length) - length;
  GoldenFile file;
  const nlohmann::json entries = nlohmann::json::parse(header, header + length);
  for (const auto& [name, entry] : entries.items()) {
    if (name == "__metadata__") {
      file.metadata = entry.get<std::map<std::string, std::string>>();
      continue;
    }
    GoldenTensor& tensor = file.tensors[name];
    entry.at("dtype").get_to(tensor.dtype);
    entry.at("shape").get_to(tensor.shape);
    const std::uint64_t begin = entry.at("data_offsets").at(0);
    const std::uint64_t end = entry.at("data_offsets").at(1);
    require(begin <= end && end <= data_size,
            path.string(),
            ": ",
            name,
            " lies outside the file");
    const auto read = tensor.dtype == "F64"   ? golden_values<double>
                      : tensor.dtype == "F32" ? golden_values<float>
                      : tensor.dtype == "I64" ? golden_values<std::int64_t>
                      : tensor.dtype == "I32" ? golden_values<std::int32_t>
                                              : nullptr;
    require(read != nullptr,
            path.string(),
            ": ",
            name,
            " has dtype ",
            tensor.dtype);
    tensor.values = read(data + begin, end - begin);
  }
  return file;
}

}  // namespace mumoe::testing
