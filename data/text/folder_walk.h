#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace mumoe::data {

/// What lies below a folder.
struct FoundTexts {
  std::vector<std::filesystem::path> paths;  ///< Texts, in no order.
  std::string skipped;     ///< The rest, one line of bounded length.
  std::string unreadable;  ///< What could not be looked at first, and why.
};

/// The texts of `read_corpus`, which says what is one. Opens none of them.
FoundTexts find_texts(const std::filesystem::path& folder);

}  // namespace mumoe::data
