#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/text/corpus.h"

namespace mumoe::data {

/// What lies below a folder.
struct FoundTexts {
  std::vector<std::filesystem::path> paths;  ///< Texts, in no order.
  std::string skipped;     ///< The rest, one line of bounded length.
  std::string unreadable;  ///< What could not be looked at first, and why.
};

/// The texts of `read_corpus`, which says what is one. Opens none of them.
FoundTexts find_texts(const std::filesystem::path& folder,
                      std::span<const std::string_view> names = kTextNames);

/// Whether the name of `path` ends as one of `names`.
bool is_named(const std::filesystem::path& path,
              std::span<const std::string_view> names = kTextNames);

}  // namespace mumoe::data
