#include "run/weight_file.h"

#include <array>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "mumoe/safetensors.h"

namespace mumoe::run {
namespace {

/// Without what wrappers of torch put before it, and with what transformers
/// leaves out of a bare model's names.
std::string plain_name(std::string_view name) {
  static constexpr std::array<std::string_view, 2> kWrappers = {"_orig_mod.",
                                                                "module."};
  for (bool found = true; found;) {
    found = false;
    for (const auto wrapper : kWrappers) {
      if (!name.starts_with(wrapper)) continue;
      name.remove_prefix(wrapper.size());
      found = true;
    }
  }
  const bool bare = name.starts_with("h.") || name.starts_with("ln_f.") ||
                    name == "wte.weight" || name == "wpe.weight";
  return (bare ? "transformer." : "") + std::string(name);
}

class SafetensorsWeights final : public WeightFile {
 public:
  explicit SafetensorsWeights(const std::vector<std::filesystem::path>& files) {
    for (const auto& path : files) {
      const SafetensorsFile& file = files_.emplace_back(path);
      metadata_.insert(file.metadata().begin(), file.metadata().end());
      for (const auto& stored : file.names()) {
        const std::string name = plain_name(stored);
        const auto [found, added] =
            entries_.emplace(name, Entry{file.shape(stored), path, stored});
        require(added,
                "{}: tensor {} is also in {}, as {}; expected it once",
                path.string(),
                stored,
                found->second.file.string(),
                found->second.stored_name);
      }
    }
  }

  at::Tensor read(const std::string& name) override {
    const Entry* entry = find(name);
    MUMOE_CHECK(entry != nullptr, "no tensor {}", name);
    for (SafetensorsFile& file : files_) {
      if (file.path() == entry->file) return file.read(entry->stored_name);
    }
    fail<InternalError>("{} is not open", entry->file.string());
  }

 private:
  std::vector<SafetensorsFile> files_;
};

}  // namespace

const WeightFile::Entry* WeightFile::find(const std::string& name) const {
  const auto found = entries_.find(name);
  return found == entries_.end() ? nullptr : &found->second;
}

std::unique_ptr<WeightFile> open_safetensors(
    const std::vector<std::filesystem::path>& files) {
  return std::make_unique<SafetensorsWeights>(files);
}

}  // namespace mumoe::run
